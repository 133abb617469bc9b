"""Taking personal data out of recorded events, before any writer sees them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway_sessions.events import StreamEvent
from gateway_sessions.personal_data import Personal

_NAMES = frozenset(
    {
        "error_type",
        "external_id",
        "finish_reason",
        "listener",
        "message_id",
        "model",
        "model_requested",
        "model_used",
        "parent_id",
        "parent_session_id",
        "previous_session_id",
        "provider",
        "reason",
        "relation",
        "request_id",
        "root_session_id",
        "session_id",
        "source",
        "timestamp",
        "tool_call_id",
        "tool_name",
    }
)
"""Fields that name things and are what records are found by: they stay, whatever they look like."""

_TREES = frozenset({"loop", "tree"})
_SAID_IN_TREES = frozenset({"compaction_block", "content", "metadata", "rejection"})
"""The fields of loops that hold what somebody said; nearly all others are names and ids."""

S_ = TypeVar("S_", bound=msgspec.Struct)


def cleaned(struct: S_, personal: Personal) -> S_:
    """Return an event, or a part of one, without personal data; itself if it holds none."""
    if isinstance(struct, StreamEvent):
        # Words come in pieces, in which nothing can be found; the whole is in the response.
        return msgspec.structs.replace(struct, data=None)
    changes = {}
    for name in struct.__struct_fields__:
        if name in _NAMES:
            continue
        value = getattr(struct, name)
        clean = _clean_tree(value, personal) if name in _TREES else _clean(value, personal)
        if clean is not value:
            changes[name] = clean
    return msgspec.structs.replace(struct, **changes) if changes else struct


def _clean(value: Any, personal: Personal) -> Any:
    """Return a field's value cleaned; the very same object if there was nothing to clean."""
    clean: Any
    if isinstance(value, msgspec.Struct):
        return cleaned(value, personal)
    if isinstance(value, msgspec.Raw):
        raw = bytes(value)
        clean = personal.json(raw)
        return value if clean == raw else msgspec.Raw(clean)
    if isinstance(value, tuple):
        clean = tuple(_clean(item, personal) for item in value)
        unchanged = all(one is other for one, other in zip(clean, value, strict=True))
        return value if unchanged else clean
    if isinstance(value, (str, dict)):
        clean = personal.value(value)
        return value if clean == value else clean
    return value


def _clean_tree(value: Any, personal: Personal) -> Any:
    """Return a loop, or a session of loops, cleaned; the very same object if that was nothing."""
    if isinstance(value, msgspec.Raw):
        tree = msgspec.json.decode(value)
        clean = _clean_tree(tree, personal)
        return value if clean is tree else msgspec.Raw(msgspec.json.encode(clean))
    if isinstance(value, list):
        items = [_clean_tree(item, personal) for item in value]
        unchanged = all(one is other for one, other in zip(items, value, strict=True))
        return value if unchanged else items
    if not isinstance(value, dict):
        return value
    changes = {}
    for name, inner in value.items():
        said = name in _SAID_IN_TREES
        clean = _clean(inner, personal) if said else _clean_tree(inner, personal)
        if clean is not inner:
            changes[name] = clean
    return value | changes if changes else value
