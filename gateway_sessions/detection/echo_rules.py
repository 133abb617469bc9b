"""The rules that go by quoted text: sub-agents, compaction, side calls."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import islice

from gateway_sessions.conversation import ASSISTANT, USER, Message, Text, ToolResult
from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.echo import CALL, LONGEST_QUERY, SUMMARY, Quote, marks_asked
from gateway_sessions.detection.phrases import ends
from gateway_sessions.detection.plan import Plan, last_key
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.turns import Turn, line_mark
from gateway_sessions.detection.verdict import Verdict

TASK_SHARE = 0.3
"""How much of a sub-agent's opening its task must be, at least."""
LONG_TASK = 200
"""Canonical characters from which a task needs no such share."""
SUMMARY_SHARE = 0.15
"""How much of a compacted history's opening the summary must be, at least."""
SHORT = 40
"""Canonical characters below which a prompt, a reply or a task is what many sessions say."""
MOMENT_SECONDS = 5.0
"""How long after a turn a quotation of it needs no further sign."""
QUOTED_SECONDS = 30.0
"""How long after a turn its prompt or its reply alone, if long, is enough; later both must be."""
LONGEST_ASIDE = 16 * 1024
"""Characters of a request that are searched for quotations."""
LINES = 256
"""Lines of a request that are compared with whole short texts."""

MARKED_SHARE = 0.2
"""How much of a reply must be marked as the summary, for the mark to be no mere mention."""

_SPEAKER = re.compile(r"^\W*\w{1,16}\W*:\s*")
"""Who said a line, where a chat is quoted."""
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


