"""From exchanges to milestones: what the request path tells of a session that is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway_sessions.detection.verdict import RESET
from gateway_sessions.events import SessionEvent
from gateway_sessions.exchange import Exchange
from gateway_sessions.hooks import FeedEvent
from gateway_sessions.milestones import Arrived, Chunk, Ended, Finished, FirstByte, Milestone
from gateway_sessions.telemetry import SessionEnded, Telemetry
from gateway_sessions.tracker import Tracked


class Recording(Protocol):
    """What records; see `gateway_sessions.recording.process.RecordingProcess`."""

    wants_chunks: bool
    """Whether the chunks of streams are recorded one by one."""

    async def open(self) -> None:
        """Start; raises `StartError` or `ConfigError`."""

    def record(self, item: Milestone | SessionEvent, /) -> bool:
        """Take something; False where it was dropped.  Never blocks or raises."""

    async def flush(self) -> None:
        """Return when all that was taken before the call is durable, or given up as failed."""

    def follow(self, listener: Callable[[FeedEvent], None], /) -> Callable[[], None]:
        """Call a listener with each event that is recorded from now on; return what ends that."""

    async def shutdown(self) -> None:
        """Complete all sessions, write down what is left and stop; idempotent."""

    def problems(self) -> list[str]:
        """Return one sentence for whatever does not work at present."""

    def queued(self) -> dict[str, int]:
        """Return how much waits, by writer."""


class Recorded:
    """Makes the milestones.  All methods belong to the event loop's thread."""

    def __init__(
        self, recording: Recording, telemetry: Telemetry, clock: Callable[[], float]
    ) -> None:
        """Tell ``recording`` of exchanges, and of the ends of sessions that are announced."""
        self.wants_chunks = recording.wants_chunks
        self._record = recording.record
        self._clock = clock
        telemetry.listen(SessionEnded, self._ended)

    def arrived(self, exchange: Exchange, tracked: Tracked) -> None:
        """Tell of a request that was put into a session."""
        tag = exchange.session
        assert tag is not None
        if tracked.verdict.ended_session_id is not None:
            self._end(tracked.verdict.ended_session_id, RESET)
        self._record(
            Arrived(
                session_id=tag.session_id,
                request_id=exchange.request_id,
                at=exchange.started_at,
                session=tag,
                client=exchange.client,
                request=exchange.request,
                dialect=exchange.dialect,
                provider=exchange.provider,
                model=exchange.model,
                stream=tracked.plan.conversation.stream,
                message_count=exchange.message_count,
                new_messages=exchange.new_messages,
                detection_ms=_detection_ms(exchange),
                parse_error=exchange.parse_error,
            )
        )

    def first_byte(self, exchange: Exchange, elapsed_ms: float) -> None:
        """Tell that a streamed response began."""
        tag = exchange.session
        assert tag is not None
        self._record(
            FirstByte(
                session_id=tag.session_id,
                request_id=exchange.request_id,
                at=self._clock(),
                elapsed_ms=elapsed_ms,
            )
        )

    def chunk(self, exchange: Exchange, sequence: int, elapsed_ms: float, data: bytes) -> None:
        """Tell of a chunk of a streamed response, decoded."""
        tag = exchange.session
        assert tag is not None
        self._record(
            Chunk(
                session_id=tag.session_id,
                request_id=exchange.request_id,
                at=self._clock(),
                sequence=sequence,
                elapsed_ms=elapsed_ms,
                data=data,
            )
        )

    def finished(self, exchange: Exchange, gaps_ms: tuple[float, ...]) -> None:
        """Tell of an exchange that is over, and of the times between its chunks."""
        tag, response = exchange.session, exchange.response
        assert tag is not None
        assert response is not None
        if response.raw_stream:
            response = msgspec.structs.replace(response, raw_stream=b"")
        self._record(
            Finished(
                session_id=tag.session_id,
                request_id=exchange.request_id,
                at=self._clock(),
                session=tag,
                dialect=exchange.dialect,
                provider=exchange.provider,
                model=exchange.model,
                response=response,
                overhead_ms=exchange.timings.get("overhead", 0.0) * 1000,
                detection_ms=_detection_ms(exchange),
                chunk_gaps_ms=gaps_ms,
            )
        )

    def _ended(self, event: SessionEnded) -> None:
        self._end(event.session_id, event.reason)

    def _end(self, session_id: str, reason: str) -> None:
        self._record(Ended(session_id=session_id, request_id="", at=self._clock(), reason=reason))


def _detection_ms(exchange: Exchange) -> float:
    return exchange.timings.get("detection", 0.0) * 1000
