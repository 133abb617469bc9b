"""What is remembered of a reply's words: its text, what it hands to tools, and its summary."""

from __future__ import annotations

from typing import Any

from gateway_sessions.conversation import Message, Text, ToolCall
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.echo import CALL, SUMMARY, kept_text
from gateway_sessions.detection.echo_rules import is_summarising, summary_in
from gateway_sessions.detection.histories import Histories, mark_of, told
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.plan import Plan
from gateway_sessions.detection.session import Session


def overhear(
    memories: Memories, plan: Plan, session: Session, message: Message, now: float
) -> None:
    """Remember what is answered, for requests that quote it.

    Args:
        memories: what is remembered of all sessions.
        plan: the request that is answered.
        session: where it belongs.
        message: the reply.
        now: unix seconds.
    """
    texts = []
    for number, part in enumerate(message.parts):
        if type(part) is Text:
            texts.append(part.text)
        elif type(part) is ToolCall:
            tools = plan.walk.tools()
            for place, task in enumerate(_longest_strings(part.arguments)):
                call = f"{part.id or number}/{place}"
                memories.echo.note(kept_text(session, CALL, fold_text(task), now, call, tools))
    if not texts:
        return
    text = "".join(texts)
    memories.turns.answered(session, text, now)
    if is_summarising(plan.walk.prompt_texts()) and not _is_usual(
        message, plan.scope.seed, memories.histories
    ):
        summary = fold_text(summary_in(text))
        memories.echo.note(kept_text(session, SUMMARY, summary, now))


def _longest_strings(arguments: Any) -> list[str]:
    """Return the two longest strings among a tool call's arguments."""
    values = arguments.values() if isinstance(arguments, dict) else [arguments]
    return sorted((value for value in values if type(value) is str), key=len)[:-3:-1]


def _is_usual(reply: Message, scope: int, histories: Histories) -> bool:
    """Whether the same was replied to something else than a request for a summary: a refusal."""
    mark = mark_of(told(0, 0, (reply,)), scope)
    return any(
        turn.mark == mark
        and turn.prompt.text is not None
        and not is_summarising([turn.prompt.text])
        for history in histories.giving(mark)
        for turn in history.turns
    )
