"""Names of session files: from any id, in any day's folder, never outside."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gateway_sessions.recording.session_files import SessionFolder, day_of, file_stem, is_day
from tests.recording.session_events import DAY, put, started

HOSTILE = [
    *(
        climb * depth + target
        for climb in ("../", "..\\", "..%2f", "%2e%2e/", "....//", "..;/", "..%c0%af", "\u2025/")
        for depth in (1, 3, 8)
        for target in ("etc/passwd", "root/.ssh/authorized_keys", "windows/win.ini", "x", "")
    ),
    *(
        f"{start}{rest}"
        for start in ("/", "//", "~/", "C:\\", "file:///", "\\\\host\\share\\", "./", "/proc/self/")
        for rest in ("etc/passwd", "tmp/x", "..", "", "a/../../b", "dev/null")
    ),
    *(f"sess_a{char}b" for char in map(chr, (*range(33), 34, 39, 42, 47, 58, 63, 92, 124, 127))),
    *(
        "",
        ".",
        "..",
        "...",
        "-",
        "_",
        "-rf",
        "con",
        "a.jsonl",
        ".hidden",
        "a/b",
        "a\\b",
        "é",
        "\ud800",
    ),
    *("x" * length for length in (128, 129, 255, 256, 4096, 100_000)),
    "\u202ereversed",
    "a\u2028b",
]


def test_there_are_two_hundred_hostile_ids() -> None:
    assert len(set(HOSTILE)) >= 200


@pytest.mark.parametrize("session_id", HOSTILE, ids=ascii)
def test_a_hostile_id_gives_a_harmless_name(session_id: str) -> None:
    stem = file_stem(session_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", stem)
    assert Path(f"/data/{stem}.jsonl").resolve().parent == Path("/data")


def test_ids_never_share_a_name() -> None:
    ids = {*HOSTILE, "etc_passwd", *(file_stem(hostile) for hostile in HOSTILE)}
    assert len({file_stem(session_id) for session_id in ids}) == len(ids)


def test_our_own_ids_are_names_as_they_are() -> None:
    assert file_stem("sess_0123456789abcdefghjk") == "sess_0123456789abcdefghjk"


@pytest.mark.parametrize(
    "timestamp",
    ["", "2026-01-31", "../../../x", "2026-13-01T00:00:00Z", "2026-W05-6T", "../../01-0T00:00:00Z"],
)
def test_a_time_that_is_none_has_no_day(timestamp: str) -> None:
    with pytest.raises(ValueError, match="is no time such as"):
        day_of(timestamp)


def test_days_are_real_ones() -> None:
    assert is_day("2024-02-29")
    assert not is_day("2026-02-29")
    assert not is_day("2026-W05-6")
    assert not is_day("20260131")


def test_what_is_not_ours_is_not_there(tmp_path: Path) -> None:
    wanted = put(tmp_path, started("sess_b"))
    put(tmp_path, started("sess_a"), day="2026-01-30")
    (tmp_path / "2026-01-30" / "sess_a.jsonl.zst").write_bytes(b"")
    for name in ("notes.txt", "sess.json", ".hidden.jsonl", "a b.jsonl", "x.jsonl.gz"):
        (tmp_path / DAY / name).write_text("")
    (tmp_path / DAY / "folder.jsonl").mkdir()
    (tmp_path / DAY / "link.jsonl").symlink_to(wanted)
    (tmp_path / "2026-01-01").symlink_to(tmp_path / DAY)
    (tmp_path / "2026-01-02").write_text("")
    (tmp_path / "backup").mkdir()
    folder = SessionFolder(tmp_path)
    assert folder.days() == ["2026-01-30", DAY]
    assert [(f.day, f.stem, f.compressed) for f in folder.all_files()] == [
        ("2026-01-30", "sess_a", True),
        ("2026-01-30", "sess_a", False),
        (DAY, "sess_b", False),
    ]


def test_a_day_that_vanishes_meanwhile_is_empty(tmp_path: Path) -> None:
    assert SessionFolder(tmp_path).files(DAY) == []


def test_a_file_that_vanishes_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, started())

    class Listing:
        def __enter__(self) -> list[os.DirEntry[str]]:
            with real_scandir(tmp_path / DAY) as entries:
                found = list(entries)
            assert found[0].is_file(follow_symlinks=False)
            path.unlink()
            return found

        def __exit__(self, *_: object) -> None:
            pass

    real_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda _: Listing())
    assert SessionFolder(tmp_path).files(DAY) == []
