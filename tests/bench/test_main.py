"""The command of the benchmarks runs what is asked for and writes down what counts."""

from __future__ import annotations

import sys

import pytest

from bench import __main__ as command
from bench import report


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found: dict[str, str] = {}
    parts = {
        name: lambda *, quick, name=name: f"{name} {quick}" for name in ("memory", "detection")
    }
    monkeypatch.setattr(command, "PARTS", parts)
    monkeypatch.setattr(report, "publish", lambda name, block: found.update({name: block}))
    return found


def test_everything_is_measured_and_written(
    written: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench"])
    command.main()
    assert written == {"memory": "memory False", "detection": "detection False"}


def test_a_quick_run_of_one_part_is_only_printed(
    written: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "memory", "--quick"])
    command.main()
    assert written == {}
    out = capsys.readouterr().out
    assert "memory True" in out
    assert "detection" not in out


def test_an_unknown_part_is_refused(
    written: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "speed"])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert written == {}
