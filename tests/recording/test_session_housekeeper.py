"""Sweeps are made when they are due, on a thread of their own."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from pathlib import Path

import pytest

from gateway_sessions.recording import session_housekeeper
from gateway_sessions.recording.session_files import SessionFolder
from gateway_sessions.recording.session_housekeeper import Housekeeper
from gateway_sessions.recording.session_keeping import KeepLimits, SessionKeeper, Swept
from gateway_sessions.recording.unsynced import Unsynced
from tests.recording.session_events import A_DAY, DAY, NOON_UNIX, completed, failed, put, started
from tests.recording.writers import PATIENCE

NOW = NOON_UNIX
INTERVAL = 3600.0


def housekeeper(root: Path, **limits: float) -> Housekeeper:
    return Housekeeper(
        SessionFolder(root),
        KeepLimits(**limits),  # type: ignore[arg-type]
        INTERVAL,
        Unsynced(root),
    )


def test_a_sweep_is_due_at_first_and_then_once_per_interval(tmp_path: Path) -> None:
    keeping = housekeeper(tmp_path)
    times = [NOW, NOW + 1, NOW + INTERVAL - 1, NOW + INTERVAL, NOW + INTERVAL + 60]
    assert [keeping.work(now) is not None for now in times] == [True, False, False, True, False]


def test_a_clock_that_is_set_back_delays_no_sweep(tmp_path: Path) -> None:
    keeping = housekeeper(tmp_path)
    assert keeping.work(NOW) is not None
    assert keeping.work(NOW - 365 * A_DAY) is not None


def test_a_sweep_is_due_when_too_much_was_written(tmp_path: Path) -> None:
    size = put(tmp_path, started(), completed()).stat().st_size
    keeping = housekeeper(tmp_path, max_total_bytes=2 * size)
    assert keeping.work(NOW) is not None
    keeping.added(size)
    assert keeping.work(NOW) is None
    put(tmp_path, started("sess_b"), completed("sess_b"))
    put(tmp_path, started("sess_c"), completed("sess_c"), changed=NOW + 1)
    keeping.added(1)
    swept = keeping.work(NOW)
    assert swept is not None
    assert swept.deleted == 2
    assert keeping.work(NOW) is None


def test_live_sessions_above_the_limit_do_not_cause_sweep_after_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, started(), failed(message="x" * 2000))
    assert housekeeper(tmp_path, max_total_bytes=1).work(NOW) is not None
    assert "belong to live sessions or are not ours" in caplog.text
    keeping = housekeeper(tmp_path, max_total_bytes=1000)
    assert keeping.work(NOW) is not None
    keeping.added(99)
    assert keeping.work(NOW) is None
    keeping.added(1)
    assert keeping.work(NOW) is not None


def test_what_was_done_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name, ago in (("a", 40), ("b", 9), ("c", 0)):
        put(tmp_path, started(name), completed(name), day="2026-01-01", changed=NOW - ago * A_DAY)
    housekeeper(tmp_path, max_age_days=20, compress_after_days=7).work(NOW + 60)
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}: compressed 2 files (")
    assert "deleted 1 files past their keeping (" in message


def test_failures_are_logged_and_those_beyond_some_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def sweep(_: SessionKeeper, __: float) -> Swept:
        return Swept(failed=7, problems=["one can not.", "another can not."])

    monkeypatch.setattr(SessionKeeper, "sweep", sweep)
    housekeeper(tmp_path).work(NOW)
    assert caplog.messages == [
        "one can not.",
        "another can not.",
        f"{tmp_path}: 5 more files failed",
    ]


class Told:
    """Lets a test wait for the thread's work."""

    def __init__(self, keeping: Housekeeper, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: list[float] = []
        self.threads: set[str] = set()
        self.worked = threading.Semaphore(0)
        self._work = keeping.work
        monkeypatch.setattr(keeping, "work", self._told)

    def _told(self, now: float) -> Swept | None:
        self.times.append(now)
        self.threads.add(threading.current_thread().name)
        try:
            return self._work(now)
        finally:
            self.worked.release()

    def wait(self) -> None:
        assert self.worked.acquire(timeout=PATIENCE)


def test_the_thread_mends_at_once_and_works_at_each_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, started(), failed())
    before = path.read_bytes()
    path.write_bytes(before + b'{"half')
    keeping = housekeeper(tmp_path)
    told = Told(keeping, monkeypatch)
    keeping.start()
    for now in (NOW, NOW + 60):
        keeping.tick(now)
        told.wait()
    keeping.stop()
    assert path.read_bytes() == before
    assert told.times == [NOW, NOW + 60]
    assert told.threads == {"session-files"}


def test_files_that_rest_are_synced_and_a_failure_stops_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, started())
    unsynced = Unsynced(tmp_path)
    keeping = Housekeeper(SessionFolder(tmp_path), KeepLimits(), INTERVAL, unsynced)
    told = Told(keeping, monkeypatch)
    synced: list[int] = []

    def fail_once(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail_once)
    unsynced.changed(f"{DAY}/sess_a.jsonl")
    keeping.start()
    for expected in (0, 0, 1, 2, 2):
        keeping.tick(NOW)
        told.wait()
        assert len(synced) == expected
        unsynced.turn()
    keeping.stop()
    assert caplog.text.count("upkeep failed: [Errno 5]") == 1
    assert len(told.times) == 5


def test_an_end_without_a_tick_still_mends(tmp_path: Path) -> None:
    path = put(tmp_path, started(), failed())
    before = path.read_bytes()
    path.write_bytes(before + b'{"half')
    keeping = housekeeper(tmp_path)
    keeping.start()
    keeping.stop()
    assert path.read_bytes() == before


def test_a_folder_that_is_gone_is_logged_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = housekeeper(tmp_path / "gone")
    told = Told(keeping, monkeypatch)
    keeping.start()
    for number in range(2):
        keeping.tick(NOW + number * INTERVAL)
        told.wait()
    keeping.stop()
    assert caplog.text.count("upkeep failed") == 3  # mending too


def test_stopping_stops_a_sweep_between_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        put(tmp_path, started(name), completed(name), changed=NOW)
    keeping = housekeeper(tmp_path, compress_after_days=0)
    really_compress = SessionKeeper.compress

    def compress(keeper: SessionKeeper, *arguments: object) -> None:
        really_compress(keeper, *arguments)  # type: ignore[arg-type]
        keeping.stop()

    monkeypatch.setattr(SessionKeeper, "compress", compress)
    swept = keeping.work(NOW)
    assert swept is not None
    assert swept.compressed == 1


def test_stopping_what_was_never_started_is_nothing(tmp_path: Path) -> None:
    housekeeper(tmp_path).stop()


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_only_its_own_thread_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = housekeeper(tmp_path)
    told = Told(keeping, monkeypatch)
    seen: list[int] = []
    monkeypatch.setattr(
        SessionKeeper,
        "mend",
        lambda _: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())),
    )
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    keeping.start()
    keeping.tick(NOW)
    told.wait()
    keeping.stop()
    assert seen == [min(19, before + session_housekeeper._NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_a_system_without_priorities_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "setpriority", refuse, raising=False)
    keeping = housekeeper(tmp_path)
    told = Told(keeping, monkeypatch)
    keeping.start()
    keeping.tick(NOW)
    told.wait()
    keeping.stop()
