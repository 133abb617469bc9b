"""A key's description is read from its annotation."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from gateway_sessions.config.keys import (
    Key,
    Section,
    fields_of,
    leaves,
    section_in,
    section_list_in,
    words_for,
)


class Inner(Section, frozen=True, kw_only=True):
    """What is inside.

    And more about it.
    """

    size: Annotated[int, Meta(ge=1), Key("How large.")] = 7


class Outer(Section, frozen=True, kw_only=True):
    """The whole."""

    name: Annotated[str, Key("What it is called.", expected="a name")]
    inner: Inner = Inner()
    several: Annotated[tuple[Inner, ...], Key("Many.")] = ()
    table: Annotated[dict[str, str], Key("Pairs.")] = msgspec.field(default_factory=dict)


def test_fields_stand_in_the_order_of_the_class() -> None:
    assert list(fields_of(Outer)) == ["name", "inner", "several", "table"]


def test_a_field_knows_its_explanation_and_default() -> None:
    field = fields_of(Inner)["size"]
    assert (field.key.help, field.default) == ("How large.", 7)


def test_a_field_without_a_default_says_so() -> None:
    assert fields_of(Outer)["name"].default is msgspec.NODEFAULT


def test_a_default_that_is_made_anew_is_made() -> None:
    assert fields_of(Outer)["table"].default == {}


def test_a_nested_section_is_explained_by_its_first_line() -> None:
    assert fields_of(Outer)["inner"].key.help == "What is inside."


def test_leaves_open_nested_sections_but_not_lists() -> None:
    assert [key for key, _ in leaves(Outer)] == ["name", "inner.size", "several", "table"]


def test_sections_are_told_from_values() -> None:
    assert section_in(Annotated[Inner, Key("x")]) is Inner
    assert section_in(int) is None
    assert section_list_in(tuple[Inner, ...]) is Inner
    assert section_list_in(tuple[str, ...]) is None
    assert section_list_in(str) is None


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (bool, "true or false"),
        (str, "text"),
        (int, "a whole number"),
        (Annotated[int, Meta(ge=0, le=9)], "a whole number from 0 to 9"),
        (Annotated[int, Meta(ge=1)], "a whole number of at least 1"),
        (Annotated[float, Meta(gt=0)], "a number above 0"),
        (Annotated[int, Meta(ge=1)] | None, "a whole number of at least 1 or null"),
        (str | None, "text or null"),
        (Literal["a", "b"], "one of a, b"),
        (tuple[str, ...], "a list of texts"),
        (tuple[Inner, ...], "a list"),
        (dict[str, str], "a mapping"),
        (Inner, "a mapping"),
    ],
)
def test_types_are_said_in_words(annotation: object, words: str) -> None:
    assert words_for(annotation) == words


def test_own_words_go_before_those_of_the_type() -> None:
    assert fields_of(Outer)["name"].expected == "a name"
