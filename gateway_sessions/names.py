"""Names for sessions and requests: 100 bits in Crockford's base32."""

from __future__ import annotations

import os

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


_LETTERS = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))
"""The letter for each byte: five of its bits, so that random bytes give random letters."""


_ready: list[str] = []
"""Names to be given out, since asking the system for each would take most of the time."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ready.clear)  # A child must not give them out again.


def random_name() -> str:
    """Return 20 random characters of Crockford base32 (100 bits), which nobody can guess."""
    try:
        return _ready.pop()
    except IndexError:
        letters = os.urandom(20 * 64).translate(_LETTERS).decode()
        name, *others = (letters[at : at + 20] for at in range(0, len(letters), 20))
        _ready.extend(others)
        return name


def crockford(raw: bytes) -> str:
    """Return the first 100 bits of at least 13 bytes as 20 characters of Crockford base32."""
    number = int.from_bytes(raw[:13], "big") >> 4
    pairs = _PAIRS
    return "".join([pairs[number >> shift & 1023] for shift in range(90, -1, -10)])
