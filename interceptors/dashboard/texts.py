"""Texts for pages: cut to a size, or beside what they were before."""

from __future__ import annotations

import difflib
import re
from html import escape
from typing import Literal, overload

import msgspec

WORDS = 400
"""Words of a text that are compared."""


class Piece(msgspec.Struct, frozen=True):
    """A part of a text that changed: ``same``, ``gone`` or ``new``."""

    kind: Literal["same", "gone", "new"]
    text: str


@overload
def clipped(text: str, size: int) -> str: ...


@overload
def clipped(text: None, size: int) -> None: ...


@overload
def clipped(text: str | None, size: int) -> str | None: ...


def clipped(text: str | None, size: int) -> str | None:
    """Return the beginning of a text that takes at most ``size`` bytes as HTML."""
    if text is None:
        return None
    found = text[:size]
    while (taken := len(escape(found).encode("utf-8", "replace"))) > size:
        found = found[: len(found) * size // taken]
    return found


def changes(before: str, after: str) -> tuple[Piece, ...]:
    """Return a text word by word beside what it was; empty if nothing changed.

    >>> [(piece.kind, piece.text) for piece in changes("be quick", "be brief")]
    [('same', 'be '), ('gone', 'quick'), ('new', 'brief')]
    """
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text)[:WORDS] for text in (before, after))
    if old == new:
        return ()
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, low, high, first, last in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", "".join(new[first:last])))
            continue
        if gone := "".join(old[low:high]):
            pieces.append(Piece("gone", gone))
        if added := "".join(new[first:last]):
            pieces.append(Piece("new", added))
    return tuple(pieces)
