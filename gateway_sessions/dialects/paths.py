"""What paths tell: the model, where a dialect names it there and not in the body."""

from __future__ import annotations

from urllib.parse import unquote


def plain(path: str) -> str:
    """Return a path without its query, its escapes and its last slashes."""
    return unquote(path.partition("?")[0]).rstrip("/")


def model_before_verb(path: str) -> str:
    """Return ``m`` of ``…/models/m:generateContent``, or an empty string."""
    return plain(path).rpartition("/")[2].rpartition(":")[0]


def model_before_action(path: str) -> str:
    """Return ``m`` of ``…/model/m/converse``, or an empty string; it may have slashes itself."""
    return plain(path).partition("/model/")[2].rpartition("/")[0]
