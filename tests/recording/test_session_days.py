"""Folders of days are found newest first, made private, and survive being removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway_sessions.recording import session_days
from gateway_sessions.recording.session_days import DayFolders, exists_in
from tests.recording.session_events import DAY


def folders(root: Path) -> DayFolders:
    made = DayFolders(root)
    made.refresh()
    return made


def days(found: DayFolders, first: str) -> list[str]:
    return [day for day, _ in found.recent(first)]


def test_the_wanted_day_comes_first_and_then_the_newest(tmp_path: Path) -> None:
    for day in ("2026-01-29", "2026-01-30", DAY):
        (tmp_path / day).mkdir()
    found = folders(tmp_path)
    assert days(found, "2026-01-30") == ["2026-01-30", DAY, "2026-01-29"]
    assert days(found, "2026-02-01") == [DAY, "2026-01-30", "2026-01-29"]
    found.forget()


def test_only_so_many_days_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_days, "LOOK_BACK_DAYS", 2)
    for day in ("2026-01-28", "2026-01-29", "2026-01-30", DAY):
        (tmp_path / day).mkdir()
    found = folders(tmp_path)
    assert days(found, "2026-01-28") == ["2026-01-28", DAY, "2026-01-30"]
    found.forget()


def test_a_day_is_made_private_and_once(tmp_path: Path) -> None:
    found = folders(tmp_path)
    descriptor = found.made(DAY)
    assert found.made(DAY) == descriptor
    assert (tmp_path / DAY).stat().st_mode & 0o777 == 0o700
    assert days(found, "2026-02-01") == [DAY]
    found.forget()


def test_a_day_that_was_removed_is_made_again(tmp_path: Path) -> None:
    found = folders(tmp_path)
    found.made(DAY)
    (tmp_path / DAY).rmdir()
    found.refresh()
    assert days(found, DAY) == []
    assert os.fstat(found.made(DAY)).st_ino == (tmp_path / DAY).stat().st_ino
    found.forget()


def test_a_day_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / DAY).symlink_to("elsewhere")
    with pytest.raises(NotADirectoryError):
        folders(tmp_path).made(DAY)


def test_a_day_that_others_remove_at_once_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_days, "make_private_directory", lambda _: None)
    with pytest.raises(OSError, match="removed at once"):
        folders(tmp_path).made(DAY)


def test_a_directory_that_is_gone_shows_when_it_is_written_to(tmp_path: Path) -> None:
    assert days(folders(tmp_path / "gone"), DAY) == []


def test_names_are_looked_for_in_an_open_folder(tmp_path: Path) -> None:
    found = folders(tmp_path)
    folder = found.made(DAY)
    (tmp_path / DAY / "link").symlink_to("nowhere")
    assert exists_in(folder, "link")
    assert not exists_in(folder, "other")
    found.forget()
