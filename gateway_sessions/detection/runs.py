"""From messages to runs: what one side says until the other does.

`runs_of` puts digested messages together.  `LongHistory` does the same for thousands of messages
that nobody has seen before: most of them consist of a role and a text, and those it reads and
brings into canonical form many at a time, which costs a fifth.  Both give the same runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import msgspec
from xxhash import xxh3_128_digest

from gateway_sessions.conversation import ASSISTANT, SYSTEM, Conversation, Message, Text
from gateway_sessions.detection.bounds import plain_parts
from gateway_sessions.detection.canonical import (
    TEXT,
    Digested,
    digest_messages,
    digest_parts,
    fold_texts,
    join_messages,
)
from gateway_sessions.detection.plain import read_plains

Item = tuple[Digested, Message | tuple[msgspec.Raw, int]]
"""A message's digest, and the message; or what it can be read from again, and the number of the
message in it (nearly always 0)."""

Said = tuple[bool, bytes, int, tuple[str, ...]]
"""A run: whether it is the model's, its links, its bytes of canonical text, its call ids."""


def runs_of(conversation: Conversation, items: Sequence[Item], *, instructions: bool) -> list[Said]:
    """Return the runs of some messages.

    With ``instructions``, messages that hold nothing but instructions are one run: then these
    are what is asked.
    """
    said = [item for item in items if item[0].links and item[0].role != SYSTEM]
    if not said and instructions:
        said = [item for item in items if item[0].links]
    runs: list[Said] = []
    place, end = 0, len(said)
    while place < end:
        digested = said[place][0]
        model_side = digested.role == ASSISTANT
        following = place + 1
        while following < end and (said[following][0].role == ASSISTANT) is model_side:
            following += 1
        if following - place > 1:
            digested = _joined(conversation, said[place:following])
        runs.append((model_side, digested.links, digested.weight, digested.call_ids))
        place = following
    return runs


def _joined(conversation: Conversation, said: Sequence[Item]) -> Digested:
    """Return what several messages of one side say together."""
    if any(a[0].ends_with_text and b[0].opens_with_text for a, b in pairwise(said)):
        # Texts that meet are one text; their bytes are needed again for its digest.
        return join_messages([_message(conversation, item) for item in said])
    first, last = said[0][0], said[-1][0]
    return Digested(
        first.role,
        b"".join([digested.links for digested, _ in said]),
        sum(digested.weight for digested, _ in said),
        tuple(call_id for digested, _ in said for call_id in digested.call_ids),
        first.opens_with_text,
        last.ends_with_text,
    )


def _message(conversation: Conversation, item: Item) -> Message:
    source = item[1]
    return source if isinstance(source, Message) else conversation.read(source[0])[source[1]]


_Piece = tuple[Sequence[bool], Sequence[bytes], Sequence[str | Item]]
"""Sides, canonical texts, and what to read the messages from again."""


class LongHistory:
    """Messages in parallel lists, which are given from the newest to the oldest."""

    def __init__(self, conversation: Conversation) -> None:
        """Collect messages of a conversation."""
        self._conversation = conversation
        self._pieces: list[_Piece] = []
        """Newest first."""

    def read(self, raws: Sequence[msgspec.Raw]) -> int:
        """Put raw messages before all others; return the work, as `plain_parts` counts it.

        Raises:
            UnreadableBody: one is not what the dialect says.
        """
        found = read_plains(self._conversation, raws)
        if found is None:
            messages = [message for raw in raws for message in self._conversation.read(raw)]
            return self.put(list(zip(digest_messages(messages), messages, strict=True)))
        roles, texts = found[0], ["".join(said) for said in found[1]]
        folded = fold_texts(texts)
        if SYSTEM in roles or not all(folded):
            kept = [n for n, text in enumerate(folded) if text and roles[n] != SYSTEM]
            roles = [roles[n] for n in kept]
            texts = [texts[n] for n in kept]
            folded = [folded[n] for n in kept]
        self._pieces.append(([role == ASSISTANT for role in roles], folded, texts))
        return len(raws)

    def put(self, items: Sequence[Item]) -> int:
        """Put digested messages before all others; return the work, as `plain_parts` counts it."""
        said = [item for item in items if item[0].links and item[0].role != SYSTEM]
        sides = [item[0].role == ASSISTANT for item in said]
        self._pieces.append((sides, [b""] * len(said), said))
        return plain_parts([digested for digested, _ in items])

    def runs(self) -> Iterator[Said]:
        """Yield the runs; none if there are only instructions."""
        pieces = self._pieces[::-1]
        sides = list(chain.from_iterable([piece[0] for piece in pieces]))
        if not sides:
            return
        texts = list(chain.from_iterable([piece[1] for piece in pieces]))
        source = list(chain.from_iterable([piece[2] for piece in pieces]))
        changes = [place for place, (a, b) in enumerate(pairwise(sides), 1) if a is not b]
        for start, end in pairwise([0, *changes, len(sides)]):
            folded = texts[start]
            if end - start > 1:
                yield sides[start], *self._together(source[start:end])
            elif folded:
                yield sides[start], xxh3_128_digest(TEXT + folded), len(folded), ()
            elif not isinstance(item := source[start], str):
                yield sides[start], item[0].links, item[0].weight, item[0].call_ids

    def _together(self, source: list[str | Item]) -> tuple[bytes, int, tuple[str, ...]]:
        """Return links, weight and call ids of several messages of one side."""
        texts = [said for said in source if isinstance(said, str)]
        if len(texts) == len(source):
            digested = digest_parts("", (Text("".join(texts)),))
        else:
            digested = join_messages([self._message(said) for said in source])
        return digested.links, digested.weight, digested.call_ids

    def _message(self, said: str | Item) -> Message:
        if isinstance(said, str):
            return Message("", (Text(said),))
        return _message(self._conversation, said)
