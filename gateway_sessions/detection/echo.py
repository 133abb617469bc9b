"""Finds the texts that a request opens with: summaries and arguments of pending tool calls.

A sub-agent opens with a tool call's argument, a compacted history with a reply that summed it
up.  To find them without comparing every text with every other, each text leaves some
fingerprints: hashes of the 24 canonical bytes that follow certain pairs of bytes.  Where such a
pair stands depends on the text alone, so a quoted passage has the same fingerprints wherever
it is quoted.

Everything is bounded: bytes of text kept in all, fingerprints per text, look-ups per request.
What falls out of the bounds is forgotten, and then a sub-agent has no parent and a compacted
history is a session of its own.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

import msgspec
from cachetools import LRUCache
from xxhash import xxh3_64_intdigest

from gateway_sessions.detection.session import Session

SUMMARY, CALL = "summary", "call"
"""What a text is: the reply to a session's newest request for a summary, or an argument of a
tool call that has not been answered."""

SHINGLE = 24
"""Canonical bytes under one fingerprint: about five words."""
PER_END = 3
"""Fingerprints that a text leaves at its start, and again at its end: a quotation that is cut
off, or wrapped into something else, still has some of them."""
PER_SUMMARY = 64
"""Fingerprints of a summary, at either end: clients take a passage out of it."""
PER_QUERY = 2048
"""Fingerprints that are looked up for one request: those of some 30 KB of text."""
SAMPLES = 64
"""Passages of a request that are looked for in a text to see how much of it is quoted."""
KEPT_BYTES = 8 * 1024 * 1024
"""Canonical bytes of all texts together, with what it costs to find them."""
LONGEST = 16 * 1024
"""Canonical bytes kept of one text, from its start."""
LONGEST_QUERY = 64 * 1024
"""Characters of a request, and of these canonical bytes, that are looked at, from its start."""
MOST_QUOTED = 32
"""Texts that are compared with a request, those with most fingerprints in common."""
SHORTEST = {SUMMARY: 20, CALL: 8}
"""Canonical bytes below which a text is no summary, or no task."""
SCOPE_SHARE = 4
"""One scope may fill one part in so many of all the space."""
SAME_FINGERPRINT = 64
"""Texts that may share a fingerprint; a boilerplate passage has no more to say after that."""

_ENTRY_COST = 1000
"""Bytes that a text costs beside its own."""

# Each byte is mapped to 1, 2 or 0; a fingerprint starts where a 1 is followed by a 2.  The
# classes go by the low bits, so that letters of every script have their share: one place in
# 17 of English text, one in 32 of Chinese.
_CLASSES = bytes(1 if byte % 4 == 1 else 2 if byte % 8 == 4 else 0 for byte in range(256))
_START = b"\x01\x02"


class Text(msgspec.Struct, gc=False):
    """A text that may be quoted."""

    session: Session
    kind: str
    folded: bytes
    marks: tuple[int, ...]
    at: float
    """When it was said; unix seconds."""
    call: str = ""
    """Which argument of which call, for the texts of calls."""
    tools: int = 0
    """Digest of the tools among which that call was made."""
    taken: int = 0
    """How many sub-agents were found to open with it."""
    taker: int = 0
    """Digest of the instructions and tools of the first of them."""

    def take(self, agent: int) -> None:
        """Note that a sub-agent with these instructions and tools opens with it."""
        self.taken += 1
        self.taker = self.taker or agent


class Quote(msgspec.Struct, gc=False):
    """A text that a request quotes."""

    text: Text
    whole: bool
    """Whether the text stands in the request from its first byte to its last."""
    share: float
    """How much of the request's text is that text, 0 to 1."""


class _Kept(LRUCache[int, Text]):
    """Texts by number, bounded by their bytes; tells what falls out."""

    def __init__(self, kept_bytes: int, fallen: Callable[[int, Text], None]) -> None:
        super().__init__(kept_bytes, getsizeof=_cost)
        self._fallen = fallen

    def popitem(self) -> tuple[int, Text]:
        number, text = super().popitem()
        self._fallen(number, text)
        return number, text


