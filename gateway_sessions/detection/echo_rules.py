"""The rules that go by quoted text: sub-agents, compaction, side calls."""

from __future__ import annotations

import re
from functools import cached_property

from gateway_sessions.conversation import ASSISTANT, USER, Message, Text, ToolResult
from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.echo import CALL, SUMMARY, Quote
from gateway_sessions.detection.plan import last_key
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.turns import Turn, line_key
from gateway_sessions.detection.verdict import Verdict

TASK_SHARE = 0.3
"""How much of a sub-agent's opening its task must be, at least."""
LONG_TASK = 200
"""Canonical characters from which a task needs no such share."""
SUMMARY_SHARE = 0.15
"""How much of a compacted history's opening the summary must be, at least."""
SHORT = 40
"""Canonical characters below which a prompt or a reply is what many sessions say."""
MOMENT_SECONDS = 5.0
"""How long after a turn a quotation of it needs no further sign."""
LONGEST_ASIDE = 16 * 1024
"""Characters of a request that are searched for quotations."""
LINES = 256
"""Lines of a request that are compared with whole short texts."""

MARKED_SHARE = 0.2
"""How much of a reply must be marked as the summary, for the mark to be no mere mention."""

_SPEAKER = re.compile(r"^\W*\w{1,16}\W*:\s*")
"""Who said a line, where a chat is quoted."""
_LEAD = re.compile(r"^[^:]{0,60}:\s*")
"""What introduces a task or a summary on its own line."""
_MARK = re.compile(r"<(\w{0,40}summary)>", re.IGNORECASE)
_SUMMARISING = (
    "summar", "recap", "handoff", "hand-off", "compact", "condens", "checkpoint",
    "zusammenfass", "résum", "resum", "riassum", "samenvat",
    "要約", "总结", "摘要", "요약", "краткое",
)  # fmt: skip
"""Beginnings of the words for a summary."""
_ASKS_WITHIN = 400
"""Characters at either end of a prompt that say what it is about."""


def is_summarising(texts: list[str]) -> bool:
    """Whether a prompt asks for a summary of the conversation."""
    for text in texts:
        ends = text if len(text) <= 2 * _ASKS_WITHIN else text[:_ASKS_WITHIN] + text[-_ASKS_WITHIN:]
        said = ends.lower()
        for word in _SUMMARISING:  # Asked after every reply: a generator would cost the double.
            if word in said:
                return True
    return False


def subagent(ask: Ask) -> Verdict | None:
    """Recognise a task that another session's model has just given away.

    Asked before the history is looked at, since some agents hand the child a copy of theirs.
    """
    plan = ask.plan
    if not ask.echo.holds(plan.scope.seed, CALL):
        return None
    reply = plan.walk.reply
    if reply is not None and any(
        session.waits_at(reply.state) and session.agent == plan.agent for session in ask.at_reply()
    ):
        return None  # An agent goes on with its own work.
    prompt = plan.walk.prompt()
    if not prompt or any(type(part) is ToolResult for part in prompt[-1].parts):
        return None
    texts = plan.walk.prompt_texts()
    tasks = [
        quote
        for text in {"\n".join(texts), texts[-1] if texts else ""}
        for quote in ask.echo.quoted(plan.scope.seed, fold_text(text), _lines(text))
        if _is_task(quote) and not _is_own(ask, quote)
    ]
    if not tasks:
        ask.note = "no pending tool call holds this text"
        return None
    about = side_call(ask) if all(quote.text.taken for quote in tasks) else None
    if about is not None and about.session.parent is not None:
        return about  # A title, say, of what a sub-agent was told and answered.
    # The same task may have been given to several: each call has one child, the oldest first.
    quote = min(tasks, key=lambda task: (task.text.taken, -task.share, task.text.at))
    ask.claimed = quote.text
    return ask.started(
        v.SUBAGENT,
        v.ECHO,
        0.95 if quote.share > 0.95 else 0.6 + 0.3 * quote.share,
        "it opens with an argument of a tool call that waits for its result",
        new="subagent",
        parent=quote.text.session,
    )


def _is_task(quote: Quote) -> bool:
    return (
        quote.text.kind == CALL
        and quote.whole
        and (quote.share >= TASK_SHARE or len(quote.text.folded) >= LONG_TASK)
    )


def _is_own(ask: Ask, quote: Quote) -> bool:
    """Whether the request goes on from the very reply that made the call: then it is no child."""
    plan, parent = ask.plan, quote.text.session
    reply = plan.walk.reply
    return reply is not None and (
        parent.agent == plan.agent or last_key(plan.scope, reply) == parent.last_reply
    )


def compaction(ask: Ask) -> Verdict | None:
    """Recognise a history that begins with the summary of an earlier one."""
    if not ask.echo.holds(ask.plan.scope.seed, SUMMARY):
        return None
    for opening in _openings(ask):
        for quote in ask.echo.quoted(ask.plan.scope.seed, *opening):
            if _is_summary(ask, quote):
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
        and _is_live(ask, text.session)
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


