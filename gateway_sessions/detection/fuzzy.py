"""The rule that recognises a history whose client has altered it.

Asked after everything that goes by whole messages has failed.  It answers if one session

1. gave two different replies of the history that no other remembered session gave, letter for
   letter: a greeting stands in many conversations, what was answered in one does not;
2. would now have about as many messages (``fuzzy_max_diff``);
3. said much the same (``fuzzy_threshold``), and nothing that contradicts it: see
   `gateway_sessions.detection.likeness`.

Where two sessions pass, neither is meant: their histories differ in what was altered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import dropwhile, islice

from gateway_sessions.conversation import SYSTEM, Message
from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.chains import Run, runs_backwards
from gateway_sessions.detection.histories import (
    LONGEST_RAW,
    TURNS_KEPT,
    History,
    Told,
    mark_of,
    told,
)
from gateway_sessions.detection.likeness import (
    CLIENT,
    MODEL,
    NO_WORD,
    Likeness,
    compare,
    words,
)
from gateway_sessions.detection.plan import Plan, last_key
from gateway_sessions.detection.verdict import Verdict

OWN_REPLIES = 2
"""Replies of the history that this session alone must have given."""
OWN_LETTERS = 24
"""Canonical bytes that these must have together: "Yes" and "No" are anybody's."""
ENOUGH_LETTERS = 100
"""Letters that must agree in all; an anchor of one piece needs 60."""
MOST_COMPARED = 2
"""Sessions whose words are compared with those of one request."""
MOST_RUNS = 2 * TURNS_KEPT
"""Prompts and replies that are compared, the newest first."""
MOST_WORDS = 1200
"""Words of each side after which no older ones are compared: two milliseconds' work."""
MESSAGES_READ = 64
"""Messages of a request that are read again for it, the newest first."""
LONGEST_READ = 2 * LONGEST_RAW
"""Bytes of JSON up to which one is read; a longer one counts by its digest alone."""


def fuzzy(ask: Ask) -> Verdict | None:
    """Follow the words, where a history is told differently in many places."""
    if not ask.settings.fuzzy_matching:
        ask.note = "fuzzy_matching is off"
        return None
    newest = ask.plan.walk.reply
    if newest is None:
        return None
    said = _Said(ask.plan, newest)
    fitting = [
        (history, shift, found)
        for history, shift in _candidates(ask, said)
        if (found := _likeness(ask, history, said, shift)) is not None
    ]
    if len(fitting) > 1:
        ask.note = "two sessions are alike, and it may be either of them"
    if len(fitting) != 1:
        return None
    history, shift, found = fitting[0]
    session = history.session
    if not ask.is_live(session):
        ask.expired = session
        ask.note = "the session that is alike has expired"
        return None
    reason = f"{found.similarity:.0%} of the words of this altered history are the session's"
    return Verdict(session, _relation(ask, history, shift), v.FUZZY, 0.75, reason)


def reply_marks(plan: Plan) -> set[int]:
    """Return the marks of the replies by which `fuzzy` finds sessions."""
    newest = plan.walk.reply
    told = _Said(plan, newest).told if newest is not None else []
    return {mark_of(reply, plan.scope.seed) for reply in told[::2]}


class _Said:
    """The history of a request up to its newest reply, newest first."""

    def __init__(self, plan: Plan, newest: Run) -> None:
        runs = list(islice(runs_backwards(plan.walk.full()), MOST_RUNS + 2))
        read = zip(runs, spoken(plan), strict=False)
        self.told: list[Told] = []
        self.weights: list[int] = []
        for run, messages in dropwhile(lambda pair: pair[0].state != newest.state, read):
            key = last_key(plan.scope, run)
            self.told.append(Told(key) if messages is None else told(key, run.weight, messages))
            self.weights.append(run.weight)