class EchoIndex:
    """Recent texts by their fingerprints."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Keep texts of ``kept_bytes`` canonical bytes in all."""
        self._share = kept_bytes // SCOPE_SHARE
        self._texts = _Kept(kept_bytes, self._forget)
        self._numbers: dict[tuple[str, str], int] = {}
        self._next = 0
        self._scopes: dict[int, _Scope] = {}
        self._calls: dict[str, dict[str, None]] = {}
        self._marked: dict[int, list[int]] = {}

    def note(self, text: Text) -> None:
        """Keep a text; of summaries, only the newest of each session."""
        if len(text.folded) < SHORTEST[text.kind]:
            return
        name = (text.session.id, text.call or text.kind)
        self._drop(self._numbers.get(name))
        number = self._next
        self._next = (number + 1) % 2**32
        scope = self._scopes.setdefault(text.session.scope, _Scope())
        scope.numbers[number] = None
        scope.size += _cost(text)
        while scope.size > self._share:
            self._drop(next(iter(scope.numbers)))
        self._numbers[name] = number
        self._texts[number] = text
        for mark in text.marks:
            numbers = self._marked.setdefault(mark, [])
            numbers.append(number)
            del numbers[:-SAME_FINGERPRINT]
        if text.kind == CALL:
            self._calls.setdefault(text.session.id, {})[text.call] = None
            scope.calls += 1
        scope.summaries += text.kind == SUMMARY

    def settled(self, session: Session) -> None:
        """Forget a session's tool calls, since they have been answered."""
        for call in self._calls.pop(session.id, ()):
            self._drop(self._numbers.get((session.id, call)))

    def of(self, session: Session) -> list[Text]:
        """Return the texts of a session, its summary last."""
        names = (*self._calls.get(session.id, ()), SUMMARY)
        numbers = [self._numbers.get((session.id, name)) for name in names]
        return [text for n in numbers if n is not None and (text := self._texts.get(n))]

    def put(self, session: Session, texts: Iterable[Text]) -> None:
        """Let these be the texts of a session."""
        self.forget(session)
        for text in texts:
            self.note(text)

    def forget(self, session: Session) -> None:
        """Forget the texts of a session."""
        self.settled(session)
        self._drop(self._numbers.get((session.id, SUMMARY)))

    def owners(self, marks: Iterable[int]) -> set[str]:
        """Return the sessions with a text that is found by any of some fingerprints."""
        texts = {number for mark in marks for number in self._marked.get(mark, ())}
        return {text.session.id for n in texts if (text := self._texts.get(n)) is not None}

    def holds(self, scope: int, kind: str) -> bool:
        """Whether there are texts of a scope of a kind."""
        texts = self._scopes.get(scope)
        return texts is not None and (texts.calls if kind == CALL else texts.summaries) > 0

    def newest(self, scope: int, most: int) -> set[str]:
        """Return the sessions of a scope with the newest texts."""
        texts = self._scopes.get(scope)
        numbers = islice(reversed(texts.numbers), most) if texts is not None else ()
        return {text.session.id for n in numbers if (text := self._texts.get(n)) is not None}

    def quoted(self, scope: int, folded: bytes, lines: Sequence[bytes] = ()) -> list[Quote]:
        """Return the texts of a scope that a text quotes, the most quoted first.

        Args:
            scope: the scope's seed.
            folded: the text in canonical form.
            lines: its lines in canonical form; texts too short for fingerprints are found as one.
        """
        folded = folded[:LONGEST_QUERY]
        starts = _starts(folded, PER_QUERY)
        marks = _marks_asked(scope, folded, lines, starts)
        marked = self._marked
        hits = Counter(chain.from_iterable([marked[mark] for mark in marks if mark in marked]))
        quotes = []
        for number, _ in hits.most_common(MOST_QUOTED):
            text = self._texts.get(number)
            if text is not None and text.session.scope == scope:
                quotes.append(_quote(text, folded, starts))
        quotes.sort(key=lambda quote: (quote.whole, quote.share, quote.text.at), reverse=True)
        return quotes

    def _drop(self, number: int | None) -> None:
        text = self._texts.pop(number, None) if number is not None else None
        if text is not None and number is not None:
            self._forget(number, text)

    def _forget(self, number: int, text: Text) -> None:
        """Undo what noting a text did beside keeping it."""
        del self._numbers[(text.session.id, text.call or text.kind)]
        if text.kind == CALL and text.call in (calls := self._calls.get(text.session.id, {})):
            del calls[text.call]
            if not calls:
                del self._calls[text.session.id]
        scope = self._scopes[text.session.scope]
        scope.size -= _cost(text)
        scope.calls -= text.kind == CALL
        scope.summaries -= text.kind == SUMMARY
        del scope.numbers[number]
        if not scope.numbers:
            del self._scopes[text.session.scope]
        for mark in text.marks:
            numbers = self._marked.get(mark, [])
            if number in numbers:
                numbers.remove(number)
            if not numbers:
                self._marked.pop(mark, None)


