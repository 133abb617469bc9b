"""How names are written: 100 bits in Crockford's base32, classes in JSON."""

from __future__ import annotations

import re

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]


def crockford(raw: bytes) -> str:
    """Return the first 100 bits of at least 13 bytes as 20 characters of Crockford base32."""
    number = int.from_bytes(raw[:13], "big") >> 4
    pairs = _PAIRS
    return "".join([pairs[number >> shift & 1023] for shift in range(90, -1, -10)])


def snake_case(name: str) -> str:
    """Return a class name as JSON has it: ``ToolCall`` is ``tool_call``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
