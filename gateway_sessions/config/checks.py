"""What a value of the right type must still fulfil.

Each check returns None for a good value, or what the value has to be, in words that complete
the sentence "`KEY` must be …".
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

SCHEMES = ("http", "https", "builtin")
"""Upstreams that can be reached; ``builtin`` is the embedded one."""
BUILTINS = ("builtin://echo",)

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\s\[\]/]+):(?P<port>\d{1,5})")


def upstream_url(value: str) -> str | None:
    """Check the address of an upstream: a known scheme, a host, a usable port."""
    wanted = f"a URL that begins with http:// or https://, or {BUILTINS[0]}"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return wanted
    if parts.scheme == "builtin":
        return None if value.rstrip("/") in BUILTINS else wanted
    clean = not parts.fragment and value.isascii() and not re.search(r"\s", value)
    return None if usable and clean else wanted


def host_port(value: str | None) -> str | None:
    """Check an address to listen on, ``host:port`` with IPv6 hosts in brackets, or none."""
    match = _HOST_PORT.fullmatch("localhost:0" if value is None else value)
    if match and int(match["port"]) <= 65535:
        return None
    return "an address of the form host:port, such as 127.0.0.1:3001"


def some_upstream(values: tuple[object, ...]) -> str | None:
    """Check that there is an upstream at all."""
    return None if values else "a list of at least one upstream"


def networks(values: tuple[str, ...]) -> str | None:
    """Check a list of IP addresses and networks."""
    try:
        for value in values:
            ipaddress.ip_network(value, strict=False)
    except ValueError:
        return "a list of IP addresses or networks, such as 10.0.0.0/8"
    return None


def header_names(values: tuple[str, ...]) -> str | None:
    """Check a list of HTTP header names."""
    good = all(_HEADER.fullmatch(value) for value in values)
    return None if good else "a list of HTTP header names"


def header_keys(value: object) -> str | None:
    """Check the keys of a mapping from HTTP header names; anything else is somebody else's."""
    good = not isinstance(value, dict) or all(_HEADER.fullmatch(name) for name in value)
    return None if good else "a mapping whose keys are HTTP header names"


def path_pattern(value: str) -> str | None:
    """Check a pattern for request paths."""
    good = value.startswith("/") and not re.search(r"\s", value)
    return None if good else "a path that begins with /, in which * stands for anything"


def path_prefix(value: str) -> str | None:
    """Check a prefix for our own endpoints: empty, or ``/something`` without a trailing slash."""
    good = re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", value) is not None
    return None if good else "empty or a path such as /gateway, without a slash at its end"


def not_blank(value: str | None) -> str | None:
    """Check that a text, where given, says something."""
    return None if value is None or value.strip() else "text that is not empty"


def phrases(values: tuple[str, ...]) -> str | None:
    """Check a list of phrases, none of them empty (an empty one would match every message)."""
    good = all(re.search(r"\w", value) for value in values)
    return None if good else "a list of phrases with at least one letter or digit each"


def long_secret(value: str | None) -> str | None:
    """Check that a secret can not be guessed."""
    return None if value is None or len(value) >= 16 else "text of at least 16 characters or null"
