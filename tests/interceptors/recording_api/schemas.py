"""Checks JSON against the part of JSON Schema that the API's description uses."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_SAYS_NOTHING = {"title", "description", "default", "examples", "discriminator"}


def matches(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Tell whether a value fits; raises `KeyError` for a keyword that is not known here."""
    return all(
        name in _SAYS_NOTHING or _CHECKS[name](value, wanted, schema, document)
        for name, wanted in schema.items()
    )


def _reference(value: Any, wanted: str, schema: Any, document: dict[str, Any]) -> bool:
    found: Any = document
    for name in wanted.removeprefix("#/").split("/"):
        found = found[name]
    return matches(value, found, document)


def _type(value: Any, wanted: str | list[str], schema: Any, document: Any) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)


def _properties(value: Any, wanted: dict[str, Any], schema: Any, document: Any) -> bool:
    return not isinstance(value, dict) or all(
        matches(value[name], inner, document) for name, inner in wanted.items() if name in value
    )


def _required(value: Any, wanted: list[str], schema: Any, document: Any) -> bool:
    return not isinstance(value, dict) or set(wanted) <= value.keys()


def _items(value: Any, wanted: dict[str, Any], schema: Any, document: Any) -> bool:
    return not isinstance(value, list) or all(matches(each, wanted, document) for each in value)


def _additional(value: Any, wanted: Any, schema: dict[str, Any], document: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(wanted, dict):
        return True
    known = schema.get("properties", {})
    return all(matches(value[name], wanted, document) for name in value.keys() - known.keys())


_CHECKS: dict[str, Any] = {
    "$ref": _reference,
    "type": _type,
    "properties": _properties,
    "required": _required,
    "items": _items,
    "additionalProperties": _additional,
    "anyOf": lambda v, wanted, s, d: any(matches(v, each, d) for each in wanted),
    "allOf": lambda v, wanted, s, d: all(matches(v, each, d) for each in wanted),
    "enum": lambda v, wanted, s, d: v in wanted,
    "const": lambda v, wanted, s, d: v == wanted,
    "minimum": lambda v, wanted, s, d: not isinstance(v, (int, float)) or v >= wanted,
    "maximum": lambda v, wanted, s, d: not isinstance(v, (int, float)) or v <= wanted,
    "minLength": lambda v, wanted, s, d: not isinstance(v, str) or len(v) >= wanted,
    "maxLength": lambda v, wanted, s, d: not isinstance(v, str) or len(v) <= wanted,
    "maxItems": lambda v, wanted, s, d: not isinstance(v, list) or len(v) <= wanted,
    "pattern": lambda v, wanted, s, d: not isinstance(v, str) or bool(re.search(wanted, v)),
}
