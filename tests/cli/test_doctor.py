"""``doctor`` finds what is wrong with a set-up, and nothing where all is well."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.root import run as run_here
from tests.cli.helpers import INSTALLED, run, service


def findings(text: str) -> dict[str, dict[str, Any]]:
    return {one["what"]: one for one in json.loads(text)}


def test_nothing_is_wrong_with_a_new_set_up_and_nothing_is_left(tmp_path: Path) -> None:
    done = run("doctor", "--set", "server.port=0", cwd=tmp_path, command=INSTALLED)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("Problems: 0, ")
    assert list(tmp_path.iterdir()) == []


def test_a_running_gateway_is_asked_how_it_is(tmp_path: Path) -> None:
    token = ("--set", "admin.token=t0ken")
    with service("serve", "--port", "0", *token, cwd=tmp_path) as gateway:
        port = gateway.url.rpartition(":")[2]
        arguments = ("doctor", "--json", "--set", f"server.port={port}", *token)
        done = run(*arguments, cwd=tmp_path)
        gateway.stop(signal.SIGTERM)
    found = findings(done.stdout)
    assert done.returncode == 0, found
    assert found[f"port {port}"]["said"] == "a gateway is running on it."
    assert found["database"]["said"].endswith("holds 0 sessions.")


def test_problems_are_told_with_their_cure_and_are_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "sessions.db"
    database.write_text("no database", encoding="utf-8")
    settings = (
        "server.port=0",
        "upstream=http://127.0.0.1:1",
        f"state_directory={tmp_path}/state",
        f"session_recording.sqlite.path={database}",
        f"session_recording.jsonl.directory={tmp_path}/sessions",
    )
    arguments = [option for setting in settings for option in ("--set", setting)]
    assert run_here(["doctor", *arguments]) == 1
    shown = capsys.readouterr().out
    assert "PROBLEM  upstream http://127.0.0.1:1" in shown
    assert "start it, or mend its URL" in shown
    assert "PROBLEM  database" in shown
    assert "Problems: 2" in shown


def test_a_wrong_configuration_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["doctor", "--set", "server.prot=1"]) == 2
    assert "server.prot" in capsys.readouterr().err
