"""Hiding secrets in what is shown of a configuration."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from gateway_sessions.config.keys import FREE_FORM, Section, bare, fields_of

MASK = "***"

_WORDS = frozenset(
    {"secret", "secrets", "token", "password", "passwd", "passphrase", "credential"}
    | {"credentials", "authorization", "apikey", "dsn", "cookie"}
)
_PAIRS = frozenset({"api_key", "private_key", "access_key", "secret_key", "signing_key"})
_PASSWORD = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY_KEY = re.compile(
    r"(?i)(?<=[?&])((?:api[-_]?|access[-_]?)?(?:key|token|secret|password)=)[^&#\s]+"
)


def masked(section: Section) -> dict[str, Any]:
    """Return a section as plain JSON values, every secret replaced by ``***``."""
    shown: dict[str, Any] = {}
    for field in fields_of(type(section)).values():
        value = getattr(section, field.name)
        if field.key.secret and value is not None:
            shown[field.name] = MASK
        elif bare(field.type) == FREE_FORM:
            shown[field.name] = _free(field.name, value)
        else:
            shown[field.name] = _typed(value)
    return shown


def masked_text(text: str) -> str:
    """Return a text with the credentials of the URLs in it replaced by ``***``."""
    return _QUERY_KEY.sub(rf"\g<1>{MASK}", _PASSWORD.sub(f"{MASK}@", text))


def _typed(value: Any) -> Any:
    if isinstance(value, Section):
        return masked(value)
    if isinstance(value, tuple):
        return [_typed(item) for item in value]
    return masked_text(value) if isinstance(value, str) else value


def _free(name: str, value: Any) -> Any:
    """Mask the options of interceptors, of whose keys only the names tell anything."""
    if isinstance(value, dict):
        return {key: _free(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_free(name, item) for item in value]
    if value is None or isinstance(value, bool) or value == "":
        return value
    if _looks_secret(name):
        return MASK
    return masked_text(value) if isinstance(value, str) else value


def _looks_secret(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower().split("_")
    pairs = {"_".join(pair) for pair in pairwise(words)}
    return not _WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairs)
