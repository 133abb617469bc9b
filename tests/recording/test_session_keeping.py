"""The oldest go first, live sessions and the files of others never, and only as many as needed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway_sessions.recording import session_keeping
from gateway_sessions.recording.locked_files import claimed
from gateway_sessions.recording.session_compressing import LIVE_SECONDS
from gateway_sessions.recording.session_files import SessionFolder
from gateway_sessions.recording.session_keeping import (
    LOW_WATER,
    PROBLEMS,
    KeepLimits,
    SessionKeeper,
    Swept,
)
from tests.recording.session_events import A_DAY, NOON_UNIX, completed, failed, put, started

NOW = NOON_UNIX  # noon of 2026-01-31
HOUR = 3600.0


def day(ago: int) -> str:
    return f"2026-01-{31 - ago:02}"


def ended(root: Path, name: str, ago: int, *, changed: float | None = None) -> Path:
    """Write a session that started so many days ago and has ended."""
    when = NOW - ago * A_DAY if changed is None else changed
    return put(root, started(name), completed(name), day=day(ago), changed=when)


def live(root: Path, name: str, ago: int) -> Path:
    """Write a session that started so many days ago and goes on."""
    return put(root, started(name), failed(name), day=day(ago), changed=NOW - HOUR)


def keeper(root: Path, **limits: float) -> SessionKeeper:
    return SessionKeeper(SessionFolder(root), KeepLimits(**limits))  # type: ignore[arg-type]


def left(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    ended(tmp_path, "a", 30)
    ended(tmp_path, "b", 29)
    ended(tmp_path, "c", 0)
    swept = keeper(tmp_path, max_age_days=30).sweep(NOW + HOUR)
    assert left(tmp_path) == {f"{day(29)}/b.jsonl", f"{day(0)}/c.jsonl"}
    assert (swept.deleted, swept.left, swept.failed) == (1, 0, 0)
    assert swept.freed > 0
    assert swept.kept_bytes == sum((tmp_path / name).stat().st_size for name in left(tmp_path))


def test_age_counts_from_the_last_event(tmp_path: Path) -> None:
    ended(tmp_path, "long", 30, changed=NOW - 3 * A_DAY)
    keeper(tmp_path, max_age_days=30).sweep(NOW + HOUR)
    assert left(tmp_path) == {f"{day(30)}/long.jsonl"}


def test_a_file_with_a_wrong_time_is_as_young_as_its_day(tmp_path: Path) -> None:
    ended(tmp_path, "restored", 2, changed=0.0)
    keeper(tmp_path, max_age_days=30).sweep(NOW)
    assert left(tmp_path) == {f"{day(2)}/restored.jsonl"}


def test_old_days_are_compressed_whole(tmp_path: Path) -> None:
    for ago in (6, 7, 8):
        for name in "ab":
            ended(tmp_path, f"{name}{ago}", ago)
    swept = keeper(tmp_path, compress_after_days=7).sweep(NOW)
    assert left(tmp_path) == {
        *(f"{day(6)}/{name}6.jsonl" for name in "ab"),
        *(f"{day(ago)}/{name}{ago}.jsonl.zst" for name in "ab" for ago in (7, 8)),
    }
    assert swept.compressed == 4
    assert swept.after < swept.before
    assert keeper(tmp_path, compress_after_days=7).sweep(NOW).compressed == 0


def test_compressed_files_grow_too_old_too(tmp_path: Path) -> None:
    ended(tmp_path, "a", 30)
    keeper(tmp_path, compress_after_days=7).sweep(NOW)
    keeper(tmp_path, max_age_days=30).sweep(NOW + HOUR)
    assert left(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_of_too_much_go_down_to_low_water(tmp_path: Path) -> None:
    for ago in range(20):
        ended(tmp_path, f"s{ago:02}", ago)
    size = (tmp_path / day(0) / "s00.jsonl").stat().st_size
    swept = keeper(tmp_path, max_total_bytes=10 * size).sweep(NOW)
    kept = int(10 * LOW_WATER)
    assert left(tmp_path) == {f"{day(ago)}/s{ago:02}.jsonl" for ago in range(kept)}
    assert (swept.deleted, swept.kept_bytes) == (20 - kept, kept * size)


def test_within_a_day_those_go_first_that_were_not_written_for_longest(tmp_path: Path) -> None:
    for hour, name in enumerate("cadb"):
        ended(tmp_path, name, 1, changed=NOW - A_DAY + hour * HOUR)
    size = (tmp_path / day(1) / "a.jsonl").stat().st_size
    keeper(tmp_path, max_total_bytes=3 * size).sweep(NOW)
    assert left(tmp_path) == {f"{day(1)}/{name}.jsonl" for name in "db"}


def test_under_the_limit_nothing_goes(tmp_path: Path) -> None:
    for ago in range(10):
        ended(tmp_path, f"s{ago}", ago)
    total = sum((tmp_path / name).stat().st_size for name in left(tmp_path))
    swept = keeper(tmp_path, max_total_bytes=total, max_age_days=30).sweep(NOW)
    assert (swept.deleted, swept.kept_bytes) == (0, total)


def test_live_sessions_never_go(tmp_path: Path) -> None:
    live(tmp_path, "old", 30)
    live(tmp_path, "new", 0)
    ended(tmp_path, "over", 3)
    swept = keeper(tmp_path, max_age_days=1, max_total_bytes=1, compress_after_days=1).sweep(NOW)
    assert left(tmp_path) == {f"{day(30)}/old.jsonl", f"{day(0)}/new.jsonl"}
    assert swept.deleted == 1
    assert swept.kept_bytes > 1


def test_the_compressed_part_of_a_live_session_stays(tmp_path: Path) -> None:
    ended(tmp_path, "a", 9)
    keeper(tmp_path, compress_after_days=7).sweep(NOW)
    live(tmp_path, "a", 9)
    keeper(tmp_path, max_age_days=5, max_total_bytes=1).sweep(NOW)
    assert left(tmp_path) == {f"{day(9)}/a.jsonl.zst", f"{day(9)}/a.jsonl"}


def test_a_session_that_broke_off_goes_when_it_is_silent(tmp_path: Path) -> None:
    path = live(tmp_path, "a", 3)
    limits = {"max_age_days": 0.5}
    keeper(tmp_path, **limits).sweep(path.stat().st_mtime + LIVE_SECONDS - 1)
    assert path.exists()
    keeper(tmp_path, **limits).sweep(path.stat().st_mtime + LIVE_SECONDS)
    assert not path.exists()


def test_files_of_others_stay(tmp_path: Path) -> None:
    precious = tmp_path / "precious.jsonl"
    precious.write_text("precious")
    folder = tmp_path / day(30)
    folder.mkdir()
    others = [
        folder / "notes.txt",
        folder / "notes.jsonl",
        folder / "notes.jsonl.zst",
        folder / "a.b.jsonl",
        tmp_path / "2020" / "sess_a.jsonl",
        tmp_path / "README",
    ]
    (tmp_path / "2020").mkdir()
    for path in others:
        path.write_text("mine")
        os.utime(path, (0, 0))
    (folder / "link.jsonl").symlink_to(precious)
    (tmp_path / "2020-01-01").symlink_to(tmp_path / "2020")
    before = left(tmp_path)
    swept = keeper(tmp_path, max_age_days=1, max_total_bytes=1, compress_after_days=0).sweep(NOW)
    assert left(tmp_path) == before
    assert {path.read_text() for path in others} == {"mine"}
    assert (swept.deleted, swept.compressed) == (0, 0)


def test_days_that_are_empty_go_but_not_today(tmp_path: Path) -> None:
    for ago in (0, 1):
        (tmp_path / day(ago)).mkdir()
    (tmp_path / day(1) / ".sess_a.jsonl.zst.tmp").write_bytes(b"left over")
    keeper(tmp_path).sweep(NOW)
    assert [path.name for path in tmp_path.iterdir()] == [day(0)]


def test_a_day_with_something_else_in_it_stays(tmp_path: Path) -> None:
    ended(tmp_path, "a", 30)
    (tmp_path / day(30) / "notes.txt").write_text("mine")
    keeper(tmp_path, max_age_days=1).sweep(NOW)
    assert left(tmp_path) == {f"{day(30)}/notes.txt"}


def test_it_stops_between_files(tmp_path: Path) -> None:
    for name in "abc":
        ended(tmp_path, name, 9)
    answers = iter([True, True])
    limits = KeepLimits(compress_after_days=7)
    stopping = SessionKeeper(SessionFolder(tmp_path), limits, lambda: next(answers, False))
    assert stopping.sweep(NOW).compressed == 2
    assert len(left(tmp_path)) == 3
    full = KeepLimits(max_total_bytes=1)
    answers = iter([True, True])
    assert (
        SessionKeeper(SessionFolder(tmp_path), full, lambda: next(answers, False))
        .sweep(NOW)
        .deleted
        == 1
    )


def test_what_fails_is_told_and_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        ended(tmp_path, name, 9)
    really_unlink = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "b.jsonl":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        really_unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    swept = keeper(tmp_path, max_age_days=1).sweep(NOW)
    place = tmp_path / day(9) / "b.jsonl"
    assert swept.problems == [f"{place}: can not be deleted: Read-only file system."]
    assert (swept.deleted, swept.failed) == (2, 1)
    swept = keeper(tmp_path, compress_after_days=1).sweep(NOW)
    assert swept.problems == [f"{place}: can not be compressed: Read-only file system."]


def test_not_all_of_many_failures_are_told() -> None:
    swept = Swept()
    for number in range(100):
        swept.fail(Path(f"{number}"), "deleted", ValueError("no"))
    assert (swept.failed, len(swept.problems)) == (100, PROBLEMS)


def test_files_that_vanish_meanwhile_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(tmp_path, "a", 9)

    def gone(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(session_keeping, "compress", gone)
    monkeypatch.setattr(session_keeping, "claimed", gone)
    swept = keeper(tmp_path, compress_after_days=7, max_age_days=1).sweep(NOW)
    assert (swept.failed, swept.left, swept.compressed, swept.deleted) == (0, 0, 0, 0)
    assert keeper(tmp_path).mend() == 0


def test_half_lines_are_mended_but_not_of_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ended(tmp_path, "whole", 2)
    half = ended(tmp_path, "half", 1)
    notes = tmp_path / day(1) / "notes.jsonl"
    notes.write_bytes(b"no line end")
    before = half.read_bytes()
    half.write_bytes(before + b'{"type":"err')
    assert keeper(tmp_path).mend() == 1
    assert half.read_bytes() == before
    assert notes.read_bytes() == b"no line end"
    assert caplog.messages == [f"{half}: cut half a line of 12 bytes at its end"]
    assert whole.stat().st_mtime == NOW - 2 * A_DAY


def test_a_line_that_is_being_written_is_left_to_its_writer(tmp_path: Path) -> None:
    path = ended(tmp_path, "a", 0)
    path.write_bytes(path.read_bytes() + b'{"type":"err')
    with claimed(path, os.O_RDONLY):
        assert keeper(tmp_path).mend() == 0
    assert keeper(tmp_path).mend() == 1


def test_a_file_that_can_not_be_opened_does_not_stop_mending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended(tmp_path, "a", 0)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(session_keeping, "claimed", refuse)
    assert keeper(tmp_path).mend() == 0
    assert "can not be checked for a half line" in caplog.text
