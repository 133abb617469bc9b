"""Events of a session go to its file; what can not be written is named, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_housekeeper import Housekeeper
from gateway_sessions.recording.session_writing import SessionFiles
from tests.recording.session_events import DAY, completed, failed, requested, started, strictly

NEXT_NOON = "2026-02-01T12:00:00.000000Z"
NEXT_DAY = NEXT_NOON[:10]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[SessionFiles]:
    made = SessionFiles(tmp_path)
    made.open()
    yield made
    made.close()


def types(path: Path) -> list[str]:
    return [line["type"] for line in strictly(path.read_bytes())]


def rest_of(files: SessionFiles, *events: SessionEvent) -> PartlyWritten:
    with pytest.raises(PartlyWritten) as error:
        files.write(events)
    return error.value


def test_events_go_to_the_folder_of_the_day_of_the_start(
    files: SessionFiles, tmp_path: Path
) -> None:
    files.write([started(), failed()])
    files.write([failed(at=NEXT_NOON), completed(at=NEXT_NOON)])
    assert types(tmp_path / DAY / "sess_a.jsonl") == ["started", "error", "error", "completed"]


@pytest.mark.parametrize("relation", ["continue", "retry", "regenerate", "compaction"])
def test_a_start_that_only_the_recorder_saw_goes_on_in_the_old_file(
    tmp_path: Path, relation: str
) -> None:
    for events in ([started()], [started(at=NEXT_NOON, relation=relation)]):
        files = SessionFiles(tmp_path)
        files.open()
        files.write(events)
        files.close()
    assert types(tmp_path / DAY / "sess_a.jsonl") == ["started", "started"]


@pytest.mark.parametrize("relation", ["first", "reset", "fork", "subagent", "side_call"])
def test_a_start_of_a_session_is_one_of_its_own_day(
    files: SessionFiles, tmp_path: Path, relation: str
) -> None:
    files.write([started(), completed()])
    files.write([started(at=NEXT_NOON, relation=relation)])
    assert types(tmp_path / NEXT_DAY / "sess_a.jsonl") == ["started"]


def test_a_bad_event_fails_alone(files: SessionFiles, tmp_path: Path) -> None:
    bad = (requested(body=b"{"), failed(at="yesterday"), failed(value=object()))
    partly = rest_of(files, started(), bad[0], failed(), bad[1], bad[2], completed())
    assert partly.written == 3
    assert partly.rest == list(bad)
    assert not isinstance(partly.__cause__, OSError)
    assert types(tmp_path / DAY / "sess_a.jsonl") == ["started", "error", "completed"]


def test_json_is_written_as_events_are(files: SessionFiles, tmp_path: Path) -> None:
    events = [started(), failed("sess_b"), completed(), started(at=NEXT_NOON), failed()]
    files.write_json(msgspec.json.encode(events))
    assert types(tmp_path / DAY / "sess_a.jsonl") == ["started", "completed"]
    assert types(tmp_path / NEXT_DAY / "sess_a.jsonl") == ["started", "error"]
    assert types(tmp_path / DAY / "sess_b.jsonl") == ["error"]


def test_of_json_the_places_are_told_that_are_not_written(
    files: SessionFiles, tmp_path: Path
) -> None:
    (tmp_path / DAY).mkdir()
    (tmp_path / DAY / "sess_a.jsonl").mkdir()
    with pytest.raises(PartlyWritten) as error:
        files.write_json(msgspec.json.encode([started(), failed("sess_b"), failed()]))
    assert (error.value.written, error.value.rest) == (1, [0, 2])
    assert types(tmp_path / DAY / "sess_b.jsonl") == ["error"]


def test_of_bad_events_alone_no_file_is_made(files: SessionFiles, tmp_path: Path) -> None:
    assert rest_of(files, failed(at="")).written == 0
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_disk_is_told_as_such(
    files: SessionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, room = os.write, [600]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = really_write(descriptor, data[: room[0]])
        room[0] -= count
        return count

    events = [started(), *(failed(message=f"{n}") for n in range(9))]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        partly = rest_of(files, *events, failed(at="bad"))
    assert isinstance(partly.__cause__, OSError)
    assert partly.rest is not None
    assert 1 < partly.written < len(events)
    assert [*events[partly.written :], failed(at="bad")] == sorted(
        partly.rest, key=lambda event: event.timestamp
    )
    files.write(partly.rest[1:])
    lines = strictly((tmp_path / DAY / "sess_a.jsonl").read_bytes())
    assert [line["error_message"] for line in lines[1:]] == [f"{n}" for n in range(9)]


def test_a_file_that_is_none_fails_its_events(files: SessionFiles, tmp_path: Path) -> None:
    (tmp_path / DAY).mkdir()
    (tmp_path / DAY / "sess_a.jsonl").symlink_to("elsewhere")
    partly = rest_of(files, started(), failed())
    assert (partly.written, partly.rest) == (0, [started(), failed()])
    assert "remove what is in its place" in str(partly.__cause__)


def test_what_was_written_counts_for_the_housekeeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[int] = []
    ticks: list[float] = []
    monkeypatch.setattr(Housekeeper, "added", lambda _, size: added.append(size))
    monkeypatch.setattr(Housekeeper, "tick", lambda _, now: ticks.append(now))
    files = SessionFiles(tmp_path)
    files.open()
    files.write([started(), failed()])
    files.tick(7.0)
    files.close()
    size = (tmp_path / DAY / "sess_a.jsonl").stat().st_size
    assert added == [size - len('"record_version":1,')]
    assert ticks == [7.0]


def test_closing_makes_everything_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SessionFiles(tmp_path)
    files.open()
    files.write([started()])
    inodes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: inodes.append(os.fstat(descriptor).st_ino))
    files.close()
    places = (tmp_path / DAY / "sess_a.jsonl", tmp_path / DAY)
    assert inodes == [place.stat().st_ino for place in places]
