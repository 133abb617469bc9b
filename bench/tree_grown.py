"""The agent trees that grow of a log, gathered from the events that are recorded of it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from bench.tree_truth import Transcripts
from gateway_sessions import events as e
from gateway_sessions.analysis.agent_tree import LoopRecord, Turn, Usage
from gateway_sessions.analysis.facts import Asked
from gateway_sessions.analysis.responses import Outcome
from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.analysis.toolbook import Made
from gateway_sessions.analysis.trees import Trees
from gateway_sessions.config import Config, detection_settings
from gateway_sessions.exchange_log import read_log
from gateway_sessions.milestones import Arrived, Ended, Finished
from gateway_sessions.prices import Prices
from gateway_sessions.replay import Replay
from gateway_sessions.telemetry import SessionEnded, Telemetry
from gateway_sessions.tracker import Tracker

SECRET = b"0" * 32


class TimedTrees(Trees):
    """Trees that say how long they take."""

    def __init__(self, options: ScribeOptions) -> None:
        super().__init__(options)
        self.spent: Counter[str] = Counter()
        """Nanoseconds of processor time, by request."""

    def arrived(
        self, arrived: Arrived, asked: Asked, results: Sequence[e.ToolCallRecorded]
    ) -> None:
        """Take a request."""
        began = time.thread_time_ns()
        super().arrived(arrived, asked, results)
        self.spent[arrived.request_id] += time.thread_time_ns() - began

    def finished(self, outcome: Outcome, made: Sequence[Made]) -> list[e.LoopRecorded]:
        """Take the end of an exchange."""
        began = time.thread_time_ns()
        found = super().finished(outcome, made)
        self.spent[outcome.finished.request_id] += time.thread_time_ns() - began
        return found


class Grown:
    """Everything that was recorded of the trees of one log."""

    def __init__(self) -> None:
        self.loops: dict[str, LoopRecord] = {}
        self.turns: dict[tuple[str, int], Turn] = {}
        self.side_calls: list[str] = []
        self.session_of: dict[str, str] = {}
        self.bodies: dict[str, bytes] = {}
        self.used: dict[str, Usage] = defaultdict(Usage)
        """By root session, over its exchanges."""
        self.rolled_up: dict[str, Usage] = {}
        """By root session, as its tree says."""
        self.microseconds: list[float] = []
        self._roots: dict[str, str] = {}

    def take(self, events: Iterable[e.SessionEvent]) -> None:
        """Note what is recorded."""
        for event in events:
            match event:
                case e.Started():
                    self._roots[event.session_id] = event.root_session_id
                case e.RequestRecorded():
                    self.session_of[event.request_id] = event.session_id
                    if event.relation == "side_call":
                        self.side_calls.append(event.request_id)
                case e.ResponseRecorded():
                    self.used[self._roots[event.session_id]] += _usage(event)
                case e.LoopRecorded():
                    loop = msgspec.json.decode(event.loop, type=LoopRecord)
                    self.loops[loop.loop_id] = loop
                    for turn in loop.turns:
                        self.turns[loop.loop_id, turn.turn_id.turn_index] = turn
                case e.Completed():
                    self._completed(event)

    def places(self) -> Counter[str]:
        """Return in how many turns and side calls each exchange is."""
        found = Counter(self.side_calls)
        found.update(each.request_id for turn in self.turns.values() for each in turn.attempts)
        return found

    def openings(self) -> dict[str, LoopRecord]:
        """Return the loops by the request that opened them."""
        return {
            turn.attempts[0].request_id: self.loops[loop_id]
            for (loop_id, index), turn in self.turns.items()
            if index == 0 and turn.attempts
        }

    def _completed(self, event: e.Completed) -> None:
        tree: dict[str, Any] = event.final_stats.tree or {}
        if self._roots[event.session_id] == event.session_id:
            total = tree.get("usage_with_sub_agents", {})
            self.rolled_up[event.session_id] = msgspec.convert(total, Usage)


def _usage(event: e.ResponseRecorded) -> Usage:
    tokens = event.tokens
    if tokens is None:
        return Usage(cost_usd=event.stats.cost_usd)
    return Usage(
        input=tokens.input_tokens,
        output=tokens.output_tokens,
        reasoning=(tokens.thinking_tokens or 0) + (tokens.reasoning_tokens or 0),
        cache_read=tokens.cache_read_tokens or 0,
        cache_write=tokens.cache_creation_tokens or 0,
        cost_usd=event.stats.cost_usd,
    )


def grow(log: Path, prices: Prices, transcripts: Transcripts) -> Grown:
    """Send a log through detection and recording; return the trees that grow of it."""
    settings = detection_settings(Config().session)
    grown, trees = Grown(), TimedTrees(ScribeOptions())
    scribe = Scribe(ScribeOptions(), prices, trees)
    now = 0.0

    def told(milestone: Arrived | Finished | Ended) -> None:
        nonlocal now
        now = milestone.at
        grown.take(scribe.take(milestone))
        if isinstance(milestone, Arrived):
            grown.bodies[milestone.request_id] = milestone.request.body
        if not isinstance(milestone, Ended):
            transcripts.take(milestone)

    telemetry = Telemetry()
    telemetry.listen(SessionEnded, lambda end: told(Ended(end.session_id, "", now, end.reason)))
    numbers = count()
    tracker = Tracker(settings, SECRET, telemetry, mint=lambda: f"sess_{next(numbers):06d}")
    with log.open("rb") as lines:
        for _ in Replay(tracker, told).verdicts(read_log(lines)):
            pass
    grown.take(scribe.shutdown(now))
    grown.microseconds = [nanoseconds / 1000 for nanoseconds in trees.spent.values()]
    return grown