class _Scope:
    """What one scope takes: the numbers of its texts, oldest first, and their bytes."""

    __slots__ = ("calls", "numbers", "size", "summaries")

    def __init__(self) -> None:
        self.numbers: OrderedDict[int, None] = OrderedDict()
        self.size = 0
        self.calls = 0
        self.summaries = 0


def _cost(text: Text) -> int:
    return len(text.folded) + _ENTRY_COST


def _mark(passage: bytes, seed: int) -> int:
    return xxh3_64_intdigest(passage, seed)


def _marks_asked(
    scope: int, folded: bytes, lines: Sequence[bytes], starts: Sequence[int]
) -> set[int]:
    # A passage that comes again and again is one passage.
    passages = dict.fromkeys([folded[start : start + SHINGLE] for start in starts])
    return {_mark(text, scope) for text in (*passages, folded, *lines)}


def marks_asked(scope: int, folded: bytes, lines: Sequence[bytes] = ()) -> set[int]:
    """Return the fingerprints by which `EchoIndex.quoted` looks for texts."""
    folded = folded[:LONGEST_QUERY]
    return _marks_asked(scope, folded, lines, _starts(folded, PER_QUERY))


def _quote(text: Text, folded: bytes, starts: list[int]) -> Quote:
    if text.folded in folded:
        return Quote(text, True, len(text.folded) / len(folded))
    passages = starts[:: max(1, len(starts) // SAMPLES)]
    found = sum(folded[start : start + SHINGLE] in text.folded for start in passages)
    return Quote(text, False, found / len(passages) if passages else 0.0)


def _starts(folded: bytes, most: int) -> list[int]:
    """Return the places where fingerprints start, the first ``most`` of them."""
    classes = folded.translate(_CLASSES)
    last = len(folded) - SHINGLE
    starts: list[int] = []
    place = classes.find(_START)
    while 0 <= place <= last and len(starts) < most:
        starts.append(place)
        place = classes.find(_START, place + 2)
    return starts


def fingerprints(folded: bytes, seed: int, per_end: int = PER_END) -> tuple[int, ...]:
    """Return the fingerprints of a canonical text: some at its start and some at its end.

    They come in the order in which they stand in it.  A text without any (a short one, as a
    rule) has one: that of the whole text.
    """
    classes = folded.translate(_CLASSES)
    end = max(0, len(folded) - SHINGLE + 2)
    starts: set[int] = set()
    place = classes.find(_START, 0, end)
    while place >= 0 and len(starts) < per_end:
        starts.add(place)
        place = classes.find(_START, place + 2, end)
    for _ in range(per_end):
        place = classes.rfind(_START, 0, end)
        if place < 0:
            break
        starts.add(place)
        end = place + 1
    if not starts:
        return (_mark(folded, seed),)
    return tuple(_mark(folded[start : start + SHINGLE], seed) for start in sorted(starts))


def kept_text(
    session: Session, kind: str, folded: bytes, at: float, call: str = "", tools: int = 0
) -> Text:
    """Return a text ready to be noted."""
    folded = folded[:LONGEST]
    marks = fingerprints(folded, session.scope, PER_SUMMARY if kind == SUMMARY else PER_END)
    return Text(session, kind, folded, marks, at, call, tools)
