"""Half lines are cut, whole ones kept, wherever the cut was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway_sessions.recording import session_mending
from gateway_sessions.recording.session_lines import event_line
from gateway_sessions.recording.session_mending import ends_whole, last_line, mend
from tests.recording.session_events import failed

LINES = [event_line(failed(message=f"}}{number}")) for number in range(3)]
WHOLE = b"".join(LINES)


@contextmanager
def opened(path: Path, content: bytes) -> Iterator[int]:
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("block", [1, 7, 64 * 1024])
def test_at_every_cut_the_lines_before_it_are_kept(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_mending, "_BLOCK", block)
    path = tmp_path / "f"
    for cut in range(len(WHOLE) + 1):
        left = WHOLE[:cut]
        with opened(path, left) as descriptor:
            lost = mend(descriptor, cut)
        whole_lines = [line for n, line in enumerate(LINES) if cut >= len(LINES[0]) * (n + 1) - 1]
        kept = b"".join(whole_lines)
        assert path.read_bytes() == kept
        assert lost == max(0, cut - len(kept))


def test_a_file_that_is_whole_is_not_touched(tmp_path: Path) -> None:
    with opened(tmp_path / "f", WHOLE) as descriptor:
        before = os.fstat(descriptor).st_mtime_ns
        assert ends_whole(descriptor, len(WHOLE))
        assert mend(descriptor, len(WHOLE)) == 0
        assert os.fstat(descriptor).st_mtime_ns == before
    with opened(tmp_path / "f", b"") as descriptor:
        assert ends_whole(descriptor, 0)
        assert mend(descriptor, 0) == 0


def test_zeros_that_a_power_cut_left_are_cut(tmp_path: Path) -> None:
    with opened(tmp_path / "f", WHOLE + bytes(5000)) as descriptor:
        assert mend(descriptor, len(WHOLE) + 5000) == 5000
    assert (tmp_path / "f").read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("content", "line"),
    [(WHOLE, LINES[2][:-1]), (WHOLE[:-1], LINES[2][:-1]), (b"a", b"a"), (b"\n", b""), (b"", b"")],
)
def test_the_last_line_is_found(tmp_path: Path, content: bytes, line: bytes) -> None:
    with opened(tmp_path / "f", content) as descriptor:
        assert last_line(descriptor, len(content)) == line
