"""A client of the recording API that loses nothing, small enough for editors to copy.

Every event gets an id and is kept until the server has acknowledged it, which means that it is on
the server's disk.  Events go over a WebSocket.  When that breaks, the client connects again, ever
less often, and sends what was not acknowledged; the server knows ids that it has seen.  Where no
WebSocket gets through, events go by HTTP instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from gateway_sessions.errors import GatewaySessionsError

logger = logging.getLogger(__name__)

MAX_WAITING = 100_000
"""Events that are kept for a server that does not answer."""
BATCH = 250
"""Events sent at once."""
BATCH_BYTES = 1024 * 1024
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each new attempt, the last one again and again; a random part is left off, so
that a server which comes back is not met by all clients at once."""
ANSWER_SECONDS = 30.0
"""How long a server may take to answer before the connection counts as broken."""
CLOSE_SECONDS = 10.0

Reply = dict[str, Any]
Listener = Callable[[dict[str, Any]], None]


class TooMuchWaiting(GatewaySessionsError):
    """The server has not answered for so long that no more events are kept."""


class ServerRefused(GatewaySessionsError):
    """The server answered a request with an error; the text has its sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP."""
        self.code = code
        """As the recording API names it, such as ``session_not_found``."""


class _Kept:
    """An event until it is acknowledged."""

    __slots__ = ("future", "text")

    def __init__(self, text: bytes, future: asyncio.Future[Reply]) -> None:
        self.text = text
        self.future = future


