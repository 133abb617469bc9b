"""Finding personal data in text and putting something else in its place.

What is looked for has a shape that can be checked: e-mail addresses, phone numbers, social
security numbers, payment cards, IP addresses, and what the user adds as patterns.  Names and
street addresses have none and are not found.

Matching is RE2's, which takes linear time whatever the text and whatever the pattern; what a
shape can not tell (a card's check digit, an octet over 255) is checked on each match.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any, Literal

import msgspec
import re2  # type: ignore[import-untyped]  # it has none

from gateway_sessions.errors import ConfigError

Mode = Literal["mask", "remove", "tokenize", "partial"]
"""What takes the place of a match: ``[EMAIL]``; nothing; ``[EMAIL_1f0c…]``, the same for the
same value; or the value with its middle starred out."""

TOKEN_BYTES = 6
"""Of the keyed hash in a token: two of a million values share one with a chance of 1 in 560."""

_SHAPES = {
    "email": r"[\pL\pN._%+'-]+@(?:[\pL\pN-]+\.)+\pL{2,}",
    "card": r"\b[2-6]\d(?:[ -]?\d){11,17}\b",
    "ssn": r"\b\d{3}-\d{2}-\d{4}\b",
    "ip": r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}\b",
    "phone": r"(?:\+|\b00 ?)\d{1,3}(?:[ ./-]?\(?\d{1,5}\)?){2,5}\b"
    r"|(?:\(\d{3}\) ?|\b\d{3}[ .-])\d{3}[ .-]\d{4}\b"
    r"|\b0\d{1,4}[ /-]\d{3,5}(?:[ -]?\d{2,5}){1,2}\b",
}
"""In the order in which they are tried at each place."""

KINDS = tuple(_SHAPES)
"""What is looked for, besides the user's own patterns."""


class Personal:
    """Replaces personal data.  Immutable once made; safe on any thread.

    Args:
        mode: what takes the place of a match.
        kinds: which of `KINDS` to look for; None looks for all of them.
        patterns: names and RE2 expressions of the user's own, tried before ours.
        key: keeps the tokens of ``tokenize`` from being found out by trying all phone numbers.

    Raises:
        ConfigError: a pattern is no valid RE2 expression, or matches the empty text; or there is
            nothing to look for.
    """

    def __init__(
        self,
        mode: Mode = "mask",
        *,
        kinds: Sequence[str] | None = None,
        patterns: Mapping[str, str] | None = None,
        key: bytes = b"",
    ) -> None:
        self._mode = mode
        self._key = blake2b(key, digest_size=32).digest()
        own = dict(patterns or {})
        for name, pattern in own.items():
            _check(name, pattern)
        wanted = KINDS if kinds is None else kinds
        for kind in wanted:
            if kind not in _SHAPES:
                raise ConfigError(f"there is no kind {kind!r}; it is one of {', '.join(KINDS)}")
        shapes = [*own.items(), *((kind, _SHAPES[kind]) for kind in KINDS if kind in wanted)]
        if not shapes:
            raise ConfigError("there is nothing to look for: name kinds or patterns")
        self._names = [name for name, _ in shapes]
        self._own = len(own)
        self._search = re2.compile("|".join(f"({pattern})" for _, pattern in shapes), _options())

    def text(self, text: str) -> str:
        """Return a text without the personal data in it."""
        # Lone surrogates have no bytes, and RE2 works on bytes.
        text = text if text.isascii() else text.encode("utf-8", "replace").decode()
        replaced: str = self._search.sub(self._put, text)
        return replaced

    def value(self, value: Any) -> Any:
        """Return a JSON value with all its strings, keys and long numbers cleaned."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool):
            digits = str(value)
            cleaned = self.text(digits)
            return value if cleaned == digits else cleaned
        return value

    def json(self, raw: bytes) -> bytes:
        """Return JSON with the personal data taken out of its strings and numbers.

        JSON in which nothing is found comes back as it was, byte for byte.  What is no JSON is
        treated as text.
        """
        text = raw.decode("utf-8", "replace")
        escapes = "\\u" in text  # then letters may be hidden from a search of the raw text
        if not escapes and self.text(text) == text:
            return raw
        try:
            value = msgspec.json.decode(raw)
            cleaned = self.value(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.text(text).encode("utf-8", "replace")
        return raw if cleaned == value else msgspec.json.encode(cleaned)

    def _put(self, match: Any) -> str:
        number: int = match.lastindex
        found: str = match.group(number)
        if number <= self._own:
            return self._instead(self._names[number - 1], found)
        kind = self._names[number - 1]
        return self._instead(kind, found) if _CHECKS[kind](found) else found

    def _instead(self, kind: str, found: str) -> str:
        if self._mode == "remove":
            return ""
        if self._mode == "mask":
            return f"[{kind.upper()}]"
        if self._mode == "tokenize":
            said = f"{kind}:{found}".encode()
            token = hmac.digest(self._key, said, "sha256")[:TOKEN_BYTES].hex()
            return f"[{kind.upper()}_{token}]"
        return _PARTS.get(kind, _ends)(found)


def _check(name: str, pattern: str) -> None:
    if not name.isidentifier():
        raise ConfigError(f"pattern {name!r}: a name is made of letters, digits and '_'")
    try:
        compiled = re2.compile(pattern, _options())
    except re2.error as exc:
        reason = exc.args[0].decode() if isinstance(exc.args[0], bytes) else str(exc)
        raise ConfigError(
            f"pattern {name!r} is no valid RE2 expression ({reason}); RE2 has no look-around and"
            " no back-references"
        ) from None
    if compiled.groups:
        raise ConfigError(f"pattern {name!r}: write its groups as (?:…)")
    if compiled.fullmatch("") is not None:
        raise ConfigError(f"pattern {name!r} matches the empty text, and so everywhere")


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False  # they are raised
    return options


def _digits(found: str) -> str:
    return "".join(filter(str.isdecimal, found))


def _is_card(found: str) -> bool:
    """Check length and Luhn's digit: one random number in ten passes, one in 30 with both."""
    digits = [int(digit) for digit in _digits(found)]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_ssn(found: str) -> bool:
    area, group, serial = found.split("-")
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def _is_ip(found: str) -> bool:
    if ":" in found and not any(map(str.isdecimal, found)):
        return False  # as in many a programming language: abc::def
    try:
        ip_address(found)
    except ValueError:
        return False
    return True


def _is_phone(found: str) -> bool:
    return 7 <= len(_digits(found)) <= 15


_CHECKS: dict[str, Callable[[str], bool]] = {
    "email": lambda found: True,
    "card": _is_card,
    "ssn": _is_ssn,
    "ip": _is_ip,
    "phone": _is_phone,
}


def _ends(found: str) -> str:
    return f"{found[:1]}***{found[-1:]}" if len(found) > 4 else "***"


def _last_digits(found: str) -> str:
    """Star out all digits but the last four; what is between them stays."""
    hidden = len(_digits(found)) - 4
    shown = []
    for character in found:
        if character.isdecimal() and hidden > 0:
            hidden -= 1
            shown.append("*")
        else:
            shown.append(character)
    return "".join(shown)


def _network(found: str) -> str:
    separator = ":" if ":" in found else "."
    first, second, *_ = found.split(separator)
    return f"{first}{separator}{second}{separator}***"


def _mailbox(found: str) -> str:
    name, _, host = found.rpartition("@")
    return f"{name[:1]}***@{host}"


_PARTS: dict[str, Callable[[str], str]] = {
    "email": _mailbox,
    "card": _last_digits,
    "ssn": _last_digits,
    "ip": _network,
    "phone": _last_digits,
}
