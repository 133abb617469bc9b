"""A memory of digests by the raw bytes of a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec
from xxhash import xxh3_64_intdigest

from gateway_sessions.conversation import Conversation, Message
from gateway_sessions.detection.canonical import Digested, digest_parts
from gateway_sessions.detection.runs import Item

DIGESTS_KEPT = 8192
"""Messages whose digest is remembered, at about 200 bytes each.  It serves clients that
re-serialise their history; the others are served by the states."""


class DigestMemo:
    """Digests of messages, read where they are not remembered.

    There are two generations: what was not used since the last change is forgotten at once,
    which costs nothing per use, unlike an order of use.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._young: dict[int, tuple[Digested, ...]] = {}
        self._old: dict[int, tuple[Digested, ...]] = {}

    def of(self, conversation: Conversation, raw: msgspec.Raw) -> tuple[Digested, ...]:
        """Return the digests of one raw message (several, if it holds several).

        Raises:
            UnreadableBody: it is not what the dialect says.
        """
        key = xxh3_64_intdigest(raw, reader(conversation.read))
        known = self._young.get(key) or self._old.get(key)
        if known is None:
            known = tuple(digest_parts(m.role, m.parts) for m in conversation.read(raw))
        self._keep(key, known)
        return known

    def put(
        self, conversation: Conversation, raw: msgspec.Raw, digests: tuple[Digested, ...]
    ) -> None:
        """Remember the digests of a raw message that was read elsewhere."""
        self._keep(xxh3_64_intdigest(raw, reader(conversation.read)), digests)

    def _keep(self, key: int, digests: tuple[Digested, ...]) -> None:
        if len(self._young) >= DIGESTS_KEPT // 2:
            self._old, self._young = self._young, {}
        self._young[key] = digests

    def items(self, conversation: Conversation, raws: Sequence[msgspec.Raw]) -> list[Item]:
        """Return the digests of raw messages, as far as possible without reading them."""
        return [
            (digested, (raw, place))
            for raw in raws
            for place, digested in enumerate(self.of(conversation, raw))
        ]


@lru_cache(256)
def reader(read: Callable[[msgspec.Raw], tuple[Message, ...]]) -> int:
    """Return a number for a dialect's way of reading: the same bytes may mean different things."""
    return xxh3_64_intdigest(f"{read.__module__}.{read.__qualname__}".encode())
