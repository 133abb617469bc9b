"""The rules that go by quoted text: sub-agents and compaction."""

from __future__ import annotations

import re
from itertools import islice

from gateway_sessions.conversation import USER, Text, ToolResult
from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask, agreeing
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.echo import CALL, LONGEST_QUERY, SUMMARY, Quote, marks_asked
from gateway_sessions.detection.echo import Text as EchoText
from gateway_sessions.detection.phrases import ends
from gateway_sessions.detection.plan import Plan, last_key
from gateway_sessions.detection.side_calls import LINES, MOMENT_SECONDS, SHORT, side_call
from gateway_sessions.detection.verdict import Verdict

TASK_SHARE = 0.3
"""How much of a sub-agent's opening its task must be, at least."""
LONG_TASK = 200
"""Canonical characters from which a task needs no such share."""
START_SECONDS = 1.0
"""How long after a call its sub-agent usually starts."""
SUMMARY_SHARE = 0.15
"""How much of a compacted history's opening the summary must be, at least."""
MARKED_SHARE = 0.2
"""How much of a reply must be marked as the summary, for the mark to be no mere mention."""

_LINE = re.compile(r"[^\r\n]+")
_LEAD = re.compile(r"^[^:]{0,60}:\s*")
"""What introduces a task or a summary on its own line."""
_MARK = re.compile(r"<(\w{0,40}summary)>", re.IGNORECASE)
_SUMMARISING = (
    "summar", "recap", "handoff", "hand-off", "compact", "condens", "checkpoint",
    "zusammenfass", "resum", "riassum", "samenvat",
)  # fmt: skip
"""Beginnings of the words for a summary."""
_IN_MORE_LETTERS = ("résum", "要約", "总结", "摘要", "요약", "краткое")
"""More of them, for which texts in ASCII need not be searched."""
_ASKS_WITHIN = 400
"""Characters at either end of a prompt that say what it is about."""


def is_summarising(texts: list[str]) -> bool:
    """Whether a prompt asks for a summary of the conversation."""
    for text in ends(texts):
        said = text if len(text) <= 2 * _ASKS_WITHIN else text[:_ASKS_WITHIN] + text[-_ASKS_WITHIN:]
        said = said.lower()
        words = _SUMMARISING if said.isascii() else (*_SUMMARISING, *_IN_MORE_LETTERS)
        for word in words:  # Asked after every reply: a generator would cost the double.
            if word in said:
                return True
    return False


def subagent(ask: Ask) -> Verdict | None:
    """Recognise a task that another session's model has just given away.

    Asked before the history is looked at, since some agents hand the child a copy of theirs.
    """
    tasks = tasks_given(ask)
    if not tasks:
        return None
    about = side_call(ask) if all(quote.text.taken for quote in tasks) else None
    if about is not None and about.session.parent is not None:
        return about  # A title, say, of what a sub-agent was told and answered.
    quote = min(tasks, key=lambda task: _order(ask, task))
    ask.claimed = quote.text
    return ask.started(
        v.SUBAGENT,
        v.ECHO,
        0.95 if quote.share > 0.95 else 0.6 + 0.3 * quote.share,
        "it opens with an argument of a tool call that waits for its result",
        new="subagent",
        parent=quote.text.session,
    )


def _order(ask: Ask, task: Quote) -> tuple[int, float, bool, bool, float]:
    """Return what comes first where several calls give the same task away.

    Each has one child, which mostly starts at once, from the same client: of calls made just now
    the oldest is next, of others the newest.
    """
    text = task.text
    at_once = ask.now - text.at <= START_SECONDS
    elsewhere = text.session.client != ask.plan.client
    return text.taken, -task.share, elsewhere, not at_once, text.at if at_once else -text.at


def tasks_given(ask: Ask) -> list[Quote]:
    """Return the arguments of pending tool calls that a request may have been given as a task."""
    plan = ask.plan
    if not ask.echo.holds(plan.scope.seed, CALL):
        return []
    reply, known = plan.walk.reply, ask.at_reply()
    goes_on = reply is not None and any(
        session.waits_at(reply.state) and session.agent == plan.agent for session in known
    )
    if goes_on and len(known) == 1:
        return []  # An agent goes on with its own work.
    prompt = plan.walk.prompt()
    if not prompt or any(type(part) is ToolResult for part in prompt[-1].parts):
        return []
    tasks = [
        quote
        for text in _told(plan)
        for quote in ask.echo.quoted(plan.scope.seed, *_start(text))
        if _is_task(ask, quote, text)
        and not _is_own(ask, quote)
        and not _is_gone(ask, quote.text)
        and (not goes_on or quote.text.session in known)  # a copy of the parent's history
    ]
    if not tasks:
        ask.note = "no pending tool call holds this text"
    return tasks


def _told(plan: Plan) -> set[str]:
    """Return the texts that may be a task: all of the newest message, and its last part."""
    texts = plan.walk.prompt_texts()
    return {"\n".join(texts), texts[-1] if texts else ""}


