"""Messages that say nothing but text, read without their dialect.

Nearly all messages are ``{"role": …, "content": "text"}``, or have a list of text blocks in the
place of the text, and mean the same in every dialect that has them (`Conversation.plain`).  Read
into values that are known beforehand they cost a third of what a dialect's own reader takes, which
has to be ready for everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway_sessions.conversation import Conversation, Message, Text

_OPENS_AS_USER = (b'{"role":"user",', b'{"role": "user"')
_ROLE_SHOWN = 15
"""How a first message begins that is none of the system's, in the two usual ways of writing
JSON; anything else is looked at more closely."""


class _TextBlock(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str
    cache_control: msgspec.Raw = msgspec.Raw()
    """Says nothing about the meaning; clients move it about."""


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str
    content: str | list[_TextBlock]


_read_one = msgspec.json.Decoder(_Plain).decode
_read_many = msgspec.json.Decoder(list[_Plain]).decode


def opens_as_user(raw: msgspec.Raw) -> bool:
    """Whether a message is the user's, at the cost of one look; False where that can not tell."""
    return memoryview(raw)[:_ROLE_SHOWN] in _OPENS_AS_USER


def read_plain(conversation: Conversation, raw: msgspec.Raw) -> tuple[str, list[str]] | None:
    """Return role and texts of a message that has nothing else; None if it has.

    Empty texts are left out, as by every dialect.
    """
    try:
        found = _read_one(raw)
        content = found.content
        texts = [content] if type(content) is str and content else _texts(content)
        return conversation.plain[found.role], texts
    except (KeyError, RecursionError, ValueError):
        return None  # Whoever reads it in full finds out why.


def read_plains(
    conversation: Conversation, raws: Sequence[msgspec.Raw]
) -> tuple[list[str], list[list[str]]] | None:
    """Return roles and texts of messages that have nothing else; None if one of them has."""
    if not conversation.plain:
        return None
    try:
        found = _read_many(b"[%b]" % b",".join(raws))
        return [conversation.plain[m.role] for m in found], [_texts(m.content) for m in found]
    except (KeyError, RecursionError, ValueError):
        return None


def plain_message(role: str, texts: Sequence[str]) -> Message:
    """Return the message of a role that says some texts."""
    if len(texts) == 1:  # The usual case.
        return Message(role, (Text(texts[0]),))
    return Message(role, tuple([Text(text) for text in texts]))


def read_all(
    conversation: Conversation, raws: Sequence[msgspec.Raw]
) -> tuple[list[tuple[Message, ...]], bool]:
    """Return what each of some raw messages says, and whether all of them say nothing but text.

    Raises:
        UnreadableBody: one is not what the dialect says.
    """
    found = read_plains(conversation, raws)
    if found is None:
        return [conversation.read(raw) for raw in raws], False
    return [(plain_message(role, texts),) for role, texts in zip(*found, strict=True)], True


def _texts(content: str | list[_TextBlock]) -> list[str]:
    if isinstance(content, str):
        return [content] if content else []
    return [block.text for block in content if block.text]