def _openings(ask: Ask) -> list[tuple[bytes, list[bytes]]]:
    """Return the user side's first message, and its first part: canonical text and lines.

    Some dialects join the message with the one that follows.
    """
    conversation = ask.plan.conversation
    for raw in conversation.messages[ask.plan.walk.start :][:2]:
        for message in conversation.read(raw):
            texts = [part.text for part in message.parts if type(part) is Text]
            if message.role == USER and texts:
                wholes = ["\n".join(texts), texts[0]] if len(texts) > 1 else texts
                return [(fold_text(text), _lines(text)) for text in wholes]
    return []


def side_call(ask: Ask) -> Verdict | None:
    """Recognise a single request, without tools, that is about another session's newest turn."""
    plan = ask.plan
    said = plan.walk.newest
    if plan.conversation.tools or any(message.role == ASSISTANT for message in said):
        return None
    aside: _Aside | None = None
    best: list[tuple[int, Session]] = []
    for turn in ask.turns.of(plan.scope.seed, ask.now):
        aside = aside or _Aside(said)
        quoted = aside.quoted(turn)
        if quoted and _is_live(ask, turn.session) and _is_about(ask, turn, quoted, aside):
            best.append((sum(map(len, quoted)), turn.session))
    if not best:
        ask.note = "it quotes no newest turn of another session"
        return None
    # Clients ask at once: of equal fits, the session with the newest turn is meant.
    most, session = max(best, key=lambda found: (found[0], found[1].used))
    toss_up = sum(size == most for size, _ in best) > 1
    reason = "it is about the newest turn of this session"
    confidence = 0.6 if toss_up else 0.8
    return Verdict(session, v.SIDE_CALL, v.ECHO, confidence, reason, ambiguous=toss_up)


class _Aside:
    """What a request says that may be about another session."""

    def __init__(self, said: list[Message]) -> None:
        parts = [part.text for message in said for part in message.parts if type(part) is Text]
        whole = "\n".join(parts)[:LONGEST_ASIDE]
        lines = [line for line in whole.splitlines()[:LINES] if line.strip()]
        openings = [*lines, *(text[:LONGEST_ASIDE].lstrip() for text in parts[:LINES])]
        openings += [_SPEAKER.sub("", line) for line in openings]
        self.openings = {line_key(text.partition("\n")[0]) for text in openings}
        self.texts = [fold_text(text[:LONGEST_ASIDE]) for text in parts[:LINES]]
        self._whole = fold_text(whole)
        self._lines = lines

    @cached_property
    def _short(self) -> frozenset[bytes]:
        """The texts and lines that a short text may be, with and without who says them."""
        said = (fold_text(text) for line in self._lines for text in (line, _SPEAKER.sub("", line)))
        return frozenset((*self.texts, *said))

    def quoted(self, turn: Turn) -> list[bytes]:
        """Return what it quotes of a turn: the prompt, the reply, both or nothing."""
        found = (
            folded
            for said in (turn.prompt, turn.reply)
            if said is not None
            and said.opening() in self.openings
            and (folded := fold_text(said.text))
            and self._holds(folded)
        )
        # A reply in the words of the prompt is no second sign.
        return list(dict.fromkeys(found))

    def opens_with(self, folded: bytes) -> bool:
        """Whether nothing comes before a text."""
        return self._whole.startswith(folded)

    def _holds(self, folded: bytes) -> bool:
        return folded in self._whole if len(folded) >= SHORT else folded in self._short


def _is_about(ask: Ask, turn: Turn, quoted: list[bytes], aside: _Aside) -> bool:
    """Whether what a request quotes of a turn is enough to be about it."""
    if len(quoted) > 1:
        return True  # The prompt and the reply to it.
    plan, session = ask.plan, turn.session
    other_model = session.model != plan.model
    if not other_model and session.agent == plan.agent:
        return False
    if aside.opens_with(quoted[0]):
        # The bare prompt: another conversation may begin so, but hardly while this one is
        # waiting for its answer, and then not with other instructions and without its tools.
        return bool(session.pending) and (other_model or session.tools or session.exchanges > 0)
    return (
        len(quoted[0]) >= SHORT
        or (bool(session.pending) and quoted[0] in aside.texts)
        or ask.now - turn.at <= MOMENT_SECONDS
    )


def _lines(text: str) -> list[bytes]:
    """Return the lines of a text in canonical form, with and without what introduces them.

    Short texts are found as one of them.
    """
    lines = text.splitlines()[:LINES]
    return [fold_text(line) for line in (*lines, *(_LEAD.sub("", line) for line in lines))]


def _is_live(ask: Ask, session: Session) -> bool:
    return bool(session.pending) or session.used >= ask.now - ask.settings.session_ttl_seconds


def _text(message: Message) -> str:
    return "".join(part.text for part in message.parts if type(part) is Text)