def spoken(plan: Plan) -> Iterator[list[Message] | None]:
    """Yield the messages of each run of a request, newest run first, as far as they are read.

    None stands for a run with a message that is too long to be read.
    """
    walk, conversation = plan.walk, plan.conversation
    raws = conversation.messages[walk.start :]
    side = ""
    run: list[Message] | None = []
    for raw in reversed(raws[-MESSAGES_READ:]):
        messages = conversation.read(raw) if len(raw) <= LONGEST_READ else ()
        digests = walk.walker.digests(conversation, raw)
        for place, digest in reversed(list(enumerate(digests))):
            if not digest.links or digest.role == SYSTEM:
                continue
            if digest.role != side:
                if side:
                    yield run and run[::-1]
                side, run = digest.role, []
            if run is not None:
                run = [*run, messages[place]] if messages else None
    if len(raws) <= MESSAGES_READ:
        yield run and run[::-1]


def _candidates(ask: Ask, said: _Said) -> Iterator[tuple[History, int]]:
    """Yield the sessions whose own replies stand in a history.

    With each, how many runs it has gone on since, as against the history.
    """
    found: dict[str, tuple[History, dict[int, int]]] = {}
    for place in range(0, len(said.told), 2):  # a reply, its prompt, the reply before, …
        mark = mark_of(said.told[place], ask.plan.scope.seed)
        givers = ask.histories.giving(mark)
        if len(givers) == 1:
            _, own = found.setdefault(givers[0].session.id, (givers[0], {}))
            own.setdefault(mark, place)
    for history, own in sorted(found.values(), key=_how_many)[:MOST_COMPARED]:
        letters = sum(said.weights[place] for place in own.values())
        if len(own) < OWN_REPLIES or letters < OWN_LETTERS:
            ask.note = "too few replies in it were given by one session alone"
            continue
        differ = abs(ask.plan.messages_to_reply() - history.session.messages)
        if differ > ask.settings.fuzzy_max_diff:
            ask.note = f"a session that gave some of its replies is {differ} messages off"
            continue
        mark, place = next(iter(own.items()))
        marks = [turn.mark for turn in reversed(history.turns)]
        yield history, 2 * marks.index(mark) - place


def _how_many(found: tuple[History, dict[int, int]]) -> int:
    return -len(found[1])


def _likeness(ask: Ask, history: History, said: _Said, shift: int) -> Likeness | None:
    """Compare the words of a session with those of a history; None if these are another's."""
    known = [each for turn in reversed(history.turns) for each in (turn.reply, turn.prompt)]
    ours, theirs = _words(known[max(0, shift) :], said.told[max(0, -shift) :])
    found = compare(ours, theirs, ask.settings.fuzzy_threshold)
    if ask.candidates is not None:
        alike = {"similarity": round(found.similarity, 3)} if found else {"alike": False}
        ask.candidates.append({"session_id": history.session.id, **alike})
    if found is None:
        ask.note = "a session gave some of its replies, but the rest is not alike"
    elif found.contradicts:
        ask.note = "a session is alike, but has other words in their place"
    elif found.agreeing < ENOUGH_LETTERS:
        ask.note = "too few of its words are a session's"
    else:
        return found
    return None


def _words(ours: Sequence[Told], theirs: Sequence[Told]) -> tuple[list[str], list[str]]:
    """Return the words of both sides in order, as far back as both are known."""
    left: list[list[str]] = []
    right: list[list[str]] = []
    sizes = [0, 0]
    for place, pair in enumerate(zip(ours, theirs, strict=False)):
        opens = CLIENT if place % 2 else MODEL
        for number, (side, one) in enumerate(zip((left, right), pair, strict=True)):
            said = words(one.text) if one.text is not None else [f"{NO_WORD}{one.key:x}"]
            side.append([opens, *said])
            sizes[number] += len(said)
        if max(sizes) > MOST_WORDS:
            break
    return _joined(left), _joined(right)


def _joined(runs: list[list[str]]) -> list[str]:
    return [word for run in reversed(runs) for word in run]


def _relation(ask: Ask, history: History, shift: int) -> str:
    """Return how a request relates to a session that has gone on for some runs since."""
    if shift <= 0:
        return ask.relation_to(history.session)
    tail = ask.plan.walk.tail
    prompt = history.turns[-(shift // 2)].prompt
    asked = tail is not None and last_key(ask.plan.scope, tail) == prompt.key
    return v.REGENERATE if asked else v.FORK
