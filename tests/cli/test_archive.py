"""``archive``: past days are compressed, said in words or JSON, and nothing else is touched."""

from __future__ import annotations

import errno
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway_sessions.cli import archive
from gateway_sessions.cli.root import run as run_here
from gateway_sessions.pages.amounts import size
from gateway_sessions.recording.session_files import SessionFolder
from tests.cli.helpers import run, run_watched
from tests.recording.session_events import NOON_UNIX, completed, failed, put, started


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock far from midnight."""
    monkeypatch.setattr(time, "time", lambda: NOON_UNIX)


def ended(root: Path, name: str, ago: int) -> Path:
    """Write a session that ended so many days ago."""
    then = datetime.fromtimestamp(time.time(), UTC) - timedelta(days=ago)
    events = (started(name), failed(name, message="no " * 1000), completed(name))
    return put(root, *events, day=f"{then:%Y-%m-%d}", changed=then.timestamp())


def live(root: Path, name: str, ago: int) -> Path:
    """Write a session that began so many days ago and goes on."""
    now = datetime.fromtimestamp(time.time(), UTC)
    day = f"{now - timedelta(days=ago):%Y-%m-%d}"
    return put(root, started(name), failed(name), day=day, changed=now.timestamp())


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@pytest.mark.usefixtures("noon")
def test_past_days_are_compressed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [ended(tmp_path, name, ago) for name, ago in (("a", 9), ("b", 8), ("c", 1))]
    before = size(sum(path.stat().st_size for path in paths[:2]))
    live(tmp_path, "d", 9)
    assert run_here(["archive", "--directory", str(tmp_path)]) == 0
    assert names(tmp_path) == ["a.jsonl.zst", "b.jsonl.zst", "c.jsonl", "d.jsonl"]
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Compressed 2 files: {before} to ")
    assert shown.out.endswith("% saved; left 1 file alone: live, or not of a session.\n")
    assert shown.err == ""


@pytest.mark.usefixtures("noon")
def test_how_old_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended(tmp_path, "a", 1)
    ended(tmp_path, "b", 0)
    assert run_here(["archive", "--directory", str(tmp_path), "--older-than", "1"]) == 0
    assert names(tmp_path) == ["a.jsonl.zst", "b.jsonl"]
    assert run_here(["archive", "--directory", str(tmp_path), "--older-than", "0"]) == 0
    assert names(tmp_path) == ["a.jsonl.zst", "b.jsonl.zst"]
    assert run_here(["archive", "--directory", str(tmp_path), "--older-than", "-1"]) == 2
    assert "-1 is not in the range x>=0" in capsys.readouterr().err


def test_folder_and_age_are_those_of_the_configuration(tmp_path: Path) -> None:
    root = tmp_path / ".gateway-sessions" / "sessions"
    ended(root, "a", 3)
    retention = "session_recording.jsonl.retention.compress_after_days"
    assert run("archive", cwd=tmp_path).stdout == f"Nothing to compress in {root}.\n"
    done = run("archive", "--set", f"{retention}=3", cwd=tmp_path)
    assert (done.returncode, names(root)) == (0, ["a.jsonl.zst"])
    elsewhere = tmp_path / "elsewhere"
    ended(elsewhere, "b", 30)
    setting = f"session_recording.jsonl.directory={elsewhere}"
    assert run("archive", "--set", setting, cwd=tmp_path).returncode == 0
    assert names(elsewhere) == ["b.jsonl.zst"]


@pytest.mark.usefixtures("noon")
def test_a_dry_run_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ended(tmp_path, "a", 9).stat().st_size
    live(tmp_path, "b", 9)
    ended(tmp_path, "notes", 9).write_text("mine")
    arguments = ["archive", "--directory", str(tmp_path), "--dry-run"]
    assert run_here(arguments) == 0
    assert capsys.readouterr().out == (
        f"Would compress 1 file of {size(before)}; left 2 files alone: live, or not of a session.\n"
    )
    assert run_here([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "directory": str(tmp_path),
        "older_than_days": 7,
        "dry_run": True,
        "files": 1,
        "bytes_before": before,
        "bytes_after": None,
        "left": 2,
        "failed": 0,
        "problems": [],
    }
    assert names(tmp_path) == ["a.jsonl", "b.jsonl", "notes.jsonl"]


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended(tmp_path, "a", 9)
    assert run_here(["archive", "--directory", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (file,) = SessionFolder(tmp_path).all_files()
    assert (report["files"], report["bytes_after"]) == (1, file.size)


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
def test_what_can_not_be_done_is_told_and_is_exit_code_1(
    tmp_path: Path,
    extra: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = ended(tmp_path, "a", 9)
    ended(tmp_path, "b", 9)
    really_open = os.open

    def refuse(place: str | Path, *arguments: int, **more: int) -> int:
        if str(place).endswith("a.jsonl"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really_open(place, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert run_here(["archive", "--directory", str(tmp_path), *extra]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"Warning: {path}: can not be ")
    assert shown.err.endswith(": Input/output error.\n")
    assert "ompress" in shown.out


def test_a_file_that_vanishes_meanwhile_is_no_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(tmp_path, "a", 9)

    def gone(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(archive, "free", gone)
    assert run_here(["archive", "--directory", str(tmp_path), "--dry-run"]) == 0
    assert capsys.readouterr().out == f"Nothing to compress in {tmp_path}.\n"


def test_a_folder_that_is_not_there_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["archive", "--directory", str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().err == (
        f"Error: {tmp_path / 'gone'} can not be read (No such file or directory); name the folder"
        " of the session files with --directory\n"
    )


def test_a_long_wait_gets_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        ended(tmp_path, name, 9)
    times = iter([0.0, 0.5, 1.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    monkeypatch.setattr(archive, "wanted", lambda *, speaks: not speaks)
    made = []

    class Bar:
        def __init__(self) -> None:
            self.steps: list[object] = []
            made.append(self)

        def start(self) -> None:
            self.steps.append("start")

        def add_task(self, name: str, **fields: int) -> int:
            self.steps.append((name, fields))
            return 7

        def update(self, task: int, **fields: int) -> None:
            self.steps.append((task, fields))

        def stop(self) -> None:
            self.steps.append("stop")

    monkeypatch.setattr(archive, "bar", Bar)
    assert run_here(["archive", "--directory", str(tmp_path)]) == 0
    (bar,) = made
    assert bar.steps == [
        "start",
        ("compressing", {"total": 3, "completed": 1}),
        (7, {"completed": 2}),
        "stop",
    ]


def test_on_a_terminal_the_result_is_the_same(tmp_path: Path) -> None:
    ended(tmp_path, "a", 9)
    code, shown = run_watched("archive", "--directory", str(tmp_path), cwd=tmp_path)
    assert code == 0
    assert shown.startswith("Compressed 1 file: ")
