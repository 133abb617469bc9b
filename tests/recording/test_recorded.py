"""Session files, read back in batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.recording import recorded
from gateway_sessions.recording.recorded import events_of_session, recorded_events
from tests.recording.session_events import NOON_UNIX, put
from tests.recording.talk import begun, exchange


def test_all_events_come_in_their_order(tmp_path: Path) -> None:
    events = [begun(), *exchange(1), *exchange(2)]
    put(tmp_path, *events)
    put(tmp_path, begun("sess_b"), day="2026-02-01")
    batches = list(recorded_events(tmp_path))
    assert [[event.request_id for event in batch] for batch in batches] == [
        [event.request_id for event in events],
        ["req_1"],
    ]


def test_large_files_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "BATCH", 2)
    put(tmp_path, begun(), *exchange(1))
    assert [len(batch) for batch in recorded_events(tmp_path)] == [2, 2]


def test_files_that_were_not_written_since_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, begun(), changed=NOON_UNIX)
    assert len(list(recorded_events(tmp_path, NOON_UNIX))) == 1
    assert list(recorded_events(tmp_path, NOON_UNIX + 1)) == []


def test_what_can_not_be_read_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path, begun(), *exchange(1))
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    newer = put(tmp_path, begun("sess_b"))
    newer.write_bytes(newer.read_bytes().replace(b'"record_version":1', b'"record_version":9'))
    assert [len(batch) for batch in recorded_events(tmp_path)] == [4]
    assert "line 1" in caplog.text
    assert "record_version is 9" in caplog.text


def test_a_folder_that_is_missing_holds_nothing(tmp_path: Path) -> None:
    assert list(recorded_events(tmp_path / "nowhere")) == []


def test_events_of_one_session(tmp_path: Path) -> None:
    events = [begun(), *exchange(1)]
    put(tmp_path, *events)
    put(tmp_path, begun("sess_b"))
    session_id = events[0].session_id
    day = next(path.name for path in tmp_path.iterdir())
    found = list(events_of_session(tmp_path, session_id, day))
    assert [event.request_id for event in found] == [event.request_id for event in events]
    for other in ("2026-03-09", "../" + day, "no day"):
        assert list(events_of_session(tmp_path, session_id, other)) == []


def test_bad_lines_of_a_session_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, begun(), *exchange(1))
    (path,) = tmp_path.glob("*/*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + b"nonsense\n")
    found = list(events_of_session(tmp_path, begun().session_id, path.parent.name))
    assert len(found) == whole.count(b"\n")
