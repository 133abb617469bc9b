"""From configuration to interceptors; every mistake in it is one sentence that helps."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway_sessions import plugins
from gateway_sessions.errors import ConfigError
from gateway_sessions.telemetry import Telemetry

HERE = __name__


@dataclass
class Section:
    type: str
    enabled: bool = True
    config: dict[str, Any] = field(default_factory=dict)


class Example:
    """An interceptor with options of many types."""

    made: list[Example] = []  # noqa: RUF012 - a notebook of this module

    def __init__(
        self,
        needed: str,
        count: int = 1,
        ratio: float = 0.5,
        mode: Literal["a", "b"] = "a",
        names: list[str] | None = None,
        folder: Path = Path(),
        *,
        switch: bool = False,
    ) -> None:
        self.values = (needed, count, ratio, mode, names, folder, switch)
        if needed == "explode":
            raise RuntimeError("boom")
        if needed == "refuse":
            raise ConfigError("needed may not be refuse")
        Example.made.append(self)


class Plain:
    """An interceptor without options."""


class Child(Example):
    """Takes the options of its parent."""


def anything(**options: Any) -> Plain:
    """A factory that takes any option."""
    plain = Plain()
    plain.__dict__.update(options)
    return plain


EXAMPLE = f"{HERE}:Example"


def load(*sections: Section) -> Any:
    return plugins.load(sections, Telemetry())


def names_of(chain: Any) -> list[str]:
    return [name for name, _ in chain._named]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this module importable by its name, however pytest has loaded it."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[HERE])
    Example.made.clear()


def test_the_order_of_the_configuration_is_kept_and_what_always_runs_is_added() -> None:
    chain = load(Section("printer"), Section("redact"), Section(f"{HERE}:Plain"))
    assert names_of(chain) == ["printer", "redact", f"{HERE}:Plain", *plugins.ALWAYS]


def test_what_always_runs_is_not_added_twice_and_can_be_switched_off() -> None:
    chain = load(Section("prometheus"), Section("redact"))
    assert names_of(chain) == ["prometheus", "redact", "dashboard"]
    assert names_of(load(Section("prometheus", enabled=False))) == ["dashboard"]
    assert names_of(load(Section("dashboard", enabled=False))) == ["prometheus"]


def test_extras_of_the_host_come_last() -> None:
    chain = plugins.load([], Telemetry(), extra=[("own", Plain())])
    assert names_of(chain) == [*plugins.ALWAYS, "own"]


def test_two_of_a_kind_get_two_names() -> None:
    assert names_of(load(Section("redact"), Section("redact"))) == [
        "redact",
        "redact-2",
        *plugins.ALWAYS,
    ]


def test_disabled_ones_are_not_made_but_named() -> None:
    chain = load(Section(EXAMPLE, enabled=False, config={"needed": "explode"}))
    assert Example.made == []
    assert chain._disabled == (EXAMPLE,)


@pytest.mark.parametrize("place", [EXAMPLE, f"{HERE}.Example"])
def test_a_class_is_found_by_its_place(place: str) -> None:
    load(Section(place, config={"needed": "x"}))
    assert len(Example.made) == 1


def test_options_are_converted_to_the_types_of_the_constructor() -> None:
    load(
        Section(
            EXAMPLE,
            config={
                "needed": "x",
                "count": 3,
                "ratio": 1,
                "mode": "b",
                "names": ["n"],
                "folder": "~/f",
                "switch": True,
            },
        )
    )
    assert Example.made[0].values == ("x", 3, 1.0, "b", ["n"], Path.home() / "f", True)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"needed": "x", "cuont": 3}, ["cuont", "did you mean 'count'?"]),
        ({"needed": "x", "zzz": 3}, ["'zzz'", "needed, count, ratio"]),
        ({"needed": "x", "count": "3"}, ["'count'", "expected int, got str"]),
        ({"needed": "x", "count": True}, ["'count'", "expected int, got bool"]),
        ({"needed": "x", "switch": "yes"}, ["'switch'", "expected bool, got str"]),
        ({"needed": "x", "mode": "c"}, ["'mode'", "invalid enum value 'c'"]),
        ({"needed": "x", "names": [1]}, ["'names'", "expected str, got int"]),
        ({"needed": "x", "folder": 7}, ["'folder'", "expected Path, got 7"]),
        ({}, ["'needed' is missing"]),
        ({"needed": "refuse"}, ["needed may not be refuse"]),
        ({"needed": "explode"}, ["can not be made", "boom"]),
    ],
)
def test_wrong_options_name_interceptor_and_key(config: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load(Section(EXAMPLE, config=config))
    text = str(error.value)
    assert "\n" not in text
    for word in [EXAMPLE, *words]:
        assert word in text


def test_an_interceptor_without_options_says_so() -> None:
    with pytest.raises(ConfigError, match="it has no options"):
        load(Section(f"{HERE}:Plain", config={"x": 1}))


def test_inherited_options_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="expected int"):
        load(Section(f"{HERE}:Child", config={"needed": "x", "count": "3"}))


def test_a_factory_may_take_anything() -> None:
    chain = load(Section(f"{HERE}:anything", config={"x": 1}))
    assert chain._named[0][1].x == 1


def test_options_of_a_disabled_one_are_checked_if_it_is_there() -> None:
    with pytest.raises(ConfigError, match="max_body_size"):
        load(Section("trace", enabled=False, config={"max_body_sise": 1}))
    assert names_of(load(Section("not.there:X", enabled=False))) == [*plugins.ALWAYS]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tarce", ["'tarce'", "did you mean 'trace'?", "package.module:Class"]),
        ("qqqqqq", ["'qqqqqq'", "package.module:Class"]),
        ("no.such.module:X", ["ModuleNotFoundError"]),
        (f"{HERE}:Nothing", ["AttributeError"]),
        (f"{HERE}:HERE", ["is not a class"]),
        (":X", ["can not be loaded"]),
        ("..", ["can not be loaded"]),
    ],
)
def test_an_unknown_type_is_one_sentence(kind: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load(Section(kind))
    assert all(word in str(error.value) for word in [kind, *words])
    assert "\n" not in str(error.value)


def test_entry_points_come_before_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("trace", f"{HERE}:Plain", plugins.GROUP)

    def entry_points(**wanted: str) -> list[importlib.metadata.EntryPoint]:
        return [entry] if wanted.get("name", "trace") == "trace" else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    assert plugins.find("trace") is Plain
    with pytest.raises(ConfigError, match="did you mean 'trace'"):
        plugins.find("trase")


def test_those_in_the_box_are_found_without_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda **wanted: [])
    for name, place in plugins.BUILT_IN.items():
        assert plugins.find(name).__qualname__ == place.partition(":")[2]


def test_the_table_equals_the_projects_entry_points() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["project"]["entry-points"][plugins.GROUP] == plugins.BUILT_IN
