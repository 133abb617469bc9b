"""What a configuration key is: its explanation, its limits, and how both are said in words.

The schema annotates every field with a `Key`.  The loader, the generated example file and the
error sentences all read it there, so that a key is described in exactly one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

FREE_FORM = dict[str, Any]
"""The type of a block whose keys somebody else knows: the options of an interceptor."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every block of the configuration: a mapping with a fixed set of keys."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a field's type can not say about it."""

    help: str
    """One line for the user; it becomes the comment in the generated file."""
    secret: bool = False
    """True where the value must never be shown: not in dumps, not in errors, not in logs."""
    expected: str = ""
    """What the value has to be, in words, where the words made from the type fall short."""
    check: Callable[[Any], str | None] | None = None
    """Looks at a value of the right type; returns what it has to be if it is wrong."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a section, taken apart."""

    name: str
    type: Any
    """The annotation, limits included, as `msgspec.convert` wants it."""
    key: Key
    default: Any
    """`msgspec.NODEFAULT` where the user has to give a value."""

    @property
    def expected(self) -> str:
        """What a value has to be, in words: ``a whole number from 0 to 65535``."""
        return self.key.expected or words_for(self.type)


@cache
def fields_of(section: type[Section]) -> dict[str, Field]:
    """Return the keys of a section by name, in the order in which they are written."""
    hints = get_type_hints(section, include_extras=True)
    return {
        field.name: Field(field.name, hints[field.name], _key(hints[field.name]), _default(field))
        for field in msgspec.structs.fields(section)
    }


def leaves(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yield every key below a section as ``("server.port", field)``, nested sections opened."""
    for field in fields_of(section).values():
        inner = section_in(field.type)
        if inner is None:
            yield prefix + field.name, field
        else:
            yield from leaves(inner, f"{prefix}{field.name}.")


def bare(annotation: Any) -> Any:
    """Return a type without its ``Annotated`` wrapping."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def section_in(annotation: Any) -> type[Section] | None:
    """Return the section that a type is, or None for plain values."""
    kind = bare(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def section_list_in(annotation: Any) -> type[Section] | None:
    """Return the section that a type is a list of, or None."""
    kind = bare(annotation)
    return section_in(get_args(kind)[0]) if get_origin(kind) is tuple else None


def words_for(annotation: Any) -> str:
    """Say in words which values a type takes."""
    kind, metas = bare(annotation), _metas(annotation)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        plain = [words_for(argument) for argument in arguments if argument is not NoneType]
        return " or ".join([*plain, *(["null"] if NoneType in arguments else [])])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return "a list" if section_in(arguments[0]) else f"a list of {_PLURALS[arguments[0]]}"
    if kind in (int, float):
        return _SINGULARS[kind] + _limits(metas)
    return _SINGULARS.get(kind) or _SINGULARS.get(origin) or "a mapping"


_SINGULARS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
}
_PLURALS: dict[Any, str] = {str: "texts", int: "whole numbers"}


def _limits(metas: list[msgspec.Meta]) -> str:
    low = next((meta.ge for meta in metas if meta.ge is not None), None)
    above = next((meta.gt for meta in metas if meta.gt is not None), None)
    high = next((meta.le for meta in metas if meta.le is not None), None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" above {above}" if above is not None else ""


def _metas(annotation: Any) -> list[msgspec.Meta]:
    if get_origin(annotation) is not Annotated:
        return []
    return [extra for extra in get_args(annotation)[1:] if isinstance(extra, msgspec.Meta)]


def _key(annotation: Any) -> Key:
    extras = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    own = next((extra for extra in extras if isinstance(extra, Key)), None)
    if own is not None:
        return own
    inner = section_in(annotation)
    return Key((inner.__doc__ or "").split("\n")[0] if inner else "")


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
