"""How a request wants its answer made: how long, and how freely."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway_sessions.analysis.rawjson import fields_of, is_object
from gateway_sessions.dialects.parsing import JSON_ERRORS

_MOST = (
    "max_completion_tokens",
    "max_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "maxTokens",
    "num_predict",
)
"""What the dialects call the most tokens of an answer; the first that is a number holds."""
_TEMPERATURE = "temperature"
_HOLDERS = ("generationConfig", "generation_config", "inferenceConfig", "options")
"""The objects in which some dialects keep these fields."""
_ENVELOPE = "request"
"""The field around a request in Code Assist."""
_TELLING = frozenset({*_MOST, _TEMPERATURE, *_HOLDERS, _ENVELOPE})

_whole = msgspec.json.Decoder(int).decode
_number = msgspec.json.Decoder(float).decode


def sampling(body: Mapping[str, Raw]) -> tuple[int | None, float | None]:
    """Return the most tokens of an answer and its temperature; None where a body says none.

    ``body`` has its fields, raw: a wrong type in one must not hide the others.
    """
    if _TELLING.isdisjoint(body):
        return None, None
    if (request := _object(body, _ENVELOPE)) is not None:
        body = fields_of(request)
    held = (_object(body, name) for name in _HOLDERS)
    inner = next((raw for raw in held if raw is not None), None)
    limits = body if inner is None else fields_of(inner)
    return _most(limits), _temperature(limits)


def _object(body: Mapping[str, Raw], name: str) -> Raw | None:
    raw = body.get(name)
    return raw if raw is not None and is_object(raw) else None


def _most(limits: Mapping[str, Raw]) -> int | None:
    for name in _MOST:
        if name in limits:
            try:
                return _whole(limits[name])
            except JSON_ERRORS:
                continue
    return None


def _temperature(limits: Mapping[str, Raw]) -> float | None:
    try:
        return _number(limits[_TEMPERATURE]) if _TEMPERATURE in limits else None
    except JSON_ERRORS:
        return None
