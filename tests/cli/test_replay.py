"""``replay``: a log's requests go to a server again, and what it answers is compared."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.root import run as run_here
from tests.cli.helpers import INSTALLED, run, service
from tests.cli.test_detect import FIRST, OTHER, SECOND, log

FAILED: dict[str, Any] = OTHER | {"response": {"status": 500, "duration_ms": 1}}


@pytest.fixture
def exchanges(tmp_path: Path) -> Path:
    path = tmp_path / "calls.jsonl"
    path.write_text(log(FIRST, SECOND, OTHER), encoding="utf-8")
    return path


def test_conversations_find_their_sessions_again(exchanges: Path, tmp_path: Path) -> None:
    header = "Authorization: Bearer sk-mine"
    with service("serve", "--port", "0", cwd=tmp_path, command=INSTALLED) as gateway:
        told = run("replay", str(exchanges), "--to", gateway.url, "--header", header, cwd=tmp_path)
        lines = run("replay", str(exchanges), "--to", gateway.url, "--json", cwd=tmp_path)
        gateway.stop(signal.SIGTERM)
    assert told.returncode == 0, told.stderr
    assert "3 requests sent, answers: 3 × 200." in told.stdout
    assert "Every answer has the status that the log has." in told.stdout
    assert "Sessions named by the server: " in told.stdout
    results = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [one["request_id"] for one in results] == ["r1", "r2", "r3"]
    assert all(one["session_id"].startswith("sess_") for one in results)
    traces = [json.loads(path.read_text()) for path in (tmp_path / "traces").glob("*.json")]
    scopes = {trace["client"]["scope"] for trace in traces}
    assert len(scopes) == 2  # the one with the header, and that of the log's own (hidden) key


def test_another_status_is_a_problem_and_is_listed(tmp_path: Path) -> None:
    with service("serve", "--port", "0", cwd=tmp_path) as gateway:
        done = run("replay", "-", "--to", gateway.url, cwd=tmp_path, stdin=log(FIRST, FAILED))
    assert done.returncode == 1
    assert "Other than in the log: 1." in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("r3"))
    assert row.split() == ["r3", "/v1/chat/completions", "500", "200"]


def test_a_server_that_is_not_there_is_a_problem_for_each_request(tmp_path: Path) -> None:
    many = "".join(log(FIRST | {"request_id": f"r{number}"}) for number in range(25))
    done = run("replay", "-", "--to", "http://127.0.0.1:1", cwd=tmp_path, stdin=many)
    assert done.returncode == 1
    assert "25 × none" in done.stdout
    assert "… and 5 more; --json tells all." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "localhost:3000"), "it must be a URL, as http://localhost:3000."),
        (("--to", "http://localhost:1", "--header", "X-Key"), "'X-Key' has no value"),
        (("--to", "http://localhost:1", "--speed", "0"), "--speed"),
        ((), "Missing option '--to'"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: tuple[str, ...],
    said: str,
    exchanges: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_here(["replay", str(exchanges), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_log_without_exchanges_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    assert run_here(["replay", str(empty), "--to", "http://127.0.0.1:1"]) == 2
    assert "hold no exchange" in capsys.readouterr().err
