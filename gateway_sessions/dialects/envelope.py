"""What chat requests have in common around their messages.

The messages are most of a body and are nearly all known from the request before, so nothing
here decodes them: they stay slices of the body.  Everything else is held raw as well and read
only if it is needed, so that a wrong type in a field that we do not need, or need little,
never makes a body unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import astuple, replace

from gateway_sessions.conversation import Conversation, Message
from gateway_sessions.dialects import parsing
from gateway_sessions.errors import UnreadableBody

SESSION_FIELDS = (
    "metadata",
    "session_id",
    "litellm_session_id",
    "langfuse_session_id",
    "tensorzero::episode_id",
    "prompt_cache_key",
    "previous_response_id",
    "conversation",
    "container",
    "thread",
    "diagnostics",
)
"""The body fields that may name a session, as they stand on the wire."""

_ATTRIBUTES = tuple((name, name.replace("::", "_")) for name in SESSION_FIELDS)
"""Each of them with the attribute of `Envelope` that holds it."""

ABSENT = Raw()
"""The value of a field that the body does not have."""


class Envelope(
    msgspec.Struct, gc=False, rename={"tensorzero_episode_id": "tensorzero::episode_id"}
):
    """A request body but for its messages; a dialect adds the field that holds those."""

    model: Raw = ABSENT
    stream: Raw = ABSENT
    tools: Raw = ABSENT
    user: Raw = ABSENT
    safety_identifier: Raw = ABSENT
    metadata: Raw = ABSENT
    session_id: Raw = ABSENT
    litellm_session_id: Raw = ABSENT
    langfuse_session_id: Raw = ABSENT
    tensorzero_episode_id: Raw = ABSENT
    prompt_cache_key: Raw = ABSENT
    previous_response_id: Raw = ABSENT
    conversation: Raw = ABSENT
    container: Raw = ABSENT
    thread: Raw = ABSENT
    diagnostics: Raw = ABSENT


_NAMING = slice(Envelope.__struct_fields__.index("user"), len(Envelope.__struct_fields__))
_NOBODY = (ABSENT,) * (_NAMING.stop - _NAMING.start)
"""The fields that name a user or a session, where none is there: most requests, at the cost of
one comparison."""

EnvelopeType = TypeVar("EnvelopeType", bound=Envelope)


def read_envelope(decoder: msgspec.json.Decoder[EnvelopeType], body: bytes) -> EnvelopeType:
    """Return the envelope of a body; raises `UnreadableBody`."""
    try:
        return decoder.decode(body)
    except parsing.JSON_ERRORS as error:
        raise parsing.unreadable(error) from None


def conversation(
    envelope: Envelope,
    messages: Sequence[Raw],
    read: Callable[[Raw], tuple[Message, ...]],
    system: Raw = ABSENT,
    *,
    model: str | None = None,
    stream: bool | None = None,
    plain: Mapping[str, str] = {},
) -> Conversation:
    """Return the conversation in an envelope; raises `UnreadableBody` if it has no message.

    The end user is the first of ``user``, ``safety_identifier`` and ``metadata.user_id``.
    ``model`` and ``stream`` are given where it is not the body's fields that tell them; for
    ``plain`` see `Conversation`.
    """
    if not messages:
        raise UnreadableBody("The request has no messages.")
    tools = envelope.tools
    unnamed = Conversation(
        messages=messages,
        read=read,
        plain=plain,
        system=b"" if system is ABSENT else _bytes(system),
        tools=b"" if tools is ABSENT else _bytes(tools),
        model=parsing.text(_parsed(envelope.model)) if model is None else model,
        stream=_is(envelope.stream, b"true") if stream is None else stream,
    )
    if astuple(envelope)[_NAMING] == _NOBODY:
        return unnamed
    fields = _fields(envelope)
    end_user = _end_user(envelope, parsing.mapping(fields.get("metadata")))
    return replace(unnamed, fields=fields, end_user=end_user)


def present(raw: Raw) -> bool:
    """Tell whether the body has a field; null counts as missing."""
    return bytes(raw) not in (b"", b"null")


def _fields(envelope: Envelope) -> dict[str, Any]:
    return {
        name: value
        for name, attribute in _ATTRIBUTES
        if (value := _parsed(getattr(envelope, attribute))) is not None
    }


def _end_user(envelope: Envelope, metadata: Any) -> str:
    return (
        _name(_parsed(envelope.user))
        or _name(_parsed(envelope.safety_identifier))
        or _name(metadata.get("user_id"))
    )


def _name(value: Any) -> str:
    """Return a name as text; what is no string (some clients send an object) as its JSON."""
    if type(value) is str:
        return value
    return parsing.canonical(value) if value else ""


def _parsed(raw: Raw) -> Any:
    """Return a field's value, or None where it is missing or nothing can be read from it."""
    if raw is ABSENT:
        return None
    try:
        return parsing.parse(raw)
    except parsing.JSON_ERRORS:
        return None


def _is(raw: Raw, sent: bytes) -> bool:
    """Tell whether a field holds this JSON."""
    return raw is not ABSENT and bytes(raw) == sent


def _bytes(raw: Raw) -> bytes:
    """Return a field's JSON as sent; null counts as missing."""
    sent = bytes(raw)
    return b"" if sent == b"null" else sent
