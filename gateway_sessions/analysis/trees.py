"""The agent trees of all live sessions, grown beside their records."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.facts import Asked, Call
from gateway_sessions.analysis.inference import Answer, Inference
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.responses import Outcome
from gateway_sessions.analysis.session_recorder import RecorderConfig, SessionRecorder
from gateway_sessions.analysis.toolbook import Made
from gateway_sessions.events import LoopRecorded, ToolCallRecorded
from gateway_sessions.exchange import Response, SessionTag
from gateway_sessions.milestones import Arrived

TOTALS_KEPT = 100_000
"""Sessions whose sum with all sub-agents is kept, also beyond their end."""
_encode = msgspec.json.Encoder().encode
_PASSING = frozenset({408, 425, 429, 503})
"""Statuses with which a request is refused for now."""
DEEPEST = 16
"""Levels of sub-agents up which usage is added."""


class Trees:
    """Follows what agents do; methods return what is to be recorded of it."""

    def __init__(self, options: ScribeOptions) -> None:
        self._inference = Inference(
            content=False, summaries=options.full, idle_seconds=options.idle_seconds
        )
        self._recorder = SessionRecorder(RecorderConfig(keep_events=False))
        self._opening: dict[str, tuple[a.AgentStart, a.TurnStart]] = {}
        """By session: the beginning of a loop that is taken together with its end, if that is
        what comes next."""
        self._totals: OrderedDict[str, _Total] = OrderedDict()

    def arrived(self, arrived: Arrived, asked: Asked, results: Sequence[ToolCallRecorded]) -> None:
        """Take a request, and the tool results that are new in it."""
        events = self._inference.request(arrived, asked, results)
        opening = None if arrived.session_id in self._opening else _opening(events)
        if opening is not None:
            self._opening[arrived.session_id] = opening
        else:
            self._take(arrived.session_id, events)

    def finished(self, outcome: Outcome, made: Sequence[Made]) -> list[LoopRecorded]:
        """Take the end of an exchange; return the loops that have changed."""
        finished, answered = outcome.finished, outcome.answered
        calls: list[tuple[str, Call]] = []
        if made:
            ran = {result.call_id for result in answered.results}
            calls = [(each.id, each.call) for each in made if each.call.id not in ran]
        usage = _usage(outcome)
        answer = Answer(
            at=finished.at,
            message=None,
            text=answered.text,
            calls=calls,
            finish_reason=outcome.finish_reason,
            refused=outcome.refused or _is_denied(finished.response),
            error=outcome.fault.kind if outcome.fault is not None else None,
            usage=usage,
            alternatives=answered.alternatives if outcome.fault is None else (),
        )
        events = self._inference.response(finished.session, finished.request_id, answer)
        self._add_up(finished.session, usage)
        whole = _whole(self._opening.get(finished.session_id), events)
        if whole is None:
            self._take(finished.session_id, events)
            return self._changed(finished.session_id, finished.at, finished.request_id)
        del self._opening[finished.session_id]
        loop = self._recorder.on_whole_loop(whole)
        changed = self._changed(finished.session_id, finished.at, finished.request_id)
        return [_recorded(loop, finished.at, finished.request_id), *changed]

    def ended(self, session_id: str, at: float, request_id: str) -> list[LoopRecorded]:
        """Take the end of a session; return the loops that it ends."""
        self._take(session_id, self._inference.ended(session_id, at))
        return self._changed(session_id, at, request_id)

    def summary(self, session_id: str) -> dict[str, Any] | None:
        """Return the tree of a session that has ended, once: its loops without their turns."""
        drained = {session.session_id: session for session in self._recorder.drain_completed()}
        session = drained.get(session_id)
        if session is None:
            return None
        tree: dict[str, Any] = msgspec.to_builtins(session)
        for loop in tree.get("loops", ()):
            loop.pop("turns", None)
        tree["side_calls"] = len(session.side_calls)
        tree["usage"] = msgspec.to_builtins(session.total_usage())
        total = self._totals.get(session_id)
        if total is not None:
            tree["usage_with_sub_agents"] = msgspec.to_builtins(total.usage)
        return tree

    def _take(self, session_id: str, events: Sequence[a.AgentEvent]) -> None:
        """Take events one by one, after those of the session that were held back."""
        for event in (*self._opening.pop(session_id, ()), *events):
            self._recorder.on_event(event)

    def _changed(self, session_id: str, at: float, request_id: str) -> list[LoopRecorded]:
        return [_recorded(loop, at, request_id) for loop in self._recorder.take_changed(session_id)]

    def _add_up(self, tag: SessionTag, usage: t.Usage) -> None:
        """Add an exchange to its session and to all that it works for."""
        total = self._total(tag.session_id)
        if tag.parent_session_id is not None:
            total.parent = tag.parent_session_id
        total.usage += usage
        seen = {tag.session_id}
        while total.parent is not None and total.parent not in seen and len(seen) < DEEPEST:
            seen.add(total.parent)
            total = self._total(total.parent)
            total.usage += usage

    def _total(self, session_id: str) -> _Total:
        total = self._totals.get(session_id)
        if total is None:
            total = self._totals[session_id] = _Total()
            if len(self._totals) > TOTALS_KEPT:
                self._totals.popitem(last=False)
        else:
            self._totals.move_to_end(session_id)
        return total


def _opening(events: Sequence[a.AgentEvent]) -> tuple[a.AgentStart, a.TurnStart] | None:
    """Return the events of a request that only begins a loop."""
    if len(events) != 2:
        return None
    start, turn = events
    if type(start) is a.AgentStart and type(turn) is a.TurnStart:
        return start, turn
    return None


def _whole(
    opening: tuple[a.AgentStart, a.TurnStart] | None, events: Sequence[a.AgentEvent]
) -> a.WholeLoop | None:
    """Return the loop that an exchange began and ended; None if it did not, or did more."""
    if opening is None or len(events) != 2:
        return None
    start, turn = opening
    answer, end = events
    if type(answer) is not a.TurnEnd or type(end) is not a.AgentEnd:
        return None
    if answer.request_id != turn.request_id or end.loop_id != start.loop_id:
        return None
    return a.WholeLoop(start, turn, answer, end)


def _recorded(loop: t.LoopRecord, at: float, request_id: str) -> LoopRecorded:
    return LoopRecorded(
        session_id=loop.session_id,
        request_id=request_id,
        timestamp=rfc3339(at),
        loop=msgspec.Raw(_json(loop)),
    )


class _Total(msgspec.Struct):
    """A session's usage together with that of its sub-agents."""

    usage: t.Usage = t.NOTHING
    parent: str | None = None


def _json(loop: t.LoopRecord) -> bytes:
    try:
        return _encode(loop)
    except UnicodeEncodeError:  # half a character, in a name that a client gave itself
        return _encode(rawjson.encodable(msgspec.to_builtins(loop)))


def _is_denied(response: Response) -> bool:
    """Tell whether one of our own guards refused a request for good; a rate limit passes."""
    return response.error == "refused" and response.status not in _PASSING


def _usage(outcome: Outcome) -> t.Usage:
    used, cost = outcome.usage, outcome.cost
    if used is None:
        return t.Usage()
    return t.Usage(
        input=used.input_tokens,
        output=used.output_tokens,
        reasoning=used.reasoning_tokens,
        cache_read=used.cache_read_tokens,
        cache_write=used.cache_creation_tokens,
        cost_usd=cost.total if cost is not None else None,
    )
