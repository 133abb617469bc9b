"""Turns what happens to exchanges into what is recorded of sessions."""

from __future__ import annotations

from collections import OrderedDict

from gateway_sessions import events as e
from gateway_sessions.analysis import facts, requests
from gateway_sessions.analysis.live import Live
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.trees import Trees
from gateway_sessions.milestones import AnyMilestone, Arrived, Chunk, Ended, Finished, FirstByte
from gateway_sessions.prices import Prices

__all__ = ["Scribe", "ScribeOptions"]

_UNSEEN = facts.Asked()
"""What is known of a request that nobody saw."""
EVICTED, SHUTDOWN = "evicted", "shutdown"


class Scribe:
    """Takes milestones in the order of the wire and returns events in the same order.

    Whatever is missing, because a recorder was started again or a buffer was full, the rest is
    recorded: a session whose start nobody saw starts with the first that is seen of it.
    """

    def __init__(
        self, options: ScribeOptions, prices: Prices | None, trees: Trees | None = None
    ) -> None:
        """Record as the options say; without prices, no costs are.

        ``trees`` is given by who wants to look at them.
        """
        self._options = options
        self._prices = prices
        self._live: OrderedDict[str, Live] = OrderedDict()
        self._trees = trees or Trees(options)

    @property
    def live_sessions(self) -> int:
        """Sessions that have started and are not completed."""
        return len(self._live)

    def take(self, milestone: AnyMilestone) -> list[e.SessionEvent]:
        """Return the events that a milestone makes; never raises for what a body holds."""
        if isinstance(milestone, Arrived):
            return self._arrived(milestone)
        if isinstance(milestone, Finished):
            return self._finished(milestone)
        if isinstance(milestone, Ended):
            return self._ended(milestone)
        if milestone.session_id not in self._live:
            return []  # Pieces say nothing of where they belong, and the whole is to come.
        if isinstance(milestone, FirstByte):
            return [_stream_started(milestone)]
        return self._chunk(milestone)

    def shutdown(self, at: float) -> list[e.SessionEvent]:
        """Complete all live sessions, in the order of their last use; unix seconds."""
        live, self._live = self._live, OrderedDict()
        return [
            event
            for session in live.values()
            for event in session.completed(at, session.ending or SHUTDOWN)
        ]

    def _arrived(self, arrived: Arrived) -> list[e.SessionEvent]:
        path, body = arrived.request.path, arrived.request.body
        asked = facts.asked(arrived.dialect, path, body, arrived.new_messages)
        live, found = self._session(arrived, asked)
        live.ending = None  # it goes on
        return found + live.arrived(arrived, asked)

    def _finished(self, finished: Finished) -> list[e.SessionEvent]:
        live, found = self._session(finished, _UNSEEN)
        found += live.finished(finished)
        if live.ending is not None and not live.under_way:
            del self._live[live.id]
            found += live.completed(finished.at, live.ending)
        return found

    def _ended(self, ended: Ended) -> list[e.SessionEvent]:
        """Complete a session; where an exchange is still under way, as soon as that is over."""
        live = self._live.get(ended.session_id)
        if live is None:
            return []
        if live.under_way:
            live.ending = ended.reason
            return []
        del self._live[live.id]
        return live.completed(ended.at, ended.reason)

    def _session(
        self, milestone: Arrived | Finished, asked: facts.Asked
    ) -> tuple[Live, list[e.SessionEvent]]:
        """Return the session of an exchange, and its start if it is not live."""
        live = self._live.get(milestone.session_id)
        if live is not None:
            self._live.move_to_end(live.id)
            return live, []
        found: list[e.SessionEvent] = []
        if len(self._live) >= self._options.max_sessions:
            _, oldest = self._live.popitem(last=False)
            found += oldest.completed(milestone.at, EVICTED)
        live = Live(milestone.session_id, milestone.at, self._options, self._prices, self._trees)
        self._live[live.id] = live
        found.append(requests.started(milestone, asked, self._options))
        return live, found

    def _chunk(self, chunk: Chunk) -> list[e.SessionEvent]:
        if not self._options.include_streaming_events:
            return []
        data = chunk.data.decode(errors="replace") if self._options.full else None
        return [
            e.StreamEvent(
                session_id=chunk.session_id,
                request_id=chunk.request_id,
                timestamp=rfc3339(chunk.at),
                sequence=chunk.sequence,
                elapsed_ms=chunk.elapsed_ms,
                size_bytes=len(chunk.data),
                data=data,
            )
        ]


def _stream_started(first: FirstByte) -> e.StreamStarted:
    return e.StreamStarted(
        session_id=first.session_id,
        request_id=first.request_id,
        timestamp=rfc3339(first.at),
        time_to_first_token_ms=first.elapsed_ms,
    )
