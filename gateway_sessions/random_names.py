"""Random names for sessions and requests."""

from __future__ import annotations

import os

from gateway_sessions.names import ALPHABET

_LETTERS = bytes(ord(ALPHABET[byte % 32]) for byte in range(256))
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
