"""The rule that recognises side calls: single requests about another session's newest turn.

Clients ask for titles, tags and follow-up questions right after a turn, or check a prompt for a new
topic while it is being answered.  They quote the chat, or its end, so the newest turn comes last in
what they quote; the same words further up are another session's.
"""

from __future__ import annotations

import re
from functools import cached_property

from gateway_sessions.conversation import ASSISTANT, Message, Text
from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.plan import Plan
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.turns import LONGEST, Turn, line_mark
from gateway_sessions.detection.verdict import Verdict

SHORT = 40
"""Canonical characters below which a prompt, a reply or a task is what many sessions say."""
MOMENT_SECONDS = 5.0
"""How long after a turn a quotation of it needs no further sign."""
QUOTED_SECONDS = 30.0
"""How long after a turn its prompt or its reply alone, if long, is enough; later both must be."""
LONGEST_ASIDE = 16 * 1024
"""Characters of a request that are searched for quotations: at its start, where a bare prompt
would be, and more at its end, where a chat ends with its newest turn."""
LINES = 512
"""Lines of a request that are compared with whole short texts, an eighth of them at its start."""

TOLD_APART = 8
"""Sessions with an equal newest turn whose turns before are compared, the newest: a millisecond's
work."""

_SPEAKER = re.compile(r"^\W*\w{1,16}\W*:\s*")
"""Who said a line, where a chat is quoted."""


def side_call(ask: Ask) -> Verdict | None:
    """Recognise a single request, without tools, that is about another session's newest turn."""
    plan = ask.plan
    said = plan.walk.newest
    if not _may_be_aside(plan, said):
        return None
    scope = plan.scope.seed
    aside = _Aside(said, scope)
    best = _quoted_turns(ask, aside) if ask.turns.fresh(scope, ask.now) else []
    if not best:
        ask.note = "it quotes no newest turn of another session"
        return None
    most = max(rank for rank, _ in best)
    equal = [session for rank, session in best if rank == most]
    if len(equal) > 1:
        newest = sorted(equal, key=lambda each: each.used)[-TOLD_APART:]
        equal = _quoted_before(ask, aside, newest)
    # Clients ask at once: of equal fits, the session with the newest turn is meant.
    session = max(equal, key=lambda each: each.used)
    toss_up = len(equal) > 1
    reason = "it is about the newest turn of this session"
    confidence = 0.6 if toss_up else 0.8
    return Verdict(session, v.SIDE_CALL, v.ECHO, confidence, reason, ambiguous=toss_up)


def turn_marks(plan: Plan) -> set[int]:
    """Return the beginnings of lines by which `side_call` finds a turn."""
    said = plan.walk.newest
    if not _may_be_aside(plan, said):
        return set()
    return _Aside(said, plan.scope.seed).marks


def _may_be_aside(plan: Plan, said: list[Message]) -> bool:
    return not plan.conversation.tools and ASSISTANT not in [message.role for message in said]


def _quoted_turns(ask: Ask, aside: _Aside) -> list[tuple[_Rank, Session]]:
    """Return the sessions whose newest turn a request is about, and how well that fits."""
    found: list[tuple[_Rank, Session]] = []
    for turn in ask.turns.marked(ask.plan.scope.seed, aside.marks, ask.now):
        quoted = aside.quoted(turn)
        if quoted and ask.is_live(turn.session) and _is_about(ask, turn, quoted, aside):
            # What is quoted last is the newest turn; what comes before may be another's newest.
            places = [*map(aside.place, quoted)]
            rank = len(quoted), aside.is_whole(turn), places, sum(map(len, quoted))
            found.append((rank, turn.session))
    return found


def _quoted_before(ask: Ask, aside: _Aside, equal: list[Session]) -> list[Session]:
    """Of sessions with an equal newest turn, return those of whose turns before most is quoted."""
    sizes = [
        sum(
            len(folded)
            for turn in ask.histories.of(session)
            for said in (turn.prompt.text, turn.reply.text)
            if said is not None and (folded := fold_text(said)) and aside.holds(said, folded)
        )
        for session in equal
    ]
    most = max(sizes)
    return [session for session, size in zip(equal, sizes, strict=True) if size == most]


_Rank = tuple[int, bool, list[int], int]
"""How many of prompt and reply are quoted, whether nothing else stands beside a prompt, how far
down each of them is, and their bytes."""


class _Aside:
    """What a request says that may be about another session."""

    def __init__(self, said: list[Message], scope: int) -> None:
        parts = [part.text for message in said for part in message.parts if type(part) is Text]
        self._parts = [text[:LONGEST_ASIDE] for text in parts[:LINES]]
        self._text = _both_ends("\n".join(parts))
        lines = [line for line in self._text.splitlines() if line.strip()]
        few = LINES // 8
        self._lines = lines if len(lines) <= LINES else lines[:few] + lines[few - LINES :]
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
    def _short(self) -> dict[bytes, int]:
        """The texts and lines that a short text may be, with and without who says them.

        With each, how many canonical bytes of the request come before it, where it comes last.
        """
        places = dict.fromkeys(self.texts, 0)
        before = 0
        for line in self._lines:
            folded = fold_text(line)
            places[folded] = places[fold_text(_without_speaker(line))] = before
            before += len(folded)
        return places

    def place(self, folded: bytes) -> int:
        """Return how many canonical bytes come before a text that it quotes."""
        return self._whole.rfind(folded) if len(folded) >= SHORT else self._short.get(folded, 0)

    def quoted(self, turn: Turn) -> list[bytes]:
        """Return what it quotes of a turn: the prompt, the reply, both or nothing."""
        found = (
            folded
            for text, mark in turn.said()
            if mark in self.marks and (folded := fold_text(text)) and self.holds(text, folded)
        )
        # A reply in the words of the prompt is no second sign.
        return list(dict.fromkeys(found))

    def is_whole(self, turn: Turn) -> bool:
        """Whether one of its texts is the prompt of a turn and nothing else."""
        folded = fold_text(turn.prompt)
        if not turn.ending:
            return folded in self.texts
        end = fold_text(turn.ending)
        return any(text.startswith(folded) and text.endswith(end) for text in self.texts)

    def opens_with(self, folded: bytes) -> bool:
        """Whether nothing comes before a text."""
        return self._whole.startswith(folded)

    def holds(self, text: str, folded: bytes) -> bool:
        """Whether it quotes a text, given in canonical form as well."""
        if len(folded) >= SHORT:
            return folded in self._whole
        lines = [fold_text(line) for line in text.splitlines()]
        return folded in self._short or all(line in self._short for line in lines if line)


def _both_ends(text: str) -> str:
    if len(text) <= LONGEST_ASIDE:
        return text
    return f"{text[:LONGEST]}\n{text[LONGEST - LONGEST_ASIDE :]}"


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
    return session.client == plan.client and (
        (len(quoted[0]) >= SHORT and passed <= QUOTED_SECONDS)
        or (bool(session.pending) and quoted[0] in aside.texts)
        or passed <= MOMENT_SECONDS
    )
