"""Where a history's instructions end, and where its newest answer begins.

Both are found with as few looks as possible, from the two ends of a request's messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gateway_sessions.conversation import ASSISTANT, SYSTEM, USER, Conversation, Message
from gateway_sessions.detection.bounds import AT_ONCE, PRECISE, SMALL, Budget, parts_of
from gateway_sessions.detection.digests import DigestMemo
from gateway_sessions.detection.plain import (
    opens_as_user,
    read_all,
    read_plain,
    read_plains,
)

Newest = list[tuple[msgspec.Raw, tuple[Message, ...]]]
"""Messages that were read, in wire order, each with what it says."""

ONE_BY_ONE = 32
"""Messages that are read one by one; further ones are read many at once."""


def leading_system(conversation: Conversation, digests: DigestMemo) -> int:
    """Return how many messages at the start are system messages."""
    raws = conversation.messages
    for place, raw in enumerate(raws):
        if opens_as_user(raw):
            return place  # The usual case, at the cost of one look.
        if place == ONE_BY_ONE:
            return _system_from(conversation, place, digests)
        plain = read_plain(conversation, raw)
        role = plain[0] if plain else next(iter(_roles(conversation, [raw], digests)))
        if role != SYSTEM:
            return place
    return 0  # Nothing but instructions: they are what is asked then.


def _system_from(conversation: Conversation, place: int, digests: DigestMemo) -> int:
    """Return the same where there are more than a few."""
    raws = conversation.messages
    for start in range(place, len(raws), AT_ONCE):
        some = raws[start : start + AT_ONCE]
        found = read_plains(conversation, some)
        for role in found[0] if found else _roles(conversation, some, digests):
            if role != SYSTEM:
                return place
            place += 1
    return 0


def _roles(
    conversation: Conversation, raws: Sequence[msgspec.Raw], digests: DigestMemo
) -> Iterable[str]:
    """Yield the role with which each of some messages begins; "" where it says nothing."""
    for raw in raws:
        found = digests.of(conversation, raw)
        yield found[0].role if found else ""


def newest_read(
    conversation: Conversation, start: int, digests: DigestMemo
) -> tuple[Newest, int, int, Budget]:
    """Read backwards to the start of the newest answer, or as far as anybody reads.

    Return what was read in wire order, the place where it starts, that where the answer ends, and
    what may still be read.
    """
    raws, read = conversation.messages, conversation.read
    found: Newest = []
    ahead: list[tuple[Message, ...]] = []
    place = len(raws)
    answer_end, size, budget = start, 0, Budget()
    while place > start and len(found) < PRECISE and (ahead or budget.is_left):
        raw = raws[place - 1]
        if not ahead and len(found) >= ONE_BY_ONE:
            ahead = _read_ahead(conversation, raws[max(start, place - AT_ONCE) : place], budget)
            if not ahead:
                break
        messages = ahead.pop() if ahead else None
        if answer_end > start and _asks(conversation, raw, messages, digests):
            break
        if messages is None:
            if size > SMALL and not budget.compose([raw]):
                break
            messages = read(raw)
            size += len(raw)
            if size > SMALL:
                budget.read(parts_of(messages))
        if answer_end == start and messages and messages[-1].role == ASSISTANT:
            answer_end = place
        found.append((raw, messages))
        place -= 1
    found.reverse()
    return found, place, answer_end, budget


def _read_ahead(
    conversation: Conversation, raws: Sequence[msgspec.Raw], budget: Budget
) -> list[tuple[Message, ...]]:
    """Return what each of some messages says; nothing if that takes too long."""
    if not budget.compose(raws):
        return []
    ahead, plain = read_all(conversation, raws)
    budget.read(len(raws) if plain else sum(map(parts_of, ahead)))
    return ahead


def _asks(
    conversation: Conversation,
    raw: msgspec.Raw,
    messages: Sequence[Message] | None,
    digests: DigestMemo,
) -> bool:
    """Whether a message before an answer, perhaps read already, is the user side's."""
    if opens_as_user(raw):
        return True
    said = digests.of(conversation, raw) if messages is None else messages
    return bool(said) and said[-1].role == USER
