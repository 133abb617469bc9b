"""Long bodies that go on where one before them ended.

A client sends its whole history again with every turn, so that most of a long body has been
there before, byte for byte, and to read it is most of what the body costs.  What a `Reader`
remembers of a body is a hash of its bytes up to the end of its last message, and where messages
stand in them.  Of a body that begins with the same bytes only the rest is read.

That is no guess: JSON is read from left to right, so after the same bytes a reader is in the same
place, here within ``messages`` and behind a known number of them.  Whatever does not look like
that at once is read from its beginning: another order of fields, blanks between messages, a second
list of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import getrandbits
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Raw
from xxhash import xxh3_64

from gateway_sessions.conversation import Continued
from gateway_sessions.dialects import parsing

LONG = 32 * 1024
"""Bytes of a body from which it pays to remember it: shorter ones are read as fast."""
KEPT = 8192
"""Bodies remembered by each reader, at about 300 bytes each: conversations that are long and in
use at the same time."""
_NEWEST = 64 * 1024
"""Bytes from the end of a body in which the newest answer is looked for."""

_ANSWER = b',{"role":"assistant",'
"""How the newest answer begins, as all SDKs write it."""
_MESSAGES = b'"messages":['

_SEED = getrandbits(64)
"""Of this process: nobody can write two bodies of which one is taken for the other."""


class Request(Protocol):
    """A request body with a list of messages."""

    messages: list[Raw]


class _Known(NamedTuple):
    """Where messages stand in the beginning of a body."""

    messages: int
    starts: tuple[int, ...]
    """Where the first messages begin, and what comes after them; see `Continued`."""
    last: int
    """Where the last one begins."""


R = TypeVar("R", bound=Request)


class Reader(Generic[R]):
    """Reads the bodies of one dialect.  Safe on any thread."""

    def __init__(self, kind: type[R], long: int = LONG) -> None:
        """Read bodies as structs of a ``kind``; remember those of ``long`` bytes and more."""
        self._long = long
        self._decode = msgspec.json.Decoder(kind).decode
        # Two generations, so that to forget what nobody uses costs nothing per use.
        self._young: dict[int, _Known] = {}
        self._old: dict[int, _Known] = {}

    def read(self, body: bytes) -> tuple[R, Sequence[Raw]]:
        """Return what is around the messages, and these; raises `UnreadableBody`."""
        if len(body) >= self._long:
            found = self._continued(body)
            if found is not None:
                return found
        try:
            request = self._decode(body)
        except parsing.JSON_ERRORS as error:
            raise parsing.unreadable(error) from None
        if len(body) >= self._long:
            self._learn(body, request.messages)
        return request, request.messages

    def _continued(self, body: bytes) -> tuple[R, Sequence[Raw]] | None:
        """Return a body of which the beginning is known; None for any other."""
        cut = body.rfind(_ANSWER, -_NEWEST)
        if cut < 0:
            return None
        hasher = xxh3_64(memoryview(body)[:cut], _SEED)
        key = hasher.intdigest()
        known = self._young.get(key) or self._old.get(key)
        if known is None:
            return None
        try:
            request = self._decode(body[: known.starts[0]] + body[cut + 1 :])
        except parsing.JSON_ERRORS:
            return None  # Read in full it says the place of the fault.
        newest = request.messages
        sent = b",".join(newest)
        end = cut + 1 + len(sent)
        if not body.startswith(sent, cut + 1) or _may_replace(body[end:]):
            return None
        last = end - len(memoryview(newest[-1]))
        starts = _starts(known.starts, newest)
        hasher.update(memoryview(body)[cut:end])
        self._keep(hasher.intdigest(), _Known(known.messages + len(newest), starts, last))
        whole = partial(self._messages, body)
        return request, Continued(
            body, known.messages, known.starts, known.last, cut, newest, whole
        )

    def _messages(self, body: bytes) -> list[Raw]:
        return self._decode(body).messages

    def _learn(self, body: bytes, messages: list[Raw]) -> None:
        """Remember a body that was read in full."""
        place = body.find(_MESSAGES) + len(_MESSAGES)
        sent = b",".join(messages)
        if not messages or not body.startswith(sent, place):
            return
        try:
            # This tells that the list which begins there is the body's own.
            if self._decode(body[:place] + b"]}").messages:
                return
        except parsing.JSON_ERRORS:
            return
        end = place + len(sent)
        last = end - len(memoryview(messages[-1]))
        starts = _starts((place,), messages)
        key = xxh3_64(memoryview(body)[:end], _SEED).intdigest()
        self._keep(key, _Known(len(messages), starts, last))

    def _keep(self, key: int, known: _Known) -> None:
        if len(self._young) >= KEPT // 2:
            self._old, self._young = self._young, {}
        self._young[key] = known


def _may_replace(rest: bytes) -> bool:
    """Whether what follows on messages may hold another list of them, which would count instead.

    A key that is written with escapes may be any.
    """
    return rest[:1] != b"]" or b'messages"' in rest or b"\\u" in rest


def _starts(starts: tuple[int, ...], messages: Sequence[Raw]) -> tuple[int, ...]:
    """Return where the first messages begin, given the place of the next one at the end."""
    for raw in messages[: Continued.SHOWN + 1 - len(starts)]:
        starts = (*starts, starts[-1] + len(memoryview(raw)) + 1)
    return starts
