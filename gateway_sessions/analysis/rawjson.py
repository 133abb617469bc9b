"""JSON of strangers as it goes into an event: strict, on one line, and not more than is new.

Bodies are scanned and not parsed: what is kept of them is kept byte for byte.  Only what no
reader of a file of lines could take is mended: bytes that are not UTF-8, and line breaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw
from xxhash import xxh3_64_intdigest

from gateway_sessions.dialects.parsing import JSON_ERRORS

_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_value = msgspec.json.Decoder(Raw).decode
_encode = msgspec.json.Encoder().encode
_BRACE, _BRACKET = b"{["
_BREAKS_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")

HISTORIES = ("messages", "contents", "input")
"""The fields of a body in which the dialects whose requests repeat a history have it."""
WRAPPERS = ("request", "generateContentRequest")
"""The fields around the whole request in Gemini's Code Assist, and where tokens are counted."""
REPEATED_BYTES = 1024
"""Smaller fields are written again, though they are as before: a note about it saves nothing."""
FIELDS_REMEMBERED = 16
"""Large fields of bodies that are compared with what they were; bodies have two or three."""


def strict(sent: bytes | Raw) -> Raw:
    """Return valid JSON as strict JSON on one line; a copy that holds no larger buffer."""
    text = bytes(sent)
    if is_clean(text):
        return Raw(text)
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("utf-8", "replace").encode()
    if b"\n" in text or b"\r" in text:
        text = text.translate(_BREAKS_TO_SPACES)  # between tokens: strings can not hold them
    return Raw(text)


def is_clean(text: bytes) -> bool:
    """Tell whether JSON surely is strict and on one line."""
    return text.isascii() and b"\n" not in text and b"\r" not in text


def embedded(body: bytes) -> Raw | None:
    """Return a body as JSON: itself, or its text as a string, or None if it is empty."""
    if not body:
        return None
    try:
        _value(body)
    except JSON_ERRORS:
        return Raw(_encode(body.decode("utf-8", "replace")))
    return strict(body)


def encoded(value: Any) -> bytes:
    """Return a value from a body as JSON; what has none (absurd numbers) as a string."""
    try:
        return _encode(value)
    except RecursionError:
        return b'"(nested too deeply)"'
    except (ValueError, OverflowError, TypeError):
        return _encode(repr(value).encode(errors="replace").decode())


def text(words: str) -> str:
    """Return text that UTF-8 can hold: without lone surrogates."""
    return words if words.isascii() else words.encode(errors="replace").decode()


def encodable(value: Any) -> Any:
    """Return strings, dicts and lists with ``?`` in place of lone surrogates."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {encodable(key): encodable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [encodable(inner) for inner in value]
    return value


class Delta(msgspec.Struct, frozen=True, gc=False):
    """What is new in a request's body."""

    json: Raw | None
    """The body without what is as before; None where it is no JSON object."""
    unchanged: tuple[str, ...] = ()
    """Large fields that are left out, since the newest request that had them had the same."""
    is_clean: bool = False
    """Whether the messages that are new surely are strict JSON on one line, as they came."""


def fields_of(body: bytes | Raw) -> Mapping[str, Raw]:
    """Return the fields of a body as they stand in it; none of what is no JSON object."""
    try:
        return _fields(body)
    except JSON_ERRORS:
        return {}


def is_object(raw: Raw) -> bool:
    """Tell whether JSON is an object."""
    return memoryview(raw)[0] == _BRACE


def delta(
    body: bytes, fields: Mapping[str, Raw], count: int, new: Sequence[Raw], known: dict[str, int]
) -> Delta:
    """Return a body without the messages and the large fields that are known.

    Args:
        body: a JSON object.
        fields: its own; see `fields_of`.
        count: how many messages the dialect found in it.
        new: those of them, at the end, that are new.
        known: digests of the newest large fields of the session's requests; brought up to date.
    """
    if not fields:
        return Delta(None)
    wrapper = next((name for name in WRAPPERS if name in fields), None)
    if wrapper is None or not fields.keys().isdisjoint(HISTORIES):
        kept, unchanged = _without(fields, count, new, known)
    else:
        inner = fields_of(fields[wrapper])
        if not inner:
            return Delta(None)
        cut, unchanged = _without(inner, count, new, known)
        kept = {**fields, wrapper: Raw(_encode(cut))}
    if not unchanged and len(new) == count:
        clean = is_clean(body)
        return Delta(Raw(body) if clean else strict(body), (), clean)
    text = _encode(kept)
    # A field that is left out may be the one with the messages.
    clean = not unchanged and is_clean(text)
    return Delta(Raw(text) if clean else strict(text), unchanged, clean)


def _without(
    fields: Mapping[str, Raw], count: int, new: Sequence[Raw], known: dict[str, int]
) -> tuple[dict[str, Raw], tuple[str, ...]]:
    """Return fields without what is known, and the names of those that are left out."""
    kept: dict[str, Raw] = {}
    unchanged: list[str] = []
    histories: list[str] = []
    for name, raw in fields.items():
        kept[name] = raw
        if name in HISTORIES:
            if _is_list(raw):
                histories.append(name)
        elif len(raw) < REPEATED_BYTES:
            known.pop(name, None)
        elif _same(name, raw, known):
            del kept[name]
            unchanged.append(name)
    if len(histories) == 1 and len(new) < count:
        kept[histories[0]] = Raw(_encode(new))
    return kept, tuple(unchanged)


def _is_list(raw: Raw) -> bool:
    return memoryview(raw)[0] == _BRACKET


def _same(name: str, raw: Raw, known: dict[str, int]) -> bool:
    """Tell whether a large field is as it was the last time, and remember it."""
    digest = xxh3_64_intdigest(raw)
    if known.get(name) == digest:
        return True
    if name in known or len(known) < FIELDS_REMEMBERED:
        known[name] = digest
    return False


_ABSENT = Raw()
_COUNTS = (
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
    "load_duration",
    "total_duration",
)
"""Ollama's counts, which stand in the reply itself."""


class _Metered(msgspec.Struct, gc=False):
    """A reply, but for all that is not its usage."""

    usage: Raw = _ABSENT
    usageMetadata: Raw = _ABSENT  # noqa: N815 - Gemini's own name
    response: Raw = _ABSENT
    prompt_eval_count: Raw = _ABSENT
    prompt_eval_duration: Raw = _ABSENT
    eval_count: Raw = _ABSENT
    eval_duration: Raw = _ABSENT
    load_duration: Raw = _ABSENT
    total_duration: Raw = _ABSENT


_metered = msgspec.json.Decoder(_Metered).decode


def usage(body: bytes) -> Raw | None:
    """Return the provider's own usage object in the body of a reply, or None."""
    try:
        found = _metered(body)
        if found.response is not _ABSENT and is_object(found.response):
            found = _metered(found.response)  # in the envelope of Code Assist
    except JSON_ERRORS:
        return None
    for said in (found.usage, found.usageMetadata):
        if said is not _ABSENT and is_object(said):
            return strict(said)
    counts = {name: raw for name in _COUNTS if (raw := getattr(found, name)) is not _ABSENT}
    return strict(_encode(counts)) if "eval_count" in counts else None
