"""The configuration as text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from gateway_sessions.config import (
    Config,
    as_json,
    as_yaml,
    effective,
    example,
    load,
    notices,
)
from gateway_sessions.config.keys import leaves
from gateway_sessions.config.schema import Admin

FILES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))


def test_the_effective_configuration_can_be_read_back() -> None:
    assert load(yaml.safe_load(as_yaml(Config())), environ={}).config == Config()


def test_yaml_and_json_say_the_same() -> None:
    config = Config(admin=Admin(token="letmein"))
    assert yaml.safe_load(as_yaml(config)) == json.loads(as_json(config)) == effective(config)


def test_secrets_are_not_in_either() -> None:
    config = Config(secret="canary-canary-canary")
    assert "canary" not in as_yaml(config) + as_json(config)


def test_whole_numbers_are_written_as_people_write_them() -> None:
    assert "session_ttl_seconds: 3600\n" in as_yaml(Config())
    assert "fuzzy_threshold: 0.8\n" in as_yaml(Config())


def test_the_example_is_the_default_configuration_and_asks_for_nothing_missing() -> None:
    loaded = load(yaml.safe_load(example()), environ={})
    assert loaded.config == Config()


def test_the_example_has_every_key() -> None:
    places = load(yaml.safe_load(example()), environ={}).places
    named = {key for key, _ in leaves(Config)} - {"upstreams", "interceptors"}
    assert named <= {re.sub(r"\.\d+$", "", key) for key in places}


def test_every_key_of_the_example_is_explained_in_lines_that_fit() -> None:
    lines = example().splitlines()
    assert max(map(len, lines)) <= 100
    for number, line in enumerate(lines):
        if re.match(r"  port: ", line):
            assert lines[number - 1] == "  # Port to listen on; 0 takes a free one."
    assert all(field.key.help.endswith(".") for _, field in leaves(Config))


def test_the_generated_file_is_up_to_date() -> None:
    path = Path(__file__).parents[2] / "config" / "gateway.yaml"
    assert path.read_text() == example(), (
        "run: gateway-sessions generate-config > config/gateway.yaml"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_in_the_config_folder_loads_and_has_effect(path: Path) -> None:
    environ = {"UPSTREAM_URL": "http://upstream:4000", "GATEWAY_TOKEN": "a token"}
    assert notices(load(path, environ=environ)) == []


def test_there_are_files_in_the_config_folder() -> None:
    names = {"gateway.yaml", "litellm.yaml", "openai.yaml", "ollama.yaml", "redaction.yaml"}
    assert names <= {path.name for path in FILES}
