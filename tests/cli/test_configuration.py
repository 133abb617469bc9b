"""``check-config`` and ``generate-config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gateway_sessions.cli.root import run as run_here
from gateway_sessions.config import Config, as_yaml, effective, example
from tests.cli.helpers import run


def test_the_effective_configuration_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["check-config"]) == 0
    assert capsys.readouterr() == (as_yaml(Config()), "")


def test_it_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["check-config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == effective(Config())


def test_file_environment_and_options_are_in_it_and_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("server: {host: localhost, port: 1}\nadmin: {token: canary}\n")
    done = run(
        "check-config",
        "--config",
        "f.yaml",
        "--set",
        "server.port=3",
        cwd=tmp_path,
        GATEWAY_SESSIONS_LOGGING__LEVEL="DEBUG",
    )
    shown = yaml.safe_load(done.stdout)
    assert (shown["server"]["host"], shown["server"]["port"]) == ("localhost", 3)
    assert shown["logging"]["level"] == "DEBUG"
    assert "canary" not in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_what_should_be_known_of_settings_is_said_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = "session.persistence"
    values = {"enabled": "true", "backend": "redis", "connection": "redis://127.0.0.1:1/0"}
    settings = [f"--set={block}.{key}={value}" for key, value in values.items()]
    assert run_here(["check-config", *settings]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith(
        f"Warning: option --set {block}.backend: {block}.backend redis shares sessions among"
    )
    assert yaml.safe_load(shown.out)["session"]["persistence"]["backend"] == "redis"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "server: {prt: 1}\n",
            "f.yaml, line 1: unknown key server.prt; did you mean server.port?",
        ),
        (
            "interceptors:\n  - type: trace\n    config:\n      directry: x\n",
            (
                "f.yaml, line 4: interceptor trace: there is no option 'directry'; did you mean"
                " 'directory'?"
            ),
        ),
        (
            "interceptors:\n  - type: trcae\n",
            (
                "f.yaml, line 2: interceptors: there is no type 'trcae'; did you mean 'trace'?;"
                " give one of your own as package.module:Class."
            ),
        ),
    ],
)
def test_a_wrong_file_is_one_sentence_and_exit_code_2(
    text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "f.yaml").write_text(text)
    done = run("check-config", "--config", "f.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"Error: {sentence}\n")


def test_own_endpoints_for_everybody_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["check-config", "--set", "admin.listen=0.0.0.0:9"]) == 2
    assert capsys.readouterr() == (
        "",
        (
            "Error: admin.listen 0.0.0.0:9 can be reached from other machines; set admin.token, or"
            " listen on 127.0.0.1.\n"
        ),
    )


def test_the_example_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["generate-config"]) == 0
    assert capsys.readouterr() == (example(), "")
