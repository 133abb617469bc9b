"""Whose application a request is: its instructions and tools, whatever the dialect.

A client may change to another dialect on the way, and a gateway before us may write a request anew.
So what counts of instructions is their text, and of tools what each is called and said to do; how
they are wrapped does not.  Both are long and nearly always known by their bytes, so that reading
them costs a look at a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from xxhash import xxh3_64, xxh3_64_intdigest

from gateway_sessions.conversation import Conversation, Text
from gateway_sessions.detection.canonical import text_key
from gateway_sessions.detection.plain import read_plain

AGENTS_KEPT = 4096
"""Instructions and tools that are known by their bytes, some 100 bytes each; where more come, all
are read anew."""
LONGEST = 128 * 1024
"""Bytes of JSON up to which either is read; longer ones count as they were sent."""

MOST_MESSAGES = 32
"""System messages up to which they are read."""

_TOOLS = 0x7F
"""The seed for tools."""
_NOTHING = text_key("", 0)
"""The digest of no instructions and no tools."""
_DEEPEST = 6
"""Levels of JSON above a text or the name of a tool; the deepest dialect has five."""

_decode = msgspec.json.Decoder().decode


class AgentMemo:
    """Digests of instructions and tools, read where they are not known; safe on several threads."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._known: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._known)

    def of(self, conversation: Conversation, start: int) -> int:
        """Return the digest of a request's instructions and tools.

        Args:
            conversation: the request.
            start: how many system messages come first.
        """
        if not start and not conversation.system and not conversation.tools:
            return _NOTHING  # As in many chats.
        key = _as_sent(conversation, start)
        known = self._known.get(key)
        if known is None:
            known = self._read(conversation, start, key)
            self._keep(key, known)
        return known

    def _keep(self, key: int, known: int) -> None:
        if len(self._known) >= AGENTS_KEPT:
            self._known = {}
        self._known[key] = known

    def _read(self, conversation: Conversation, start: int, key: int) -> int:
        """Return the digest of what is read; ``key`` where instructions can not be."""
        said = ""
        if start or conversation.system:
            said = _said(conversation, start)
            if not said:
                return key
        return text_key(said, self.tools(conversation.tools))

    def tools(self, raw: bytes) -> int:
        """Return the digest of tools, as they were sent; 0 where there are none.

        They mostly stay as they are where instructions change.
        """
        if not raw:
            return 0
        key = xxh3_64_intdigest(raw, _TOOLS)
        known = self._known.get(key)
        if known is None:
            declared = "\0".join(_declared(_value(raw), _DEEPEST))
            known = text_key(declared, _TOOLS) if declared else key
            self._keep(key, known)
        return known


def _as_sent(conversation: Conversation, start: int) -> int:
    """Return the digest of the very bytes of instructions and tools."""
    if start == 1 and not conversation.system and not conversation.tools:
        return xxh3_64_intdigest(conversation.messages[0])
    hasher = xxh3_64(conversation.system)
    for place in range(start):
        hasher.update(conversation.messages[place])
    hasher.update(conversation.tools)
    return hasher.intdigest()


def _said(conversation: Conversation, start: int) -> str:
    """Return the text of instructions; "" where there is none to be found, or too much."""
    system, leading = conversation.system, conversation.messages[:start]
    if start > MOST_MESSAGES or sum(map(len, leading)) > LONGEST:
        return ""
    texts = list(_texts(_value(system), _DEEPEST)) if system else []
    for raw in leading:
        plain = read_plain(conversation, raw)
        if plain is not None:
            texts += plain[1]
            continue
        for message in conversation.read(raw):
            texts += [part.text for part in message.parts if type(part) is Text]
    return "".join(texts).strip()


def _value(raw: bytes) -> Any:
    """Return a JSON value; None where it is too long to be read, or broken."""
    if len(raw) > LONGEST:
        return None
    try:
        return _decode(raw)
    except (ValueError, RecursionError):
        return None


def _texts(value: Any, levels: int) -> Iterator[str]:
    """Yield the texts of a system prompt: a string, blocks, or parts of a message."""
    if type(value) is str:
        yield value
    elif type(value) is list and levels:
        for each in value:
            yield from _texts(each, levels - 1)
    elif type(value) is dict and levels:
        for key in ("text", "parts", "content"):
            yield from _texts(value.get(key), levels - 1)


def _declared(value: Any, levels: int) -> Iterator[str]:
    """Yield what each tool is called and said to do: in every dialect, what has a name is a tool.

    One that the provider brings along may have nothing but a type.
    """
    if type(value) is list and levels:
        for each in value:
            yield from _declared(each, levels - 1)
    elif type(value) is dict and levels:
        name = value.get("name")
        if type(name) is str:
            said = value.get("description")
            yield name
            yield said if type(said) is str else ""
            return
        within = [each for each in value.values() if type(each) in (dict, list)]
        if not within and type(kind := value.get("type")) is str:
            yield kind
        for each in within:
            yield from _declared(each, levels - 1)
