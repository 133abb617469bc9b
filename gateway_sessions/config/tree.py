"""Configuration values together with the place where each was written.

All sources (a YAML file, environment variables, ``--set`` options, a mapping given by the host
application) become one kind of tree, so that they are merged and checked by the same code and
an error can always name the place that the user has to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from gateway_sessions.errors import ConfigError

MAX_DEPTH = 50
"""Levels of nesting; a configuration needs six, a list inside itself has no end."""

LABELS = ("name", "type")
"""Keys by which an item of a list can be addressed, as in ``interceptors.trace.enabled``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place."""

    value: Any
    """A plain value, or a dict or list of nodes."""
    place: str
    """``gateway.yaml, line 3``, ``environment variable X`` or ``option --set``."""
    text: str | None = None
    """The characters as given, where they had to be read as a value although the user may have
    meant text: a token of digits in an environment variable is not a number."""


def plain(node: Node) -> Any:
    """Return a node's value without its places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def from_value(value: Any, place: str, depth: int = 0) -> Node:
    """Make a tree of a Python value: mappings, sequences, paths and plain values."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"{place} is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, Mapping):
        children = {str(k): from_value(v, place, depth + 1) for k, v in value.items()}
        return Node(children, place)
    if isinstance(value, (list, tuple)):
        return Node([from_value(item, place, depth + 1) for item in value], place)
    return Node(str(value) if isinstance(value, PurePath) else value, place)


def merged(base: Node, over: Node) -> Node:
    """Return ``base`` with ``over`` laid upon it: mappings key by key, all else replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    children = dict(base.value)
    for key, child in over.value.items():
        children[key] = merged(children[key], child) if key in children else child
    return Node(children, over.place)


def with_value(tree: Node, path: tuple[str, ...], value: Node) -> Node:
    """Return ``tree`` with one value set, mappings on the way made as needed.

    An item of a list is addressed by its number or by its name or type; one that is not there
    is a `ConfigError`, because nobody can say where in the list it should go.
    """
    if not path:
        return merged(tree, value)
    head, rest = path[0], path[1:]
    if isinstance(tree.value, list):
        items = list(tree.value)
        index = _index(items, head, value.place)
        items[index] = with_value(items[index], rest, value)
        return Node(items, tree.place)
    children = dict(tree.value) if isinstance(tree.value, dict) else {}
    children[head] = with_value(children.get(head) or Node({}, value.place), rest, value)
    return Node(children, tree.place)


def places(tree: Node, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the place of every plain value in the tree."""
    value = tree.value
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from places(child, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value:
        for number, child in enumerate(value):
            yield from places(child, f"{prefix}.{number}")
    elif prefix:
        yield prefix, tree.place


def _index(items: list[Node], wanted: str, place: str) -> int:
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(items):
        return int(wanted)
    labels = [_label(item) for item in items]
    for number, names in enumerate(labels):
        if wanted in names:
            return number
    known = [names[0] if names else str(number) for number, names in enumerate(labels)]
    raise ConfigError(
        f"{place}: the list has no item {wanted}; its items are {', '.join(known) or 'none'}."
    )


def _label(item: Node) -> list[str]:
    if not isinstance(item.value, dict):
        return []
    named = (item.value.get(key) for key in LABELS)
    return [node.value for node in named if node and isinstance(node.value, str) and node.value]