def tasks_given(ask: Ask) -> list[Quote]:
    """Return the arguments of pending tool calls that a request may have been given as a task."""
    plan = ask.plan
    if not ask.echo.holds(plan.scope.seed, CALL):
        return []
    reply = plan.walk.reply
    if reply is not None and any(
        session.waits_at(reply.state) and session.agent == plan.agent for session in ask.at_reply()
    ):
        return []  # An agent goes on with its own work.
    prompt = plan.walk.prompt()
    if not prompt or any(type(part) is ToolResult for part in prompt[-1].parts):
        return []
    tasks = [
        quote
        for text in _told(plan)
        for quote in ask.echo.quoted(plan.scope.seed, *_start(text))
        if _is_task(quote) and not _is_own(ask, quote)
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


def turn_marks(plan: Plan) -> set[int]:
    """Return the beginnings of lines by which `side_call` finds a turn."""
    said = plan.walk.newest
    if not _may_be_aside(plan, said):
        return set()
    return _Aside(said, plan.scope.seed).marks


def _is_task(quote: Quote) -> bool:
    size = len(quote.text.folded)
    return (
        quote.text.kind == CALL
        and quote.whole
        and size >= SHORT  # A command, a name or a user's own few words are said elsewhere too.
        and (quote.share >= TASK_SHARE or size >= LONG_TASK)
    )


def _is_own(ask: Ask, quote: Quote) -> bool:
    """Whether the request is rather the parent's own, or a user's of the same application."""
    plan, parent = ask.plan, quote.text.session
    reply = plan.walk.reply
    if parent.agent == plan.agent:
        # Children of children share instructions with their parents; others have their own.
        return reply is not None or parent.parent is None
    # It goes on from the very reply that made the call.
    return reply is not None and last_key(plan.scope, reply) == parent.last_reply


def compaction(ask: Ask) -> Verdict | None:
    """Recognise a history that begins with the summary of an earlier one."""
    if not ask.echo.holds(ask.plan.scope.seed, SUMMARY):
        return None
    for opening in _openings(ask.plan):
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


def side_call(ask: Ask) -> Verdict | None:
    """Recognise a single request, without tools, that is about another session's newest turn."""
    plan = ask.plan
    said = plan.walk.newest
    if not _may_be_aside(plan, said):
        return None
    scope = plan.scope.seed
    best = _quoted_turns(ask, _Aside(said, scope)) if ask.turns.fresh(scope, ask.now) else []
    if not best:
        ask.note = "it quotes no newest turn of another session"
        return None
    # Clients ask at once: of equal fits, the session with the newest turn is meant.
    most, session = max(best, key=lambda found: (found[0], found[1].used))
    toss_up = sum(size == most for size, _ in best) > 1
    reason = "it is about the newest turn of this session"
    confidence = 0.6 if toss_up else 0.8
    return Verdict(session, v.SIDE_CALL, v.ECHO, confidence, reason, ambiguous=toss_up)


def _may_be_aside(plan: Plan, said: list[Message]) -> bool:
    return not plan.conversation.tools and ASSISTANT not in [message.role for message in said]


def _quoted_turns(ask: Ask, aside: _Aside) -> list[tuple[int, Session]]:
    """Return the sessions whose newest turn a request is about, and how much of it it quotes."""
    found: list[tuple[int, Session]] = []
    for turn in ask.turns.marked(ask.plan.scope.seed, aside.marks, ask.now):
        quoted = aside.quoted(turn)
        if quoted and _is_live(ask, turn.session) and _is_about(ask, turn, quoted, aside):
            found.append((sum(map(len, quoted)), turn.session))
    return found


class _Aside:
    """What a request says that may be about another session."""

    def __init__(self, said: list[Message], scope: int) -> None:
        parts = [part.text for message in said for part in message.parts if type(part) is Text]
        self._parts = [text[:LONGEST_ASIDE] for text in parts[:LINES]]
        self._text = "\n".join(parts)[:LONGEST_ASIDE]
        self._lines = [line for line in self._text.splitlines()[:LINES] if line.strip()]
        openings = {text.lstrip().partition("\n")[0] for text in (*self._lines, *self._parts)}
        openings.update([_without_speaker(line) for line in openings if ":" in line])
        self.marks = {line_mark(line, scope) for line in openings}

    @cached_property
    def texts(self) -> list[bytes]:
        """The beginning of each of its texts in canonical form."""
        return [fold_text(text) for text in self._parts]

    @cached_property
    def _whole(self) -> bytes:
        return fold_text(self._text)

    @cached_property
    def _short(self) -> frozenset[bytes]:
        """The texts and lines that a short text may be, with and without who says them."""
        said = (fold_text(text) for line in self._lines for text in (line, _without_speaker(line)))
        return frozenset((*self.texts, *said))

    def quoted(self, turn: Turn) -> list[bytes]:
        """Return what it quotes of a turn: the prompt, the reply, both or nothing."""
        found = (
            folded
            for text, mark in turn.said()
            if mark in self.marks and (folded := fold_text(text)) and self._holds(text, folded)
        )
        # A reply in the words of the prompt is no second sign.
        return list(dict.fromkeys(found))

    def opens_with(self, folded: bytes) -> bool:
        """Whether nothing comes before a text."""
        return self._whole.startswith(folded)

    def _holds(self, text: str, folded: bytes) -> bool:
        if len(folded) >= SHORT:
            return folded in self._whole
        lines = [fold_text(line) for line in text.splitlines()]
        return folded in self._short or all(line in self._short for line in lines if line)


def _without_speaker(line: str) -> str:
    said_by = _SPEAKER.match(line) if ":" in line else None
    return line[said_by.end() :] if said_by else line


def _is_about(ask: Ask, turn: Turn, quoted: list[bytes], aside: _Aside) -> bool:
    """Whether what a request quotes of a turn is enough to be about it."""
    if len(quoted) > 1:
        return True  # The prompt and the reply to it.
    plan, session = ask.plan, turn.session
    other_model = session.model != plan.model
    if not other_model and session.agent == plan.agent:
        return False
    if aside.opens_with(quoted[0]):
        # The bare prompt: another conversation may begin so, but hardly from the same client
        # while this one is waiting for its answer, and then not with other instructions and
        # without its tools, nor with instructions that ask about other sessions' turns.
        return (bool(session.pending) and session.client == plan.client) and (
            other_model
            or session.tools
            or session.exchanges > 0
            or ask.asides.known(plan.scope.seed, plan.agent)
        )
    passed = ask.now - turn.at
    return (
        (len(quoted[0]) >= SHORT and passed <= QUOTED_SECONDS)
        or (bool(session.pending) and quoted[0] in aside.texts)
        or passed <= MOMENT_SECONDS
    )


def _start(text: str) -> tuple[bytes, list[bytes]]:
    """Return in canonical form the start of a text and its lines, which short texts may be.

    The lines come with and without what introduces them.
    """
    start = text[:LONGEST_QUERY]
    lines = [line.group() for line in islice(_LINE.finditer(start), LINES)]
    return fold_text(start), [fold_text(x) for x in (*lines, *(_LEAD.sub("", x) for x in lines))]


def _is_live(ask: Ask, session: Session) -> bool:
    return bool(session.pending) or session.used >= ask.now - ask.settings.session_ttl_seconds


def _text(message: Message) -> str:
    return "".join(part.text for part in message.parts if type(part) is Text)
