"""JSON that every reader accepts, whatever it was made from.

Bodies come from strangers: half of one, not UTF-8, ``NaN``, lone surrogates, a megabyte of
brackets.  What is valid JSON goes into the file byte for byte, without being parsed into
objects and printed again; anything else becomes a string.  Every result is strict JSON on one
line, and holds no character that some program takes for a line break or a terminal command.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from gateway_sessions.analysis.rawjson import encodable

_encoder = msgspec.json.Encoder()
_validator = msgspec.json.Decoder(msgspec.Raw)

_NULL = msgspec.Raw(b"null")
_LINE_BREAKS_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")
_CONTROLS = re.compile(rb"\xc2[\x80-\x9f]")
"""C1 controls in UTF-8: U+0085 breaks lines, U+009B starts terminal commands."""


@lru_cache(maxsize=64)
def _second(unix: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix))


def utc_timestamp(unix: float) -> str:
    """Return Unix time in seconds as RFC 3339 in UTC with milliseconds, rounded down."""
    milliseconds = math.floor(unix * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


def json_line(value: Any) -> bytes:
    """Return a value (msgspec struct, dict, list, …) as one line of strict JSON, with its end.

    Lone surrogates in strings, for which UTF-8 has no bytes, become ``?``.
    """
    return escaped(_encoded(value)) + b"\n"


def json_array(values: Sequence[Any]) -> bytes:
    """Return values as a JSON array, by one call for all of them; as `json_line` otherwise.

    What stands in them is not escaped.  Raises `TypeError` and the like for a value that JSON
    has no form for.
    """
    try:
        return _encoder.encode(values)
    except UnicodeEncodeError:  # half a character in one of them
        return b"[%b]" % b",".join(map(_encoded, values))


def _encoded(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(encodable(msgspec.to_builtins(value, builtin_types=(msgspec.Raw,))))


def escaped(text: bytes) -> bytes:
    """Return JSON with U+2028, U+2029 and the C1 controls as escape sequences.

    Valid JSON has them in strings only, where both spellings mean the same.
    """
    if text.isascii():
        return text
    text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if b"\xc2" in text:
        text = _CONTROLS.sub(lambda match: b"\\u00%02x" % match.group()[1], text)
    return text


def is_json(body: bytes) -> bool:
    """Tell whether bytes are one strict JSON value in UTF-8, without building it."""
    try:
        _validator.decode(body)
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def embedded(body: bytes, size: int, limit: int) -> msgspec.Raw:
    """Return a body as it goes into a JSON document.

    It is the JSON itself, or its text as a string, or null if empty.  Of more than ``limit``
    bytes, or where ``body`` is shorter than the ``size`` that was sent because it was too large
    to be kept, it is ``{"truncated": true, "size": …, "text": "…"}`` with its beginning.
    """
    if len(body) > limit or (not body and size > 0):
        text = body[:limit].decode("utf-8", "replace")
        marker = {"truncated": True, "size": max(size, len(body)), "text": text}
        return msgspec.Raw(_encoder.encode(marker))
    if not body:
        return _NULL
    if not is_json(body):
        return msgspec.Raw(_encoder.encode(body.decode("utf-8", "replace")))
    if b"\n" in body or b"\r" in body:
        # Between tokens, that is: strings can not hold them raw.
        body = body.translate(_LINE_BREAKS_TO_SPACES)
    return msgspec.Raw(body)
