"""Which tool call a sub-agent works for, told by what it was asked and by what it answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gateway_sessions.analysis.facts import Call

EQUAL = 0.95
"""Confidence where the task is the call's argument, word for word."""
LEAST, MOST = 0.6, 0.9
"""Confidence where one contains the other, by how much of the longer one that is."""
SHORTEST = 12
"""Characters of an argument below which containing it says nothing: a file name, a yes."""
LONGEST = 65_536
"""Characters of a text that are compared."""
DEEPEST = 4
"""Levels of an argument in which strings are looked for."""

_SPACE = re.compile(r"\s+")


class Match(msgspec.Struct, frozen=True, gc=False):
    """A call that may have started a sub-agent."""

    call_id: str
    name: str
    confidence: float


def matches(task: str, pending: Sequence[tuple[str, Call]]) -> list[Match]:
    """Return the pending calls that fit a sub-agent's first user text, all equally well.

    Args:
        task: the text.
        pending: calls without a result, each with the id that it is recorded under.
    """
    folded = _folded(task)
    if not folded:
        return []
    found: list[Match] = []
    for call_id, call in pending:
        confidence = max(
            (_likeness(folded, _folded(text)) for text in _strings(call.arguments)), default=0.0
        )
        if confidence:
            found.append(Match(call_id, call.name, confidence))
    best = max((match.confidence for match in found), default=0.0)
    return [match for match in found if match.confidence == best]


def confirms(result: str, last_words: str) -> bool:
    """Tell whether a tool's result holds what a sub-agent said last."""
    said = _folded(last_words)
    return len(said) >= 1 and said in _folded(result)


def _folded(text: str) -> str:
    return _SPACE.sub(" ", text[:LONGEST]).strip()


def _likeness(task: str, argument: str) -> float:
    if argument == task:
        return EQUAL
    shorter, longer = sorted((task, argument), key=len)
    if len(shorter) < SHORTEST or shorter not in longer:
        return 0.0
    return round(LEAST + (MOST - LEAST) * len(shorter) / len(longer), 3)


def _strings(arguments: bytes) -> Iterator[str]:
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    yield from _inner(value, DEEPEST)


def _inner(value: Any, levels: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif levels and isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _inner(item, levels - 1)
