"""How much is read of a history that nobody has seen before.

Some messages take far more work than others: such with many parts, and texts in which letters and
their marks stand apart, which have to be composed.  So what is read is bounded by that work, from
the newest message.  What it takes is a matter of the messages alone, never of what is remembered,
and the bound moves by whole pieces of a history, whose places are counted from its beginning: so
the same history is always cut at the same place, and mostly so when it has grown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import msgspec

from gateway_sessions.conversation import Message, Text
from gateway_sessions.detection.canonical import Digested

PRECISE = 2048
"""Messages of an unknown history, from the newest, that are read, if they are plain texts: three
milliseconds' work.  What is older counts as sent, byte for byte.  No real history comes to us
for the first time with so many; if one does, and is then written otherwise, it is still known by
its replies."""
PRECISE_STEP = 256
"""Messages by which that bound is moved at a time."""
PART = 3
"""Plain messages that take as long to read as one tool call, tool result or image."""
COMPOSED = 1 << 15
"""Characters of texts that are composed: as many as of the longest text that is."""
SMALL = 1 << 16
"""Bytes of messages that are read whatever they hold."""
AT_ONCE = 128
"""Messages that are read together: one of another shape among them spoils that many."""
LINK = 16
"""Bytes of links that a part has."""
_PIECE = 1 << 14
"""Bytes from which fewer messages than that are a piece."""
_SLICE = 128
"""Characters that are composed for a look, few enough for any order of marks."""

_parse = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode


class Budget:
    """What may still be read of one history, used up from its newest messages."""

    def __init__(self) -> None:
        """Start with all of it."""
        self._parts = PRECISE + PRECISE_STEP
        self._composed = COMPOSED

    @property
    def is_left(self) -> bool:
        """Whether anything more may be read."""
        return self._parts > 0 and self._composed >= 0

    def compose(self, raws: Sequence[msgspec.Raw]) -> bool:
        """Pay for composing the texts of some messages; return whether they may be read."""
        sent = b",".join(raws)
        if self.is_left and not (sent.isascii() and b"\\u" not in sent):
            self._composed -= sum(map(composing, raws))
        return self.is_left

    def read(self, parts: int) -> None:
        """Pay for messages that have been read, as `plain_parts` counts them."""
        self._parts -= parts


def composing(raw: msgspec.Raw) -> int:
    """Return the characters of a raw message if composing its texts takes work, else 0.

    Nearly all texts are composed already, which is seen at a glance.
    """
    sent, escaped = bytes(raw), 0
    if b"\\u" in sent:
        try:
            sent = _write(_parse(sent))
        except (RecursionError, ValueError):
            return len(sent)
        escaped = sent.count(b"\\u")  # In arguments of tool calls, which are JSON inside of JSON.
    if sent.isascii():
        return escaped
    text = sent.decode("utf-8", "replace")
    for start in range(0, len(text), _SLICE):
        some = text[start : start + _SLICE]
        if unicodedata.normalize("NFC", some) is not some:
            return len(text)
    return escaped


def plain_parts(digests: Sequence[Digested]) -> int:
    """Return how many plain messages would have taken as long to read as some messages did."""
    return sum(
        [max(1, PART * (len(d.links) // LINK) - (PART - 1) * d.opens_with_text) for d in digests]
    )


def parts_of(messages: Sequence[Message]) -> int:
    """Return about the same for what one raw message says, which may be read but not digested."""
    others = sum([type(part) is not Text for message in messages for part in message.parts])
    return max(1, PART * others)


def is_large(raws: Sequence[msgspec.Raw]) -> bool:
    """Whether messages are more than may be read without looking at what they hold."""
    return len(b"".join(raws)) > SMALL


def apart(
    raws: Sequence[msgspec.Raw], most: int
) -> tuple[Sequence[msgspec.Raw], Sequence[msgspec.Raw]]:
    """Return the oldest messages, which are too many to be read, and the others.

    The place of the cut stays the same while a history grows by up to `PRECISE_STEP` messages.
    """
    steps = max(0, len(raws) - max(0, most)) // PRECISE_STEP
    return raws[: steps * PRECISE_STEP], raws[steps * PRECISE_STEP :]


def pieces(raws: Sequence[msgspec.Raw]) -> Iterator[tuple[int, int]]:
    """Yield the ends of pieces that are read together, newest first.

    No piece has more than `AT_ONCE` messages, or goes on where it has 16 KB.  Seen from the oldest
    message they are the same however many follow.
    """
    for start in range((len(raws) - 1) // AT_ONCE * AT_ONCE, -1, -AT_ONCE):
        some = raws[start : start + AT_ONCE]
        if len(b"".join(some)) < _PIECE:
            yield start, start + len(some)  # The usual case.
            continue
        sizes = accumulate([len(raw) for raw in some])
        filled = [size // _PIECE for size in sizes]
        ends = [place for place, (a, b) in enumerate(pairwise(filled), 1) if a != b]
        places = [start, *[start + end for end in ends], start + len(some)]
        yield from reversed(list(pairwise(places)))
