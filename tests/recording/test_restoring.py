"""Session files get back what they lack, once, and nothing else is touched."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import session_appending
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.restoring import restore
from gateway_sessions.recording.session_lines import BadLine
from gateway_sessions.recording.session_reading import read_events
from gateway_sessions.recording.session_writing import SessionFiles
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.recording.session_events import DAY
from tests.recording.talk import answered, asked, begun, called, exchange


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions.db")
    store.open()
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


def recorded(folder: Path, *events: SessionEvent) -> None:
    files = SessionFiles(folder)
    files.open()
    files.write(events)
    files.close()


def told(folder: Path, session: str = "sess_a") -> list[tuple[str, str]]:
    """Return request and type of all lines of a session's file."""
    events = list(read_events(folder / DAY / f"{session}.jsonl"))
    return [
        (event.request_id, str(event.__struct_config__.tag))
        for event in events
        if not isinstance(event, BadLine)
    ]


def test_a_file_that_is_not_there_is_made(store: SqliteStore, folder: Path) -> None:
    store.write([begun(), *exchange(1)])
    assert sum(restore(store.path, folder, 0, 1)) == 4
    assert [kind for _, kind in told(folder)] == [
        "started",
        "request_recorded",
        "response_recorded",
        "request_completed",
    ]


def test_only_what_is_missing_is_added_and_only_once(store: SqliteStore, folder: Path) -> None:
    store.write([begun(), *exchange(1), *exchange(2)])
    recorded(folder, begun(), *exchange(1), *exchange(2)[:2])
    assert sum(restore(store.path, folder, 0, 2)) == 1
    assert told(folder)[-1] == ("req_2", "request_completed")
    assert sum(restore(store.path, folder, 0, 2)) == 0


def test_exchanges_outside_of_the_range_are_left_alone(store: SqliteStore, folder: Path) -> None:
    store.write([begun(), *exchange(1), *exchange(2), *exchange(3)])
    recorded(folder, begun())
    assert sum(restore(store.path, folder, 1, 2)) == 3
    assert {request for request, kind in told(folder) if kind != "started"} == {"req_2"}


def test_one_file_that_can_not_be_written_is_told(
    store: SqliteStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.write([begun(), *exchange(1), begun("sess_b"), *exchange(1, "sess_b")])
    (folder / DAY / "sess_a.jsonl").mkdir(parents=True)
    assert sum(restore(store.path, folder, 0, 2)) == 4
    assert "sess_a.jsonl: can not be written" in caplog.text
    assert len(told(folder, "sess_b")) == 4


def test_a_full_disk_is_told_as_such(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([begun(), *exchange(1)])

    def refuse(*_: object) -> None:
        raise PartlyWritten(0) from OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(session_appending, "append_lines", refuse)
        with pytest.raises(OSError, match="full"):
            sum(restore(store.path, folder, 0, 1))
    assert sum(restore(store.path, folder, 0, 1)) == 4


def test_arguments_that_were_cut_are_left_out(
    store: SqliteStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.write([begun(), asked(), called()])
    assert store._connection is not None
    store._connection.execute("UPDATE tool_call_executions SET tool_arguments = '{\"q\":'")
    store.write([answered()])
    assert sum(restore(store.path, folder, 0, 1)) == 2
    assert "holds what is no JSON" in caplog.text
