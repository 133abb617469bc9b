"""One live session: what its events need to know of the exchanges before."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway_sessions import events as e
from gateway_sessions.analysis import facts, requests, responses
from gateway_sessions.analysis.facts import Asked, Result
from gateway_sessions.analysis.faults import fault
from gateway_sessions.analysis.ledger import Ledger
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.responses import Outcome
from gateway_sessions.analysis.toolbook import Made, ToolBook, Waiting
from gateway_sessions.analysis.trees import Trees
from gateway_sessions.conversation import Reply, Usage
from gateway_sessions.milestones import Arrived, Finished
from gateway_sessions.prices import Cost, Prices

OPEN_LIMIT = 1024
"""Exchanges of a session that are under way at the same time.  The end of more than that many
must have been lost, and the oldest are given up."""


class Live:
    """The state of one session; methods return events in the order of the wire."""

    __slots__ = (
        "_book",
        "_error",
        "_fields",
        "_finish_reason",
        "_ledger",
        "_open",
        "_options",
        "_prices",
        "_since_snapshot",
        "_snapshot_at",
        "_trees",
        "ending",
        "id",
        "request_id",
    )

    def __init__(
        self,
        session_id: str,
        at: float,
        options: ScribeOptions,
        prices: Prices | None,
        trees: Trees,
    ) -> None:
        self.id = session_id
        self.request_id = ""
        """The exchange that was the last to finish, or to arrive where none has."""
        self.ending: str | None = None
        """Why the session ended, while exchanges of it are still under way."""
        self._options = options
        self._prices = prices
        self._trees = trees
        self._ledger = Ledger()
        self._book = ToolBook()
        self._fields: dict[str, int] = {}
        self._open: dict[str, None] = {}
        self._error: str | None = None
        self._finish_reason: str | None = None
        self._since_snapshot = 0
        self._snapshot_at = at

    @property
    def under_way(self) -> bool:
        """Whether an exchange has not finished yet."""
        return bool(self._open)

    def arrived(self, arrived: Arrived, asked: Asked) -> list[e.SessionEvent]:
        """Take a request."""
        recorded = requests.request_recorded(arrived, asked, self._fields, self._options)
        results = self._results(arrived, asked) if asked.results else []
        self._trees.arrived(arrived, asked, results)
        self.request_id = arrived.request_id
        self._open[arrived.request_id] = None
        if len(self._open) > OPEN_LIMIT:
            del self._open[next(iter(self._open))]
        return [recorded, *results]

    def finished(self, finished: Finished) -> list[e.SessionEvent]:
        """Take the end of an exchange."""
        self._open.pop(finished.request_id, None)
        self.request_id = finished.request_id
        outcome = self._outcome(finished)
        answered, made = outcome.answered, []
        if answered.calls:
            made = self._book.made(answered.calls, finished.at, finished.request_id)
        found: list[e.SessionEvent] = [responses.response_recorded(outcome, made, self._options)]
        if made or answered.results:
            found += self._calls(finished, made, answered.results)
        if outcome.fault is not None:
            found.append(responses.error(outcome, outcome.fault, self._options))
        found.append(responses.request_completed(outcome))
        self._sum(outcome)
        found += self._trees.finished(outcome, made)
        if self._snapshot_is_due(finished.at):
            at = rfc3339(finished.at)
            found.append(self._ledger.snapshot(self.id, finished.request_id, at))
        return found

    def completed(self, at: float, reason: str) -> list[e.SessionEvent]:
        """Return the end of the session, with all of its sums, and of loops still open."""
        loops = self._trees.ended(self.id, at, self.request_id)
        tree = self._trees.summary(self.id)
        final = msgspec.structs.replace(self._ledger.final(), tree=tree)
        total = final.total_tokens
        completed = e.Completed(
            session_id=self.id,
            request_id=self.request_id,
            timestamp=rfc3339(at),
            success=self._error is None,
            reason=reason,
            final_stats=final,
            total_input=total.total_input,
            total_output=total.total_output,
            total_thinking=total.thinking,
            total_reasoning=total.reasoning,
            grand_total=total.grand_total,
            error=self._error,
            finish_reason=self._finish_reason,
        )
        return [*loops, completed]

    def _outcome(self, finished: Finished) -> Outcome:
        response = finished.response
        answered = facts.Answered()
        if 200 <= response.status < 300:
            answered = facts.answered(finished.dialect, response.body)
        reply = answered.reply
        usage = response.usage or (reply.usage if reply else None)
        return Outcome(
            finished=finished,
            answered=answered,
            fault=fault(response),
            usage=usage,
            cost=None if usage is None else self._cost(finished, reply, usage),
        )

    def _cost(self, finished: Finished, reply: Reply | None, usage: Usage) -> Cost | None:
        """Return what an exchange cost, by the model that answered or else by that asked for."""
        if self._prices is None:
            return None
        provider, at = finished.provider, finished.at
        named = finished.response.model or (reply.model if reply else "")
        cost = self._prices.cost(provider, named, usage, at)
        if cost is None and named != finished.model:
            cost = self._prices.cost(provider, finished.model, usage, at)
        return cost

    def _sum(self, outcome: Outcome) -> None:
        finished, ledger = outcome.finished, self._ledger
        ledger.exchanged(
            finished.response,
            provider_ms=outcome.provider_ms,
            overhead_ms=finished.overhead_ms,
            detection_ms=finished.detection_ms,
        )
        ledger.used(finished.provider, outcome.model, outcome.usage, outcome.cost)
        if finished.response.streamed:
            ledger.streamed(finished.response, finished.chunk_gaps_ms)
        self._error = outcome.fault.kind if outcome.fault else None
        self._finish_reason = outcome.finish_reason

    def _snapshot_is_due(self, at: float) -> bool:
        self._since_snapshot += 1
        number = self._options.snapshot_every_requests
        seconds = self._options.snapshot_every_seconds
        due = bool(
            (number and self._since_snapshot >= number)
            or (seconds and at - self._snapshot_at >= seconds)
        )
        if due:
            self._since_snapshot, self._snapshot_at = 0, at
        return due

    def _calls(
        self, finished: Finished, made: Sequence[Made], results: Sequence[Result]
    ) -> list[e.SessionEvent]:
        """Return the calls of an answer, and the results of those that ran at the provider's."""
        found: list[e.SessionEvent] = []
        for call in made:
            if call.first:
                self._ledger.called(call.call.name)
            found.append(
                e.ToolCallRecorded(
                    session_id=self.id,
                    request_id=finished.request_id,
                    timestamp=rfc3339(finished.at),
                    tool_name=call.call.name,
                    tool_call_id=call.id,
                    input_size_bytes=len(call.call.arguments),
                    tool_arguments=msgspec.Raw(call.call.arguments) if self._options.full else None,
                )
            )
        for result in results:
            waiting = self._book.answered(result)
            if waiting is not None:
                found.append(self._result(finished, waiting, result, None))
        return found

    def _results(self, arrived: Arrived, asked: Asked) -> list[e.ToolCallRecorded]:
        """Return the results that a request brings for the first time."""
        measured = requests.tool_durations(arrived.request.headers)
        matched = [
            (result, self._waiting(arrived, asked, result, number))
            for number, result in enumerate(asked.results)
        ]
        answers = [(result, waiting) for result, waiting in matched if waiting is not None]
        times = _exact([waiting.name for _, waiting in answers], measured)
        return [
            self._result(arrived, waiting, result, exact)
            for (result, waiting), exact in zip(answers, times, strict=True)
        ]

    def _waiting(
        self, arrived: Arrived, asked: Asked, result: Result, number: int
    ) -> Waiting | None:
        """Return the call that a result is for; None if the result has come before.

        Where nobody saw the call, since recording began after it or its answer is only about
        to be recorded, the request itself shows it.
        """
        waiting = self._book.answered(result)
        if waiting is not None or self._book.is_known(result.call_id):
            return waiting
        call = asked.call(result.call_id) if result.call_id else None
        if result.call_id:
            self._book.unseen(result.call_id)
        elif self._ledger.requests:
            return None
        name = call.name if call else result.name
        self._ledger.called(name)
        identity = result.call_id or f"{arrived.request_id}#{number}"
        return Waiting(identity, name, len(call.arguments) if call else 0, None)

    def _result(
        self, milestone: Arrived | Finished, waiting: Waiting, result: Result, exact: float | None
    ) -> e.ToolCallRecorded:
        """Return a result.  Of tools at the provider's, nobody knows how long they took."""
        spent, bound = exact, False if exact is not None else None
        if exact is None and waiting.at is not None and isinstance(milestone, Arrived):
            spent, bound = max(0.0, 1000 * (milestone.at - waiting.at)), True
        self._ledger.answered(waiting.name, spent, success=result.success)
        return e.ToolCallRecorded(
            session_id=self.id,
            request_id=milestone.request_id,
            timestamp=rfc3339(milestone.at),
            tool_name=waiting.name,
            tool_call_id=waiting.id,
            input_size_bytes=waiting.size,
            output_size_bytes=result.size,
            success=result.success,
            execution_time_ms=spent,
            time_is_upper_bound=bound,
        )


def _exact(names: Sequence[str], measured: Sequence[tuple[str, float]]) -> list[float | None]:
    """Return the measured time of each result, by the tool's name; None where it is not clear.

    It is clear where as many times as results are named.
    """
    if not measured:
        return [None] * len(names)
    found: list[float | None] = []
    for place, name in enumerate(names):
        times = [spent for tool, spent in measured if tool == name]
        clear = len(times) == sum(other == name for other in names)
        found.append(times[sum(other == name for other in names[:place])] if clear else None)
    return found
