"""A turn while it is being written."""

from __future__ import annotations

import msgspec

from gateway_sessions.analysis.agent_events import TurnEnd, TurnStart, WholeLoop
from gateway_sessions.analysis.agent_tree import (
    NOTHING,
    Attempt,
    ToolOutcome,
    Turn,
    TurnId,
    TurnTrigger,
    Usage,
)
from gateway_sessions.conversation import Message


class TurnDraft(msgspec.Struct, gc=False):
    """A turn under way."""

    index: int
    trigger: TurnTrigger
    started_at: float
    input_messages: tuple[Message, ...] = ()
    output: Message | None = None
    ended_at: float | None = None
    attempts: list[Attempt] = []
    tools: dict[str, ToolOutcome] = {}
    changed: bool = True
    """Whether it has changed since it was last handed on."""

    @property
    def is_over(self) -> bool:
        """Whether all of its attempts have ended."""
        return bool(self.attempts) and all(each.ended_at is not None for each in self.attempts)

    @property
    def is_settled(self) -> bool:
        """Whether it is over and all its tools' results have come."""
        return self.is_over and all(tool.size_bytes is not None for tool in self.tools.values())

    def begin(self, event: TurnStart) -> None:
        """Open an attempt; the first one says what triggered the turn."""
        self.started_at = min(self.started_at, event.at)
        self.changed = True
        if not self.attempts:
            self.trigger = event.triggered_by
        for place, attempt in enumerate(self.attempts):
            if attempt.request_id == event.request_id and event.request_id:
                # Its end came first.
                self.attempts[place] = msgspec.structs.replace(attempt, started_at=event.at)
                return
        self.attempts.append(Attempt(request_id=event.request_id, started_at=event.at))

    def end(self, event: TurnEnd) -> None:
        """Close the attempt that an event is about, the newest open one if it names none."""
        self.ended_at = max(self.ended_at or event.at, event.at)
        self.changed = True
        if event.output_message is not None:
            self.output = event.output_message
        for place in range(len(self.attempts) - 1, -1, -1):
            attempt = self.attempts[place]
            if attempt.ended_at is None and event.request_id in {"", attempt.request_id}:
                self.attempts[place] = _ended(attempt.request_id, attempt.started_at, event)
                return
        # The beginning was missed, or comes late.
        self.attempts.append(_ended(event.request_id, self.started_at, event))

    def usage(self) -> Usage:
        """Return the sum over all attempts."""
        if len(self.attempts) == 1:
            return self.attempts[0].usage
        return sum((attempt.usage for attempt in self.attempts), NOTHING)

    def record(self, loop_id: str) -> Turn:
        """Return the turn as it is now."""
        return Turn(
            turn_id=TurnId(loop_id=loop_id, turn_index=self.index),
            triggered_by=self.trigger,
            usage=self.usage(),
            input_messages=self.input_messages,
            output_message=self.output,
            tool_results=tuple(self.tools.values()),
            started_at=self.started_at,
            ended_at=self.ended_at,
            attempts=tuple(self.attempts),
        )


def whole_turn(whole: WholeLoop) -> Turn:
    """Return the turn of a loop that has one only, of which all is known."""
    turn, answer = whole.turn, whole.answer
    return Turn(
        turn_id=TurnId(loop_id=turn.loop_id, turn_index=turn.turn_index),
        triggered_by=turn.triggered_by,
        usage=answer.usage,
        input_messages=turn.input_messages,
        output_message=answer.output_message,
        started_at=turn.at,
        ended_at=answer.at,
        attempts=(_ended(turn.request_id, turn.at, answer),),
    )


def _ended(request_id: str, started_at: float, event: TurnEnd) -> Attempt:
    return Attempt(
        request_id=request_id,
        started_at=started_at,
        ended_at=event.at,
        error=event.error,
        usage=event.usage,
    )
