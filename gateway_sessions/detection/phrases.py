"""Reset phrases: what people say to start over."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BESIDE = 64
"""Characters that a message may have more than the longest phrase, as punctuation among it."""

_START = 3
"""Letters at the start of a message that rule a phrase out nearly always."""

_TEXTS = 64
"""Texts of one message, from either end, that are looked at: messages have a handful."""

_NOT_WORDS = re.compile(r"[\W_]+")
_NOT_SPACE = re.compile(r"\S")


class ResetPhrases:
    """Recognises messages that begin with one of some phrases, whole words only."""

    def __init__(self, phrases: Sequence[str]) -> None:
        """Compare without regard to case, punctuation and white space."""
        self._phrases = tuple(sorted({said for said in map(_words, phrases) if said.strip()}))
        self._start = min([_START, *map(len, self._phrases)])
        self._starts = frozenset(phrase[: self._start] for phrase in self._phrases)
        self._looked_at = 2 * max(map(len, self._phrases), default=0) + _BESIDE

    def begins(self, texts: Sequence[str]) -> str | None:
        """Return the phrase (normalised) that any of some texts begins with, or None."""
        for text in ends(texts):
            phrase = self.match(text)
            if phrase is not None:
                return phrase
        return None

    def match(self, text: str) -> str | None:
        """Return the phrase (normalised) that a message begins with, or None."""
        start = text[: self._start].casefold()[: self._start]
        if start not in self._starts and _is_as_compared(start, self._start):
            return None  # The usual case, at the cost of one look.
        first = _NOT_SPACE.search(text)
        if first is None:
            return None
        said = _words(text[first.start() : first.start() + self._looked_at])
        return next((p.strip() for p in self._phrases if said.startswith(p)), None)


def _is_as_compared(start: str, length: int) -> bool:
    """Whether the start of a text is that of its words as well: letters, with a blank at most."""
    return len(start) == length and start[0] != " " and start.replace(" ", "a", 1).isalnum()


def ends(texts: Sequence[str]) -> Sequence[str]:
    """Return some texts, of very many the first and the last: what a user types is among them."""
    return texts if len(texts) <= 2 * _TEXTS else [*texts[:_TEXTS], *texts[-_TEXTS:]]


def _words(text: str) -> str:
    """Return words in lower case, each followed by one blank."""
    return _NOT_WORDS.sub(" ", text.casefold()).strip() + " "
