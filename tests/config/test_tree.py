"""Values with their places: merging and addressing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.config.tree import Node, from_value, merged, places, plain, with_value
from gateway_sessions.errors import ConfigError


def tree(value: Any, place: str = "file") -> Node:
    return from_value(value, place)


def test_values_survive_the_way_there_and_back() -> None:
    value = {"a": [1, {"b": None}], "c": "text"}
    assert plain(tree(value)) == value


def test_sequences_and_paths_of_python_become_lists_and_texts() -> None:
    assert plain(tree({"a": (1, 2), "b": Path("x/y")})) == {"a": [1, 2], "b": "x/y"}


def test_a_mapping_without_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(ConfigError) as caught:
        tree(endless, "the configuration")
    assert str(caught.value) == "the configuration is nested deeper than 50 levels."


def test_mappings_merge_and_lists_are_replaced() -> None:
    below = tree({"a": {"x": 1, "y": 2}, "list": [1, 2]})
    above = tree({"a": {"y": 3}, "list": [9]}, "option")
    assert plain(merged(below, above)) == {"a": {"x": 1, "y": 3}, "list": [9]}


def test_each_value_keeps_its_own_place() -> None:
    both = merged(tree({"a": {"x": 1, "y": 2}}), tree({"a": {"y": 3}}, "option"))
    assert dict(places(both)) == {"a.x": "file", "a.y": "option"}


def test_places_name_items_of_lists_by_number() -> None:
    assert dict(places(tree({"a": [{"b": 1}], "c": {}, "d": []}))) == {
        "a.0.b": "file",
        "c": "file",
        "d": "file",
    }


def test_setting_makes_the_mappings_on_the_way() -> None:
    assert plain(with_value(tree({}), ("a", "b"), tree(1))) == {"a": {"b": 1}}


@pytest.mark.parametrize("item", ["1", "two", "second"])
def test_an_item_is_found_by_number_name_or_type(item: str) -> None:
    before = tree({"list": [{"type": "one"}, {"type": "two", "name": "second"}]})
    after = plain(with_value(before, ("list", item, "on"), tree(True)))
    assert after["list"] == [{"type": "one"}, {"type": "two", "name": "second", "on": True}]


@pytest.mark.parametrize(
    ("items", "known"),
    [([{"type": "one"}, 5], "one, 1"), ([], "none")],
)
def test_an_item_that_is_not_there_is_an_error(items: list[Any], known: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_value(tree({"list": items}), ("list", "three", "on"), tree(True, "option --set x"))
    assert (
        str(caught.value) == f"option --set x: the list has no item three; its items are {known}."
    )
