"""From messages to runs: what one side says until the other does.

`runs_of` puts digested messages together.  `LongHistory` does the same for thousands of messages
that nobody has seen before: most of them consist of a role and a text, and those it reads and
brings into canonical form many at a time, which costs a fifth.  Both give the same runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
from xxhash import xxh3_128_digest

from gateway_sessions.conversation import ASSISTANT, SYSTEM, Conversation, Message, Text
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

AT_ONCE = 128
"""Messages that are read together: one of another shape among them spoils that many."""


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


class LongHistory:
    """Messages in parallel lists: sides, canonical texts, and what to read them from again."""

    def __init__(self, conversation: Conversation) -> None:
        """Collect messages of a conversation."""
        self._conversation = conversation
        self._model_side: list[bool] = []
        self._folded: list[bytes] = []
        self._source: list[str | Item] = []

    def read(self, raws: Sequence[msgspec.Raw]) -> None:
        """Append raw messages.

        Raises:
            UnreadableBody: one is not what the dialect says.
        """
        for start in range(0, len(raws), AT_ONCE):
            some = raws[start : start + AT_ONCE]
            found = read_plains(self._conversation, some)
            if found is None:
                messages = [message for raw in some for message in self._conversation.read(raw)]
                self.add(list(zip(digest_messages(messages), messages, strict=True)))
                continue
            roles, texts = found[0], ["".join(said) for said in found[1]]
            folded = fold_texts(texts)
            if SYSTEM in roles or not all(folded):
                kept = [n for n, text in enumerate(folded) if text and roles[n] != SYSTEM]
                roles = [roles[n] for n in kept]
                texts = [texts[n] for n in kept]
                folded = [folded[n] for n in kept]
            self._model_side += [role == ASSISTANT for role in roles]
            self._folded += folded
            self._source += texts

    def add(self, items: Sequence[Item]) -> None:
        """Append digested messages."""
        for item in items:
            if item[0].links and item[0].role != SYSTEM:
                self._model_side.append(item[0].role == ASSISTANT)
                self._folded.append(b"")
                self._source.append(item)

    def runs(self) -> Iterator[Said]:
        """Yield the runs; none if there are only instructions."""
        sides, source = self._model_side, self._source
        if not sides:
            return
        changes = [place for place, (a, b) in enumerate(pairwise(sides), 1) if a is not b]
        for start, end in pairwise([0, *changes, len(sides)]):
            folded = self._folded[start]
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
