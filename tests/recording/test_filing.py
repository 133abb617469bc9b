"""Many files by way of the process: written whole, accounted for, and outliving trouble."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.recording.filing import Filer
from gateway_sessions.recording.lane import PartlyWritten


@pytest.fixture
def filer(tmp_path: Path) -> Iterator[Filer]:
    made = Filer(tmp_path / "d", "trace")
    made.open()
    yield made
    made.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_are_there_when_write_returns(filer: Filer, tmp_path: Path) -> None:
    files = {f"trace-{number}": b"x" * number for number in range(300)}
    filer.write(files.items())
    assert contents(tmp_path / "d") == files


def test_files_larger_than_the_pipe(filer: Filer, tmp_path: Path) -> None:
    files = {f"trace-{number}": bytes([number]) * 3_000_000 for number in range(3)}
    filer.write(files.items())
    assert contents(tmp_path / "d") == files


def test_modes(filer: Filer, tmp_path: Path) -> None:
    filer.write([("trace-a", b"1")])
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "d" / "trace-a").stat().st_mode) == 0o600


def test_an_error_says_how_many_were_written(filer: Filer, tmp_path: Path) -> None:
    with pytest.raises(PartlyWritten) as error:
        filer.write([("trace-a", b"1"), ("x" * 300, b"2"), ("trace-c", b"3")])
    assert error.value.written == 1
    assert isinstance(error.value.__cause__, OSError)
    assert str(tmp_path / "d") in str(error.value.__cause__)
    filer.write([("trace-d", b"4")])
    assert set(contents(tmp_path / "d")) == {"trace-a", "trace-d"}


def test_content_that_can_not_be_made_stops_the_batch_there(filer: Filer, tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield "trace-a", b"1"
        raise KeyError("oh")

    with pytest.raises(PartlyWritten) as error:
        filer.write(files())
    assert error.value.written == 1
    assert isinstance(error.value.__cause__, KeyError)
    filer.write([("trace-b", b"2")])
    assert set(contents(tmp_path / "d")) == {"trace-a", "trace-b"}


def test_a_process_that_died_is_an_error_and_then_replaced(filer: Filer, tmp_path: Path) -> None:
    assert filer._process is not None
    os.kill(filer._process.pid, signal.SIGKILL)
    filer._process.wait()
    with pytest.raises(OSError, match=r"ended|Broken pipe"):
        filer.write([("trace-a", b"1")])
    filer.write([("trace-a", b"1")])
    assert contents(tmp_path / "d") == {"trace-a": b"1"}


def test_the_process_outlives_the_signals_of_its_group(filer: Filer, tmp_path: Path) -> None:
    assert filer._process is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(filer._process.pid, number)
    filer.write([("trace-a", b"1")])
    assert contents(tmp_path / "d") == {"trace-a": b"1"}


def test_close_ends_the_process_and_is_idempotent(tmp_path: Path) -> None:
    filer = Filer(tmp_path, "trace")
    filer.open()
    process = filer._process
    assert process is not None
    filer.close()
    filer.close()
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_old_files_are_deleted_in_the_background(tmp_path: Path) -> None:
    old = tmp_path / "trace-2024-01-20T10-30-45-123Z-req_1.json"
    old.write_text("{}")
    os.utime(old, (0, 0))
    filer = Filer(tmp_path, "trace", max_age_seconds=86_400)
    filer.open()
    deadline = os.times().elapsed + 10
    while old.exists() and os.times().elapsed < deadline:
        pass
    filer.close()
    assert not old.exists()


def test_a_folder_that_can_not_be_written_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not write there"):
        Filer(tmp_path / "file" / "d", "trace").open()


def test_a_python_that_does_not_start_refuses_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in ("/bin/false", str(tmp_path / "nothing")):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(StartError, match="can not be started"):
            Filer(tmp_path, "trace").open()
