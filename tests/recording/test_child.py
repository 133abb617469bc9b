"""The recorder process itself."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gateway_sessions.recording.child import Child


def test_without_settings_it_ends_by_itself() -> None:
    child = Child()
    child.socket.shutdown(1)
    child.end(30)
    assert child.process.returncode == 0


def test_one_that_does_not_end_is_killed() -> None:
    child = Child()
    child.end(0)
    assert child.process.returncode == -signal.SIGKILL


def test_one_that_can_not_be_started_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        Child()
