"""The oldest go first, only ours go, and only as many as needed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gateway_sessions.recording.retention import LOW_WATER, Retention
from tests.recording.writers import PATIENCE

NOW = 1_700_000_000.0
DAY = 86_400.0


def put(folder: Path, name: str, age: float, size: int = 100) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


def retention(
    folder: Path, max_age: float | None = None, max_total: int | None = None
) -> Retention:
    return Retention(
        folder,
        lambda name: name.startswith("trace-"),
        max_age_seconds=max_age,
        max_total_bytes=max_total,
        clock=lambda: NOW,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_too_old_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    put(tmp_path, "trace-1", 31 * DAY)
    put(tmp_path, "trace-2", 29 * DAY)
    put(tmp_path, "notes.txt", 400 * DAY)
    assert retention(tmp_path, max_age=30 * DAY).sweep() == 1
    assert names(tmp_path) == {"trace-2", "notes.txt"}


def test_the_oldest_of_too_much_go_down_to_low_water(tmp_path: Path) -> None:
    for hours in range(20):
        put(tmp_path, f"trace-{hours:02d}", age=hours * 3600 + 60)
    put(tmp_path, "others", age=900 * DAY, size=100_000)
    assert retention(tmp_path, max_total=1000).sweep() == 20 - int(1000 * LOW_WATER / 100)
    assert names(tmp_path) == {f"trace-{hours:02d}" for hours in range(9)} | {"others"}


def test_within_one_hour_it_goes_by_the_second(tmp_path: Path) -> None:
    start = NOW % 3600  # so that all of them fall into one hour
    for second in range(10):
        put(tmp_path, f"trace-{second}", age=start - second - 1)
    retention(tmp_path, max_total=500).sweep()
    assert names(tmp_path) == {f"trace-{second}" for second in (6, 7, 8, 9)}


def test_under_the_limit_nothing_goes(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path, f"trace-{number}", age=number * 3600)
    assert retention(tmp_path, max_age=DAY, max_total=1000).sweep() == 0


def test_age_comes_first_and_may_be_enough(tmp_path: Path) -> None:
    put(tmp_path, "trace-old", age=40 * DAY, size=900)
    put(tmp_path, "trace-new", age=DAY, size=900)
    assert retention(tmp_path, max_age=30 * DAY, max_total=1000).sweep() == 1
    assert names(tmp_path) == {"trace-new"}


def test_files_that_vanish_meanwhile_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "trace-1", 31 * DAY)
    really_unlink = os.unlink

    def unlink_twice(path: str) -> None:
        really_unlink(path)
        really_unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_twice)
    assert retention(tmp_path, max_age=DAY).sweep() == 0


class Watched(Retention):
    """Lets a test wait for the sweeps."""

    swept: threading.Semaphore

    def sweep(self) -> int:
        try:
            return super().sweep()
        finally:
            self.swept.release()


def watched(folder: Path, max_total: int) -> Watched:
    made = Watched(
        folder,
        lambda name: name.startswith("trace-"),
        max_age_seconds=None,
        max_total_bytes=max_total,
        clock=lambda: NOW,
    )
    made.swept = threading.Semaphore(0)
    return made


def test_it_sweeps_at_start_and_when_enough_was_added(tmp_path: Path) -> None:
    put(tmp_path, "trace-0", age=DAY, size=600)
    keeper = watched(tmp_path, max_total=1000)
    keeper.start()
    try:
        assert keeper.swept.acquire(timeout=PATIENCE)
        put(tmp_path, "trace-1", age=0, size=300)
        keeper.added(300)
        assert not keeper.swept.acquire(blocking=False)
        put(tmp_path, "trace-2", age=0, size=300)
        keeper.added(300)
        assert keeper.swept.acquire(timeout=PATIENCE)
    finally:
        keeper.stop()
    assert names(tmp_path) == {"trace-1", "trace-2"}


def test_a_folder_that_is_gone_is_logged_and_not_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = watched(tmp_path / "gone", max_total=10)
    keeper.start()
    try:
        assert keeper.swept.acquire(timeout=PATIENCE)
        keeper.added(100)
        assert keeper.swept.acquire(timeout=PATIENCE)
    finally:
        keeper.stop()
    assert "can not delete old files" in caplog.text


def test_without_limits_there_is_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    keeper = retention(tmp_path)
    keeper.start()
    assert threading.active_count() == before
    keeper.stop()
