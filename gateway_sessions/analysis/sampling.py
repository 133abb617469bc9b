"""How a request wants its answer made: how long, and how freely."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway_sessions.dialects.parsing import JSON_ERRORS

_ABSENT = Raw()


class _Limits(msgspec.Struct, gc=False):
    """The fields of all dialects, raw: a wrong type in one must not hide the others."""

    max_tokens: Raw = _ABSENT
    max_completion_tokens: Raw = _ABSENT
    max_output_tokens: Raw = _ABSENT
    camel_output_tokens: Raw = msgspec.field(name="maxOutputTokens", default=_ABSENT)
    camel_tokens: Raw = msgspec.field(name="maxTokens", default=_ABSENT)
    num_predict: Raw = _ABSENT
    temperature: Raw = _ABSENT


class _Body(_Limits, gc=False):
    """A body, and the objects in which some dialects keep these fields."""

    generation_config: Raw = msgspec.field(name="generationConfig", default=_ABSENT)
    generation_config_: Raw = msgspec.field(name="generation_config", default=_ABSENT)
    inference_config: Raw = msgspec.field(name="inferenceConfig", default=_ABSENT)
    options: Raw = _ABSENT
    request: Raw = _ABSENT
    """In the envelope of Code Assist."""


_body = msgspec.json.Decoder(_Body).decode
_limits = msgspec.json.Decoder(_Limits).decode
_whole = msgspec.json.Decoder(int).decode
_number = msgspec.json.Decoder(float).decode


def sampling(body: bytes) -> tuple[int | None, float | None]:
    """Return the most tokens of an answer and its temperature; None where a body says none."""
    try:
        found = _body(body)
        if _is_object(found.request):
            found = _body(found.request)
        held = (found.generation_config, found.generation_config_)
        inner = next(filter(_is_object, (*held, found.inference_config, found.options)), None)
        limits = found if inner is None else _limits(inner)
    except JSON_ERRORS:
        return None, None
    return _most(limits), _temperature(limits)


def _is_object(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"{"


def _most(limits: _Limits) -> int | None:
    for raw in (
        limits.max_completion_tokens,
        limits.max_tokens,
        limits.max_output_tokens,
        limits.camel_output_tokens,
        limits.camel_tokens,
        limits.num_predict,
    ):
        try:
            return _whole(raw)
        except JSON_ERRORS:
            continue
    return None


def _temperature(limits: _Limits) -> float | None:
    try:
        return _number(limits.temperature)
    except JSON_ERRORS:
        return None