class RecordingClient:
    """Reports sessions to a server: ``async with RecordingClient("http://localhost:3000") as c:``.

    All methods belong to one event loop.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        live: bool = True,
        on_event: Listener | None = None,
        max_waiting: int = MAX_WAITING,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        """Make it; nothing is sent before it is entered.

        Args:
            server: URL of the gateway.
            token: its ``recording_api.token`` or ``admin.token``.
            live: use a WebSocket where possible; false sends batches by HTTP only.
            on_event: gets the frames of sessions subscribed to, ``event_broadcast`` and
                ``lagged``.
            max_waiting: events that are kept for a server that does not answer.
            pauses: seconds before each new attempt to connect.
        """
        self._url = f"{server.rstrip('/')}/recording"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._live = live
        self._on_event = on_event
        self._max_waiting = max_waiting
        self._pauses = pauses
        self._kept: dict[str, _Kept] = {}
        self._subscriptions: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self._running: asyncio.Task[None] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._told = False
        self._size = BATCH
        self._busy = False
        self._sent = 0  # events that a WebSocket has not answered

    async def __aenter__(self) -> Self:
        """Start sending."""
        self._http = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        )
        self._running = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait a while for what was not acknowledged, then leave; `waiting` tells of the rest."""
        del kind, error, trace
        with suppress(TimeoutError):
            await self.flush(CLOSE_SECONDS)
        await self.abandon()

    async def abandon(self) -> None:
        """Leave at once; idempotent."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
        for kept in self._kept.values():
            kept.future.cancel()

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """The events that are not acknowledged, oldest first."""
        return [msgspec.json.decode(kept.text) for kept in self._kept.values()]

    def send(self, event: dict[str, Any]) -> asyncio.Future[Reply]:
        """Send an event as the recording API has it; return what will be the server's answer.

        That is an ``ack`` or, where the event has no sense, an ``error``; it need not be awaited.
        Raises `TooMuchWaiting`.
        """
        if len(self._kept) >= self._max_waiting:
            raise TooMuchWaiting(
                f"{self._url}: {len(self._kept)} events are not acknowledged; is the server there?"
            )
        event_id = event.get("event_id") or uuid.uuid4().hex
        text = msgspec.json.encode({**event, "event_id": event_id})
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._kept[event_id] = _Kept(text, future)
        self._wake.set()
        return future

    def start_session(self, session_id: str, provider: str, **fields: Any) -> asyncio.Future[Reply]:
        """Begin a session or take it up again; fields are those of ``session_start``."""
        return self._of("session_start", session_id, provider=provider, **fields)

    def update_session(self, session_id: str, **fields: Any) -> asyncio.Future[Reply]:
        """Change ``title``, ``model`` or ``metadata`` of a session."""
        return self._of("session_update", session_id, **fields)

    def end_session(self, session_id: str, **fields: Any) -> asyncio.Future[Reply]:
        """End a session."""
        return self._of("session_end", session_id, **fields)

    def add_message(
        self, session_id: str, message_id: str, role: str, content: str, **fields: Any
    ) -> asyncio.Future[Reply]:
        """Add a message; fields are those of ``message_add``."""
        fields |= {"message_id": message_id, "role": role, "content": content}
        return self._of("message_add", session_id, **fields)

    def append(self, session_id: str, message_id: str, delta: str) -> asyncio.Future[Reply]:
        """Add to the end of a message."""
        return self._of("message_append", session_id, message_id=message_id, content_delta=delta)

    def update_message(
        self, session_id: str, message_id: str, content: str, *, is_complete: bool = True
    ) -> asyncio.Future[Reply]:
        """Replace a message's content."""
        return self._of(
            "message_update",
            session_id,
            message_id=message_id,
            content=content,
            is_complete=is_complete,
        )

    async def snapshot(
        self, session_id: str, provider: str, messages: list[dict[str, Any]], **fields: Any
    ) -> Reply:
        """Replace all messages of a session, by HTTP, as a checkpoint; return the ``ack``.

        Raises `ServerRefused`, and `OSError` where the server can not be reached.
        """
        await self.flush(ANSWER_SECONDS)  # what is older must not come after it
        event = {"session_id": session_id, "provider": provider, "messages": messages, **fields}
        return await self._request("POST", "/snapshot", msgspec.json.encode(event))

    async def recovery(self, session_id: str) -> dict[str, Any]:
        """Return a session with all of its messages, as ``recovery`` has it.

        Raises `ServerRefused`, and `OSError` where the server can not be reached.
        """
        return await self._request("GET", f"/session/{quote(session_id, safe='')}/recovery")

    async def subscribe(self, session_id: str) -> None:
        """Hear of a session, or with ``*`` of all, from now on and after each new connection."""
        self._subscriptions[session_id] = None
        if self._socket is not None:
            with suppress(ConnectionError):
                await self._socket.send_json({"type": "subscribe", "session_id": session_id})

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of the user
        """Return when the server has answered all that was sent before; raises `TimeoutError`."""
        futures = [kept.future for kept in self._kept.values()]
        if futures:
            _, late = await asyncio.wait(futures, timeout=timeout)
            if late:
                raise TimeoutError(f"{len(late)} events are not acknowledged")

    def _of(self, kind: str, session_id: str, **fields: Any) -> asyncio.Future[Reply]:
        return self.send({"type": kind, "session_id": session_id, **fields})

    async def _run(self) -> None:
        attempt = 0
        while True:
            connected = delivered = False
            try:
                connected = self._live and await self._over_websocket()
                delivered = not connected and await self._by_http()
            except (OSError, ServerRefused) as error:
                self._complain(error)
            attempt = 0 if connected else attempt + 1
            pause = self._pauses[min(attempt, len(self._pauses) - 1)]
            pause *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients
            if not delivered:
                await asyncio.sleep(pause)
            elif self._live:  # until then, what comes goes by HTTP
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
            else:
                await self._wake.wait()

    def _complain(self, error: Exception) -> None:
        """Log the first of a series of failures."""
        if not self._told:
            logger.warning("%s can not be reached and is tried again: %s", self._url, error)
            self._told = True

    async def _over_websocket(self) -> bool:
        """Send events until the connection breaks; tell whether there was one."""
        assert self._http is not None
        try:
            socket = await self._http.ws_connect(
                f"{self._url}/ws", heartbeat=ANSWER_SECONDS, max_msg_size=0
            )
        except (aiohttp.ClientError, OSError) as error:
            self._complain(error)
            return False
        self._told = False
        self._socket = socket
        sending = asyncio.get_running_loop().create_task(self._send_all(socket))
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._heard(msgspec.json.decode(message.data))
        finally:
            self._socket = None
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await socket.close()
        # A server that can not take so much at a time says by HTTP what it can not take.
        return socket.close_code != aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    async def _send_all(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            for session_id in self._subscriptions:
                await socket.send_json({"type": "subscribe", "session_id": session_id})
            while True:
                await self._something()
                self._answered.clear()
                batch = self._batch()
                self._sent = len(batch)
                await socket.send_str(_batch_text(batch, "events"))
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._answered.wait()
                if self._busy:
                    await asyncio.sleep(self._pauses[-1])
        except (ConnectionError, TimeoutError):
            await socket.close()

    async def _by_http(self) -> bool:
        """Send what is kept; tell whether the server took it."""
        while self._kept:
            batch = self._batch()
            try:
                answer = await self._request("POST", "/events", _batch_text(batch).encode())
            except ServerRefused as refused:
                if refused.status not in {400, 413}:
                    raise
                self._less(len(batch), refused.code, str(refused))
                continue
            self._take(answer["responses"])
            if self._busy:
                return False
        self._wake.clear()
        return True

    def _less(self, count: int, code: str, message: str) -> None:
        """Send fewer events at once; one that can not be sent even alone is answered."""
        self._size = max(1, count // 2)
        if count == 1:
            event_id = next(iter(self._kept))
            error = {"type": "error", "event_id": event_id, "code": code, "message": message}
            self._take([error])

    async def _something(self) -> None:
        while not self._kept:
            self._wake.clear()
            await self._wake.wait()

    def _batch(self) -> list[bytes]:
        texts: list[bytes] = []
        size = 0
        for kept in self._kept.values():
            size += len(kept.text)
            if texts and (len(texts) >= self._size or size > BATCH_BYTES):
                break
            texts.append(kept.text)
        return texts

    def _heard(self, frame: dict[str, Any]) -> None:
        kind = frame.get("type")
        if kind == "events_processed":
            self._sent = 0
            self._take(frame["responses"])
            self._answered.set()
        elif kind == "error":
            logger.warning("%s: %s", self._url, frame.get("message"))
            code = str(frame.get("code"))
            self._busy = code == "unavailable"
            if self._sent and not self._busy:
                self._less(self._sent, code, str(frame.get("message")))
            self._answered.set()
        elif kind in {"event_broadcast", "lagged"} and self._on_event is not None:
            self._on_event(frame)

    def _take(self, replies: list[Reply]) -> None:
        """Settle what is answered, and note whether the server asks to come again later."""
        self._busy = False
        for reply in replies:
            if reply.get("code") == "unavailable":
                self._busy = True
                continue
            kept = self._kept.pop(str(reply.get("event_id")), None)
            if kept is not None and not kept.future.done():
                kept.future.set_result(reply)

    async def _request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        assert self._http is not None
        headers = {"Content-Type": "application/json"}
        url = self._url + path
        try:
            async with self._http.request(method, url, data=body, headers=headers) as response:
                text, status = await response.read(), response.status
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        try:
            answer = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            answer = {}
            status = 404 if status == 200 else status
        if status == 200:
            return answer
        sentence = answer.get("message") or answer.get("error") or "that is no recording API"
        code = str(answer.get("code", ""))
        raise ServerRefused(status, code, f"{url} answered {status}: {sentence}")


def _batch_text(texts: list[bytes], kind: str | None = None) -> str:
    head = b"{" if kind is None else b'{"type":"' + kind.encode() + b'",'
    return (head + b'"events":[' + b",".join(texts) + b"]}").decode()
