"""The second half of an exchange: its response, as it passes by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.coding import Decoder, decoder
from gateway_sessions.conversation import Reply
from gateway_sessions.dialects import Assembler, Dialect
from gateway_sessions.dialects.openai_chat import OpenAIChat
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.exchange import Exchange, Headers, Refusal, Response
from gateway_sessions.later import Later
from gateway_sessions.recorded import Recorded
from gateway_sessions.recording.pace import Pace
from gateway_sessions.redaction import masked_error, masked_headers
from gateway_sessions.tracker import Tracked, Tracker

logger = logging.getLogger(__name__)

T_ = TypeVar("T_")

REPLY_BYTES_KEPT = 16 * 1024 * 1024
"""Bytes of a decoded response body kept for reading it; the longest replies have a tenth."""

FAILED = 400
"""The lowest status of an error; its body says what is wrong and is no stream."""

LENGTH_DIGITS = 18
"""The longest ``Content-Length`` that is believed: longer ones are not lengths of anything."""

_NEITHER = OpenAIChat()
"""In whose error shape we report faults where no dialect is known."""


class Surroundings(Protocol):
    """What an exchange needs of the gateway that it passes through."""

    tracker: Tracker
    later: Later
    interceptors: InterceptorChain
    recorded: Recorded | None
    needs_exchange: bool
    needs_headers: bool
    clock: Callable[[], float]
    monotonic: Callable[[], float]

    def cost(self, exchange: Exchange, reply: Reply | None) -> float | None:
        """Return what an exchange cost in US dollars; None where that is not known."""


class Transit:
    """One exchange under way.

    The edge calls `response_started`, `show` for each chunk *before* it goes to the client, and
    `end` once before the response's end.  The reply is known to detection before the next request
    is, however fast that comes.  Where it may reach another process, the bytes that complete a
    reply have to wait, and so does the end: the edge awaits what it is given.  Everywhere else
    they are looked at after they have left.

    `feed`, `finish` and `committed` are for those who know that there is nothing to wait for, or
    nobody: what they do is done when they return.
    """

    __slots__ = (
        "_assembler",
        "_began",
        "_body",
        "_chunks",
        "_decoder",
        "_dialect",
        "_expected",
        "_finished",
        "_first_byte",
        "_gateway",
        "_headers",
        "_kept",
        "_pace",
        "_readable",
        "_recorded",
        "_reply",
        "_settled",
        "_size",
        "_status",
        "_streamed",
        "_tracked",
        "commit",
        "exchange",
        "refusal",
        "spent",
    )

    def __init__(
        self,
        gateway: Surroundings,
        exchange: Exchange,
        dialect: Dialect | None,
        tracked: Tracked | None,
        began: float,
    ) -> None:
        self.exchange = exchange
        self.commit: Awaitable[None] | None = None
        """What the reply's last bytes have to wait for, once there is something."""
        self.refusal: Refusal | None = None
        """Set where an interceptor wants the request answered here and not forwarded."""
        self._gateway = gateway
        self._dialect = dialect
        self._tracked = tracked
        self._recorded = gateway.recorded if tracked is not None else None
        self._pace: Pace | None = None
        self._began = began
        self._status = 0
        self._headers: Callable[[], Headers] = tuple
        self._streamed = False
        self._expected = -1
        self._decoder: Decoder | None = None
        self._assembler: Assembler | None = None
        # What a reply says is of no use where nobody follows the session or sees the exchange.
        self._readable = dialect is not None and (tracked is not None or gateway.needs_exchange)
        self._body: list[bytes] = []
        self._kept = 0
        self._size = 0
        self._chunks = 0
        self._first_byte = 0.0
        self._reply: Reply | None = None
        self._settled = False
        self._finished = False
        self.spent = 0.0
        """Seconds that its client has waited for us, until a verdict and for replies to be read."""

    @property
    def dialect(self) -> Dialect | None:
        """The wire format of the request, if we know it."""
        return self._dialect

    def upstream_headers(self) -> Headers:
        """Return what interceptors add to the request to the upstream."""
        return self._gateway.interceptors.upstream_headers(self.exchange)

    def client_headers(self) -> Headers:
        """Return our tags and what interceptors add, for the response to the client."""
        exchange = self.exchange
        tag = exchange.session
        own: Headers = (("X-Gateway-Request-Id", exchange.request_id),)
        if tag is not None:
            own = (
                ("X-Gateway-Session-Id", tag.session_id),
                ("X-Gateway-Session-Source", tag.source),
                ("X-Gateway-Session-Relation", tag.relation),
                ("X-Gateway-Session-Confidence", f"{tag.confidence:g}"),
                *own,
            )
            if tag.parent_session_id:
                own = (*own, ("X-Gateway-Parent-Session-Id", tag.parent_session_id))
        return own + self._gateway.interceptors.client_headers(exchange)

    def error_body(self, status: int, message: str) -> bytes:
        """Return a JSON error body as the provider itself would write it."""
        return (self._dialect or _NEITHER).error_body(status, message)

    def response_started(self, status: int, headers: Headers) -> None:
        """Note the head of the response."""
        fields = {name.lower(): value for name, value in headers}
        kind, coding = fields.get("content-type", ""), fields.get("content-encoding", "")
        length = fields.get("content-length", "")
        self.response_head(status, kind, coding, length, lambda: headers)

    def response_head(
        self, status: int, kind: str, coding: str, length: str, headers: Callable[[], Headers]
    ) -> None:
        """Note the head of the response, for an edge that has it in another form.

        ``kind``, ``coding`` and ``length`` are the headers ``Content-…`` that tell what to make
        of the body, empty where they are missing; ``headers`` returns all, if anybody asks.
        """
        self._status = status
        self._headers = headers
        if not self._readable:
            return
        if length.isascii() and length.isdigit() and len(length) <= LENGTH_DIGITS:
            self._expected = int(length)
        try:
            self._decoder = decoder(coding, REPLY_BYTES_KEPT) if coding else None
        except UnreadableBody:
            self._readable = False
            return
        if self._dialect is not None:
            tracked = self._tracked
            asked = tracked is not None and tracked.plan.conversation.stream
            self._streamed = self._dialect.streams(kind, asked=asked)
            if self._streamed and self._recorded is not None:
                self._pace = Pace()
            if self._streamed:
                self._let_go()
            if self._streamed and 200 <= status < 300:
                self._assembler = self._dialect.assembler()

    def show(self, chunk: bytes) -> Awaitable[None] | None:
        """Show the next bytes of the body, as on the wire; return what they have to wait for."""
        return self._in_time(self._look, chunk)

    def end(self, error: str | None = None) -> Awaitable[None] | None:
        """Close the exchange, as `finish`; return what the response's end has to wait for."""
        return self._in_time(self._close, error)

    def _in_time(self, call: Callable[[T_, float], None], what: T_) -> Awaitable[None] | None:
        """Make a call when the bytes have left, or now where they must wait for what it does."""
        gateway = self._gateway
        if gateway.tracker.shared is None:
            gateway.later.add(call, what, gateway.monotonic())
            return None
        self._at_once(call, what)
        return None if self.commit is None else self.committed()

    def _at_once(self, call: Callable[[T_, float], None], what: T_) -> None:
        """Make a call after all that was put off; its client waits for it."""
        gateway = self._gateway
        gateway.later.catch_up()
        began = gateway.monotonic()
        call(what, began)
        self.spent += gateway.monotonic() - began

    def _let_go(self) -> None:
        """Keep of the request only what its end needs, as a stream may go on for minutes."""
        self._gateway.later.catch_up()  # What the recorder is told has the body.
        if self._tracked is not None:
            self._tracked.plan.let_go()
        if not self._gateway.interceptors.needs_body:
            request = self.exchange.request
            self.exchange.request = msgspec.structs.replace(request, body=b"")

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the body, as on the wire."""
        self._at_once(self._look, chunk)

    def _look(self, chunk: bytes, came: float) -> None:
        """Look at bytes that came at a time, in seconds that never go back."""
        if not self._size:
            self._first_byte = came
        self._size += len(chunk)
        self._chunks += 1
        if self._pace is not None:
            self._pace.chunk(came)
        if self._readable:
            try:
                data = self._decoder.feed(chunk) if self._decoder else chunk
                if self._pace is not None:
                    self._record_chunk(data, came)
                self._read(data)
            except UnreadableBody:
                self._give_up()
            except Exception:
                logger.exception("reading a reply failed")
                self._give_up()

    def _record_chunk(self, data: bytes, now: float) -> None:
        """Tell the recording of a chunk of a stream."""
        recorded, elapsed_ms = self._recorded, (now - self._began) * 1000
        if recorded is None:
            return
        if self._chunks == 1:
            recorded.first_byte(self.exchange, elapsed_ms)
        if recorded.wants_chunks and self._status < FAILED:
            recorded.chunk(self.exchange, self._chunks - 1, elapsed_ms, data)

    def _read(self, data: bytes) -> None:
        assembler = self._assembler
        if assembler is not None:
            assembler.feed(data)
            if self._gateway.interceptors.wants_raw_stream:
                self._keep(data)
            if assembler.finished:
                self._settle(assembler.reply())
            return
        self._keep(data)
        if self._size == self._expected:
            self._settle(self._whole())

    def _keep(self, data: bytes) -> None:
        self._kept += len(data)
        if self._kept <= REPLY_BYTES_KEPT:
            self._body.append(data)
        elif self._assembler is None:
            self._give_up()
        else:
            self._body.clear()  # Of a stream, the reply is still known without its chunks.

    def _give_up(self) -> None:
        self._readable = False
        self._assembler = None
        self._body.clear()

    def _whole(self) -> Reply | None:
        """Read the body of a response that was not streamed."""
        if self._dialect is None or not self._readable or not 200 <= self._status < 300:
            return None
        try:
            return self._dialect.read_reply(b"".join(self._body))
        except UnreadableBody:
            return None

    def _settle(self, reply: Reply | None, *, broken: bool = False) -> None:
        """Make the reply known to detection, once."""
        if self._settled:
            return
        self._settled = True
        self._reply = reply
        tracked = self._tracked
        if tracked is None:
            return
        tracker, now = self._gateway.tracker, self._gateway.clock()
        try:
            if reply is not None and reply.messages and reply.complete and not broken:
                tracker.answered(tracked, reply, now)
            else:
                tracker.failed(tracked, reply, now)
            self.commit = tracker.settled(tracked)
        except Exception:
            logger.exception("a reply could not be noted in %s", tracked.session.id)

    async def committed(self) -> None:
        """Return when all who share sessions know of the reply, or will not in time.

        A client that leaves meanwhile ends the waiting, not the commit.
        """
        commit, self.commit = self.commit, None
        if commit is not None:
            await asyncio.shield(commit)

    def finish(self, error: str | None = None) -> None:
        """Close the exchange; the first call counts.

        Args:
            error: ``client_closed``, ``upstream_aborted``, ``upstream_unreachable``,
                ``upstream_timeout``, ``refused``, or None after a whole response.
        """
        self._at_once(self._close, error)

    def _close(self, error: str | None, ended: float) -> None:
        """Close the exchange that ended at a time, in seconds that never go back."""
        if self._finished:
            return
        self._finished = True
        if not self._settled:
            reply = self._assembler.reply() if self._assembler else self._whole()
            self._settle(reply, broken=error is not None)
        exchange, gateway = self.exchange, self._gateway
        if self._dialect is None or not gateway.needs_exchange:
            return
        try:
            exchange.response = self._response(error, ended)
            exchange.timings["overhead"] = self.spent
            gateway.interceptors.finished(exchange)
            if self._recorded is not None:
                gaps_ms = self._pace.gaps_ms() if self._pace is not None else ()
                self._recorded.finished(exchange, gaps_ms)
        except Exception:
            logger.exception("recording %s failed", exchange.request_id)

    def _response(self, error: str | None, ended: float) -> Response:
        first = self._first_byte or ended
        reply = self._reply
        assembled = self._streamed and self._assembler is not None
        complete = reply.complete if reply is not None and assembled else True
        raw = b"".join(self._body)
        if self._status >= FAILED or not complete:
            raw = masked_error(raw)
        return Response(
            status=self._status,
            headers=masked_headers(self._headers()) if self._gateway.needs_headers else (),
            body=reply.body if reply is not None and assembled else raw,
            size=self._size,
            duration_ms=(ended - self._began) * 1000,
            time_to_first_byte_ms=(first - self._began) * 1000,
            streamed=self._streamed,
            chunks=self._chunks,
            usage=reply.usage if reply else None,
            model=reply.model if reply else "",
            finish_reason=reply.finish_reason if reply else "",
            refused=reply.refused if reply else False,
            complete=complete,
            cost_usd=self._gateway.cost(self.exchange, reply),
            error=error,
            raw_stream=raw if assembled else b"",
        )
