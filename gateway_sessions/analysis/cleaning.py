"""Taking personal data out of recorded events, before any writer sees them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway_sessions.personal_data import Personal

_NAMES = frozenset(
    {
        "error_type",
        "external_id",
        "finish_reason",
        "listener",
        "model",
        "model_requested",
        "model_used",
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

S_ = TypeVar("S_", bound=msgspec.Struct)


def cleaned(struct: S_, personal: Personal) -> S_:
    """Return an event, or a part of one, without personal data; itself if it holds none."""
    changes = {}
    for name in struct.__struct_fields__:
        if name in _NAMES:
            continue
        value = getattr(struct, name)
        clean = _clean(value, personal)
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
