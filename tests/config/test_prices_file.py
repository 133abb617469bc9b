"""Files with prices of your own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.config.prices_file import ModelPrices, read_prices
from gateway_sessions.errors import ConfigError
from gateway_sessions.prices import Rates


def written(folder: Path, text: str) -> str:
    path = folder / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_file_there_are_none(path: str | None) -> None:
    assert read_prices(path) == {}


def test_prices_are_read_as_yaml_and_as_json(tmp_path: Path) -> None:
    expected = {
        "my-llama": Rates(input=0.2, output=0.4),
        "a/b:1": Rates(input=1.0, output=2.0, cache_read=0.1, cache_write_1h=3.0),
    }
    yaml = (
        "my-llama: {input: 0.2, output: 0.4}\n"
        "a/b:1:\n  input: 1\n  output: 2\n  cache_read: 0.1\n  cache_write_1h: 3\n"
    )
    assert read_prices(written(tmp_path, yaml)) == expected
    json = (
        '{"my-llama": {"input": 0.2, "output": 0.4},'
        ' "a/b:1": {"input": 1, "output": 2, "cache_read": 0.1, "cache_write_1h": 3}}'
    )
    assert read_prices(written(tmp_path, json)) == expected


def test_home_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, "m: {input: 1, output: 2}")
    assert set(read_prices("~/prices.yaml")) == {"m"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("m: {input: 1}", "line 1: m needs the key output."),
        ("\nm: {input: x, output: 1}", 'line 2: m.input must be a number of at least 0, not "x".'),
        ("m: {input: 1, output: -1}", "line 1: m.output must be a number of at least 0, not -1."),
        ("m: {input: 1, output: 1, cache_raed: 1}", "did you mean m.cache_read?"),
        ("m: 3", "line 1: m must be a mapping, not 3."),
        ("- m", "line 1: a configuration is a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_prices(written(tmp_path, text))
    assert sentence in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can not be read"):
        read_prices(str(tmp_path / "none.yaml"))


def test_a_file_can_say_all_that_rates_have() -> None:
    assert ModelPrices.__struct_fields__ == Rates.__struct_fields__
