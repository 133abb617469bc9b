"""A file of each exchange by way of the process: whole, accounted for, and outliving trouble."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.background import NICENESS
from gateway_sessions.recording.filing import Filer
from gateway_sessions.recording.lane import PartlyWritten
from tests.recording.recordings import exchange


class Plain:
    """Makes a file of an exchange's id and request body; ``end`` comes after it."""

    def __init__(self, end: str) -> None:
        self._end = end

    def file(self, exchange: Exchange) -> tuple[str, bytes]:
        if exchange.model == "bad":
            raise KeyError("oh")
        return f"trace-{exchange.request_id}", exchange.request.body + self._end.encode()


def made(folder: Path, **options: Any) -> Filer:
    return Filer(folder, "trace", f"{__name__}:Plain", {"end": "!"}, **options)


@pytest.fixture
def filer(tmp_path: Path) -> Iterator[Filer]:
    filer = made(tmp_path / "d")
    filer.open()
    yield filer
    filer.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_are_there_when_write_returns(filer: Filer, tmp_path: Path) -> None:
    filer.write([exchange(str(number), b"x" * number) for number in range(300)])
    assert contents(tmp_path / "d") == {
        f"trace-{number}": b"x" * number + b"!" for number in range(300)
    }


def test_files_larger_than_the_pipe(filer: Filer, tmp_path: Path) -> None:
    bodies = [bytes([number]) * 3_000_000 for number in range(3)]
    filer.write([exchange(str(number), body) for number, body in enumerate(bodies)])
    assert contents(tmp_path / "d") == {
        f"trace-{number}": body + b"!" for number, body in enumerate(bodies)
    }


def test_modes(filer: Filer, tmp_path: Path) -> None:
    filer.write([exchange("a")])
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "d" / "trace-a").stat().st_mode) == 0o600


def test_an_error_says_how_many_were_written(filer: Filer, tmp_path: Path) -> None:
    with pytest.raises(PartlyWritten) as error:
        filer.write([exchange("a"), exchange("x" * 300), exchange("c")])
    assert error.value.written == 1
    assert isinstance(error.value.__cause__, OSError)
    assert str(tmp_path / "d") in str(error.value.__cause__)
    filer.write([exchange("d")])
    assert set(contents(tmp_path / "d")) == {"trace-a", "trace-d"}


@pytest.mark.parametrize("model", ["bad", 7])
def test_a_file_that_can_not_be_made_stops_the_batch_there(
    filer: Filer, tmp_path: Path, model: Any
) -> None:
    bad = exchange("b")
    bad.model = model
    with pytest.raises(PartlyWritten) as error:
        filer.write([exchange("a"), bad, exchange("c")])
    assert error.value.written == 1
    assert isinstance(error.value.__cause__, ValueError)
    filer.write([exchange("d")])
    assert "trace-d" in contents(tmp_path / "d")


def test_half_a_character_costs_the_character_only(filer: Filer, tmp_path: Path) -> None:
    filer.write([exchange("a", b"\xff", header="x\udce9y")])
    assert contents(tmp_path / "d") == {"trace-a": b"\xff!"}


def test_a_process_that_died_is_an_error_and_then_replaced(filer: Filer, tmp_path: Path) -> None:
    assert filer._process is not None
    os.kill(filer._process.pid, signal.SIGKILL)
    filer._process.wait()
    with pytest.raises(OSError, match=r"ended|Broken pipe"):
        filer.write([exchange("a")])
    filer.write([exchange("a")])
    assert contents(tmp_path / "d") == {"trace-a": b"!"}


def test_the_process_outlives_the_signals_of_its_group(filer: Filer, tmp_path: Path) -> None:
    assert filer._process is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(filer._process.pid, number)
    filer.write([exchange("a")])
    assert contents(tmp_path / "d") == {"trace-a": b"!"}


def test_traffic_goes_before_it(filer: Filer) -> None:
    filer.write([exchange("a")])
    assert filer._process is not None
    pid = filer._process.pid
    ours, its = os.getpriority(os.PRIO_PROCESS, 0), os.getpriority(os.PRIO_PROCESS, pid)
    assert its == min(19, ours + NICENESS)


def test_close_ends_the_process_and_is_idempotent(tmp_path: Path) -> None:
    filer = made(tmp_path)
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
    filer = made(tmp_path, max_age_seconds=86_400)
    filer.open()
    deadline = os.times().elapsed + 10
    while old.exists() and os.times().elapsed < deadline:
        pass
    filer.close()
    assert not old.exists()


def test_a_folder_that_can_not_be_written_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not write there"):
        made(tmp_path / "file" / "d").open()


def test_a_python_that_does_not_start_refuses_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in ("/bin/false", str(tmp_path / "nothing")):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(StartError, match="can not be started"):
            made(tmp_path).open()
