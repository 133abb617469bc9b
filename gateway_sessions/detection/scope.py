"""Who is asking: the scope that no session ever crosses.

``scope = HMAC-SHA256(server secret, credential NUL end user)``.  Its first eight bytes seed
every key that detection computes, so keys of two scopes never meet; the next eight, in hex, are
the name of the scope in traces.  Neither tells anything about the credential.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qs

import msgspec

from gateway_sessions.detection.settings import ScopeSettings
from gateway_sessions.names import crockford

SCOPES_KEPT = 4096
"""Headers and end users whose scope is remembered; to find it anew takes 5 µs."""
LONGEST_REMEMBERED = 1024
"""Characters of an end user's name that is remembered with its scope; headers have bounds."""

_SESSION_PART = re.compile(r"_session_[0-9A-Za-z-]{8,64}\Z")
_BEARER = "bearer"


class Scope(msgspec.Struct, frozen=True, gc=False):
    """One asker."""

    seed: int
    """64 secret bits that start every chain and key of this scope."""
    name: str
    """16 hex digits, safe to show."""


class Scopes:
    """Derives scopes from requests."""

    def __init__(self, secret: bytes, settings: ScopeSettings) -> None:
        """Derive scopes with a server secret of at least 16 bytes."""
        self._secret = secret
        self._settings = settings
        self._headers = tuple(name.lower() for name in settings.headers)
        self._remembered = lru_cache(SCOPES_KEPT)(self._sent)

    def of(self, headers: Mapping[str, str], path: str, end_user: str, known_as: str = "") -> Scope:
        """Return the scope of a request; header names are lower case.

        ``known_as`` stands for the credential where that is masked, as in our own traces: equal
        names are one asker.
        """
        if known_as or "key=" in path or len(end_user) > LONGEST_REMEMBERED:
            return self._read(known_as or self._credential(headers, path), end_user)
        return self._remembered(tuple(map(headers.get, self._headers)), end_user)

    def _sent(self, values: tuple[str | None, ...], end_user: str) -> Scope:
        """Return the scope of a request by the values of the headers that tell it."""
        sent = {name: value for name, value in zip(self._headers, values, strict=True) if value}
        return self._read(self._credential(sent, ""), end_user)

    def _read(self, credential: str, end_user: str) -> Scope:
        credential = credential if self._settings.credential else ""
        user = stable_user(end_user) if end_user and self._settings.end_user else ""
        return self._derive(credential, user)

    def _derive(self, credential: str, user: str) -> Scope:
        # The length keeps ("a", "b\0c") and ("a\0b", "c") apart.
        text = f"{len(credential)}\0{credential}\0{user}".encode("utf-8", "surrogatepass")
        digest = hmac.digest(self._secret, text, "sha256")
        return Scope(int.from_bytes(digest[:8], "little"), digest[8:16].hex())

    def _credential(self, headers: Mapping[str, str], path: str) -> str:
        for name in self._headers:
            value = headers.get(name)
            if value:
                # The bare value, so that one key in Authorization and in x-api-key is one scope.
                scheme, _, bare = value.strip().partition(" ")
                value = bare.strip() if scheme.lower() == _BEARER else value
                if value:
                    return value
        if "key=" in path:
            return (parse_qs(path.partition("?")[2]).get("key") or [""])[0]
        return ""


def stable_user(end_user: str) -> str:
    """Return an end user's name without the session part that some clients put into it.

    Claude Code sends ``user_…_account_…_session_<uuid>``, or a JSON object with ``session_id``.
    """
    if end_user.startswith("{"):
        try:
            value = json.loads(end_user)
        except (ValueError, RecursionError):
            return end_user
        if isinstance(value, dict) and "session_id" in value:
            rest = {key: value[key] for key in sorted(value) if key != "session_id"}
            return json.dumps(rest, sort_keys=True)
    return _SESSION_PART.sub("", end_user)


def keyed_id(secret: bytes, *parts: str) -> str:
    """Return 20 characters of Crockford base32 (100 bits) that only the secret can produce."""
    text = "\0".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")
    return crockford(hashlib.blake2b(text, key=secret[:64], digest_size=13).digest())