def task_marks(plan: Plan) -> set[int]:
    """Return the fingerprints by which `tasks_given` finds a task, whoever goes on."""
    prompt = plan.walk.prompt()
    if not prompt or any(type(part) is ToolResult for part in prompt[-1].parts):
        return set()
    scope = plan.scope.seed
    return {mark for text in _told(plan) for mark in marks_asked(scope, *_start(text))}


def summary_marks(plan: Plan) -> set[int]:
    """Return the fingerprints by which `compaction` finds a summary."""
    scope = plan.scope.seed
    return {mark for opening in _openings(plan) for mark in marks_asked(scope, *opening)}


def _is_task(ask: Ask, quote: Quote, text: str) -> bool:
    """Whether a text of a request is what a tool call has given away.

    A command, a name or a few words are said elsewhere too.  So a short one must be all that is
    said, in the parent's own history or at once and by its client.
    """
    task, size = quote.text, len(quote.text.folded)
    if task.kind != CALL or not quote.whole:
        return False
    if size >= SHORT:
        return quote.share >= TASK_SHARE or size >= LONG_TASK
    parent, plan = task.session, ask.plan
    if quote.share < 1 and task.folded not in _start(text)[1]:
        return False
    if plan.walk.reply is not None:
        return parent in ask.at_reply()
    return parent.client == plan.client and ask.now - task.at <= MOMENT_SECONDS


def _is_own(ask: Ask, quote: Quote) -> bool:
    """Whether the request is rather the parent's own, or a user's of the same application."""
    plan, parent = ask.plan, quote.text.session
    reply = plan.walk.reply
    # Children of children share instructions with their parents; others do not.
    if parent.parent is None and (parent.agent == plan.agent or _is_users(ask, quote.text)):
        return True
    # It goes on from the very reply that made the call.
    return reply is not None and last_key(plan.scope, reply) == parent.last_reply


def _is_users(ask: Ask, task: EchoText) -> bool:
    """Whether a task is in the words of the parent's user, and an equal application opens with it.

    Instructions may differ by who the user is; tools do not.
    """
    if ask.plan.walk.reply is not None or task.tools != ask.plan.walk.tools():
        return False
    turn = ask.turns.of(task.session)
    return turn is not None and task.folded in fold_text(turn.prompt)


def _is_gone(ask: Ask, task: EchoText) -> bool:
    """Whether a task has been taken, and not by one like this.

    Several may be started with it, but then at once.
    """
    at_once = ask.now - task.at <= MOMENT_SECONDS
    return task.taken > 0 and task.taker != ask.plan.agent and not at_once


def compaction(ask: Ask) -> Verdict | None:
    """Recognise a history that begins with the summary of an earlier one."""
    if not ask.echo.holds(ask.plan.scope.seed, SUMMARY):
        return None
    for opening in _openings(ask.plan):
        quotes = ask.echo.quoted(ask.plan.scope.seed, *opening)
        fitting = [quote for quote in quotes if _is_summary(ask, quote)]
        if fitting:
            # Equal conversations have equal summaries: then who sends it tells them apart.
            quote = max(fitting, key=lambda q: (q.share, agreeing(q.text.session, ask.plan)))
            reason = "it opens with the summary that this session was asked for"
            return Verdict(quote.text.session, v.COMPACTION, v.ECHO, 0.85, reason)
    ask.note = "it does not open with a summary that we gave"
    return None


def _is_summary(ask: Ask, quote: Quote) -> bool:
    text = quote.text
    return (
        text.kind == SUMMARY
        and quote.whole
        and quote.share >= SUMMARY_SHARE
        and ask.is_live(text.session)
        # Who pastes it elsewhere asks another model under other instructions.
        and (text.session.model == ask.plan.model or text.session.agent == ask.plan.agent)
        # Nothing was said since: clients go on from a summary, or throw it away.
        and not text.session.pending
        and text.session.used <= text.at
    )


def summary_in(reply: str) -> str:
    """Return what a client takes out of a reply to a request for a summary.

    Models are told to think first and to mark the summary itself, as ``<summary>…</summary>``.
    """
    opening = _MARK.search(reply)
    if opening is None:
        return reply
    end = reply.rfind(f"</{opening.group(1)}>")
    marked = reply[opening.end() : end] if end > opening.end() else ""
    return marked if len(marked) > MARKED_SHARE * len(reply) else reply


def _openings(plan: Plan) -> list[tuple[bytes, list[bytes]]]:
    """Return the user side's first message, and its first part: canonical text and lines.

    Some dialects join the message with the one that follows.
    """
    for message in plan.walk.opening():
        texts = [part.text for part in message.parts if type(part) is Text]
        if message.role == USER and texts:
            wholes = ["\n".join(texts), texts[0]] if len(texts) > 1 else texts
            return [_start(text) for text in wholes]
    return []


def _start(text: str) -> tuple[bytes, list[bytes]]:
    """Return in canonical form the start of a text and its lines, which short texts may be.

    The lines come with and without what introduces them.
    """
    start = text[:LONGEST_QUERY]
    lines = [line.group() for line in islice(_LINE.finditer(start), LINES)]
    return fold_text(start), [fold_text(x) for x in (*lines, *(_LEAD.sub("", x) for x in lines))]
