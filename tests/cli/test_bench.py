"""``bench`` compares the way through the gateway with the direct one, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway_sessions.cli.root import run as run_here
from tests.cli.helpers import INSTALLED, run

SHORT = ("--seconds", "0.2", "--connections", "2")


def test_both_ways_are_measured_alone_and_together(tmp_path: Path) -> None:
    done = run("bench", *SHORT, "--json", "--stream", cwd=tmp_path, command=INSTALLED)
    assert done.returncode == 0, done.stderr
    alone, together = json.loads(done.stdout)
    assert (alone["connections"], together["connections"]) == (1, 2)
    for load in (alone["direct"], alone["gateway"], together["direct"], together["gateway"]):
        assert load["requests"] >= 4
        assert load["failed"] == 0
        assert 0 < load["p50_ms"] <= load["p99_ms"]
    assert list(tmp_path.iterdir()) == []


def test_people_are_told_what_is_added(tmp_path: Path) -> None:
    done = run("bench", "--seconds", "0.1", "--connections", "1", "--kilobytes", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The gateway adds " in done.stdout
    ways = [line.split()[1] for line in done.stdout.splitlines()[1:3]]
    assert ways == ["direct", "gateway"]


def test_requests_that_fail_are_the_exit_code(tmp_path: Path) -> None:
    limits = "rate_limiting.per_session.requests_per_minute=1"
    done = run("bench", *SHORT, "--set", limits, cwd=tmp_path)
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("server.prot=1", "did you mean server.port?"),
        ("interceptors=[{type: trace, config: {directory: /proc/x}}]", "/proc/x: can not write"),
    ],
)
def test_a_gateway_that_can_not_start_is_one_sentence(
    setting: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["bench", *SHORT, "--set", setting]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error
