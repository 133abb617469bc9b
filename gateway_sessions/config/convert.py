"""From the tree of values to the typed configuration, with an error that says what to change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from gateway_sessions.config.keys import (
    Field,
    Section,
    fields_of,
    leaves,
    section_in,
    section_list_in,
)
from gateway_sessions.config.masking import masked_text
from gateway_sessions.config.tree import Node, plain
from gateway_sessions.errors import ConfigError

S_ = TypeVar("S_", bound=Section)

_SHOWN = 60
"""Characters of a wrong value that an error repeats."""
_CLOSE = 60.0
"""Likeness (0 to 100) from which a name is taken for a slip of another."""


def built(section: type[S_], tree: Node, prefix: str = "", root: type[Section] | None = None) -> S_:
    """Make a section from a tree; raises `ConfigError` for the first wrong key or value.

    ``prefix`` is the section's own dotted key; ``root`` the whole schema, among whose keys the
    one is sought that the user meant.
    """
    root = root or section
    if not isinstance(tree.value, dict):
        if tree.value is None:
            # `session:` with nothing below it is how YAML users empty a block.
            tree = Node({}, tree.place)
        else:
            raise ConfigError(f"{tree.place}: {_wrong(prefix, 'a mapping', tree)}")
    fields = fields_of(section)
    values: dict[str, Any] = {}
    for name, node in tree.value.items():
        dotted = f"{prefix}.{name}" if prefix else name
        if name not in fields:
            raise ConfigError(f"{node.place}: {_unknown(dotted, name, fields, prefix, root)}")
        values[name] = _value(fields[name], node, dotted, root)
    for field in fields.values():
        if field.default is msgspec.NODEFAULT and field.name not in values:
            raise ConfigError(f"{tree.place}: {prefix} needs the key {field.name}.")
    return section(**values)


def _value(field: Field, node: Node, dotted: str, root: type[Section]) -> Any:
    inner = section_in(field.type)
    if inner is not None:
        return built(inner, node, dotted, root)
    item = section_list_in(field.type)
    if item is not None:
        if not isinstance(node.value, list):
            raise ConfigError(f"{node.place}: {_wrong(dotted, 'a list', node)}")
        items = enumerate(node.value)
        value: Any = tuple(built(item, child, f"{dotted}.{i}", root) for i, child in items)
    else:
        value = _converted(field, node, dotted)
    wanted = field.key.check(value) if field.key.check else None
    if wanted:
        raise ConfigError(f"{node.place}: {_wrong(dotted, wanted, node, field.key.secret)}")
    return value


def _converted(field: Field, node: Node, dotted: str) -> Any:
    try:
        return msgspec.convert(plain(node), field.type)
    except msgspec.ValidationError:
        pass
    if node.text is not None:
        try:
            return msgspec.convert(node.text, field.type)
        except msgspec.ValidationError:
            pass
    raise ConfigError(f"{node.place}: {_wrong(dotted, field.expected, node, field.key.secret)}")


def _wrong(dotted: str, expected: str, node: Node, secret: bool = False) -> str:
    found = "what was given" if secret else shown(plain(node))
    return f"{dotted or 'the configuration'} must be {expected}, not {found}."


def shown(value: Any) -> str:
    """Return a value for an error sentence: one short line, URL passwords left out.

    Mappings are not shown, because the options of an interceptor may hold secrets.
    """
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "a list of mappings"
    text = masked_text(json.dumps(value, default=str))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _unknown(
    dotted: str, name: str, siblings: Iterable[str], prefix: str, root: type[Section]
) -> str:
    """Say that a key does not exist, and which one was probably meant."""
    siblings = list(siblings)
    near = _nearest(name, siblings)
    if near is not None:
        return f"unknown key {dotted}; did you mean {f'{prefix}.{near}' if prefix else near}?"
    elsewhere = {path.rpartition(".")[2]: path for path, _ in leaves(root)}
    near = _nearest(name, elsewhere, 85.0)
    if near is not None:
        return f"unknown key {dotted}; did you mean {elsewhere[near]}?"
    where = f"in {prefix}" if prefix else "at the top"
    return f"unknown key {dotted}; the keys {where} are {', '.join(siblings)}."


def _nearest(name: str, candidates: Iterable[str], cutoff: float = _CLOSE) -> str | None:
    # Only errors need it, and start-up time counts.
    from rapidfuzz import fuzz, process, utils  # noqa: PLC0415

    found = process.extractOne(
        name,
        list(candidates),
        scorer=fuzz.ratio,
        processor=utils.default_process,
        score_cutoff=cutoff,
    )
    return found[0] if found else None
