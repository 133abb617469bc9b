"""What every writer of session events owes those who feed it, and those who read what it wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.errors import StartError
from gateway_sessions.events import Gap, RequestRecorded, SessionEvent
from gateway_sessions.recording.event_lane import EventWriter
from gateway_sessions.recording.recorder import Recorder
from gateway_sessions.telemetry import Telemetry
from interceptors.jsonl import JsonlWriter
from interceptors.postgres import PostgresWriter
from interceptors.sqlite import SqliteWriter
from tests.postgres import NEEDED, database
from tests.recording.recordings import LineWriter, arrived, finished, lines
from tests.recording.writers import Ledger

Exchanges = list[tuple[str, str]]
"""Session and request id of every exchange that was recorded to its end, sorted."""


@dataclass(frozen=True)
class Kind:
    """A sort of writer: how to make one in a folder, and how to read what is there."""

    make: Callable[[Path], EventWriter]
    read: Callable[[Path], Exchanges]
    as_kept: Callable[[str], str] = str
    """What becomes of an id."""


def _completed(found: list[dict[str, object]]) -> Exchanges:
    return sorted(
        (str(line["session_id"]), str(line["request_id"]))
        for line in found
        if line["type"] == "request_completed"
    )


def _read_session_files(folder: Path) -> Exchanges:
    return _completed([line for path in folder.glob("*/*.jsonl") for line in lines(path)])


def _read_database(folder: Path) -> Exchanges:
    database = sqlite3.connect(folder / "sessions.db")
    try:
        rows = database.execute("SELECT session_id, request_id FROM session_stats")
        return sorted((str(session), str(request)) for session, request in rows)
    finally:
        database.close()


def _read_server(url: str) -> Exchanges:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT session_id, request_id FROM session_stats").fetchall()
        return sorted((str(session), str(request)) for session, request in rows)


KINDS = {
    "jsonl": Kind(JsonlWriter, _read_session_files),
    "sqlite": Kind(lambda folder: SqliteWriter(folder / "sessions.db"), _read_database),
    "lines": Kind(
        lambda folder: LineWriter(folder / "lines"),
        lambda folder: _completed(lines(folder / "lines")),
    ),
}
"""All writers; a new one comes here."""


class Desk:
    """A writer, and exchanges for it."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.scribe = Scribe(ScribeOptions(), None)
        self.offered: set[tuple[str, str]] = set()
        self.writer = kind.make(folder)
        self.writer.open()

    def exchange(self, number: int, session: str = "sess_a") -> list[SessionEvent]:
        """Return the events of an exchange."""
        self.offered.add((session, f"req_{number}"))
        return [
            *self.scribe.take(arrived(number, session)),
            *self.scribe.take(finished(number, session)),
        ]

    def read(self) -> Exchanges:
        return self.kind.read(self.folder)


@pytest.fixture(params=[*KINDS, pytest.param("postgres", marks=NEEDED)])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    if request.param != "postgres":
        yield KINDS[request.param]
        return
    with database(request.getfixturevalue("postgres")) as url:
        yield Kind(
            lambda _: PostgresWriter(url),
            lambda _: _read_server(url),
            as_kept=lambda text: text.replace("\0", "\ufffd"),
        )


@pytest.fixture
def desk(kind: Kind, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(kind, tmp_path)
    yield desk
    desk.writer.close()


def test_what_was_flushed_can_be_read_while_the_writer_goes_on(desk: Desk) -> None:
    for number in range(20):
        desk.writer.write(desk.exchange(number, f"sess_{number % 3}"))
    desk.writer.flush()
    assert desk.read() == sorted(desk.offered)
    desk.writer.write(desk.exchange(20, "sess_1"))
    desk.writer.flush()
    assert desk.read() == sorted(desk.offered)


def test_one_large_batch_is_as_good_as_many_small_ones(desk: Desk) -> None:
    events = [event for number in range(200) for event in desk.exchange(number, f"s{number % 50}")]
    desk.writer.write(events)
    desk.writer.flush()
    assert desk.read() == sorted(desk.offered)


def test_an_empty_batch_and_a_flush_of_nothing_are_fine(desk: Desk) -> None:
    desk.writer.write([])
    desk.writer.flush()
    assert desk.read() == []


def test_after_a_restart_what_was_there_stays(desk: Desk) -> None:
    desk.writer.write(desk.exchange(1))
    desk.writer.close()
    desk.writer = desk.kind.make(desk.folder)
    desk.writer.open()
    desk.writer.write(desk.exchange(2))
    desk.writer.flush()
    assert desk.read() == sorted(desk.offered)


def test_gaps_are_taken(desk: Desk) -> None:
    gap = Gap(
        session_id="sess_a",
        request_id="req_1",
        timestamp="2023-11-14T22:13:20.000000Z",
        dropped={"stream_event": 3},
    )
    desk.writer.write([*desk.exchange(1), gap, *desk.exchange(2)])
    desk.writer.flush()
    assert desk.read() == sorted(desk.offered)


@pytest.mark.parametrize(
    "session", ["../../etc/passwd", "a/b", "", ".", "x" * 300, "new\nline", "sess_\u2028é\0"]
)
def test_an_odd_session_id_stays_in_the_folder_and_is_read_as_it_was(
    desk: Desk, session: str
) -> None:
    before = set(desk.folder.parent.iterdir())
    desk.writer.write(desk.exchange(1, session))
    desk.writer.flush()
    assert desk.read() == [(desk.kind.as_kept(session), "req_1")]
    assert set(desk.folder.parent.iterdir()) == before


@pytest.mark.parametrize("kind", KINDS, indirect=True)  # those that write files
def test_nobody_else_can_read_what_is_written(desk: Desk) -> None:
    desk.writer.write(desk.exchange(1))
    desk.writer.flush()
    paths = list(desk.folder.rglob("*"))
    assert paths
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


async def test_behind_a_recorder_a_bad_event_fails_alone(kind: Kind, tmp_path: Path) -> None:
    """An event that can not be written at all costs nobody else anything."""
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    recorder = Recorder([("w", kind.make(tmp_path))], telemetry=telemetry, pauses=(0.0,))
    scribe = Scribe(ScribeOptions(), None)
    offered = 0
    for number in range(30):
        for event in [*scribe.take(arrived(number)), *scribe.take(finished(number))]:
            bad = number == 7 and isinstance(event, RequestRecorded)
            spoilt = {"message_count": object()} if bad else {}
            offered += 1
            recorder.record_event(msgspec.structs.replace(event, **spoilt))
    await recorder.shutdown()
    read = kind.read(tmp_path)
    expected = [("sess_a", f"req_{number}") for number in range(30)]
    assert set(expected) - set(read) <= {("sess_a", "req_7")}
    assert ledger.written["w"] + sum(ledger.dropped.values()) == offered
    assert sum(ledger.dropped.values()) <= 1


@pytest.mark.parametrize("name", ["jsonl", "sqlite"])
def test_where_nothing_can_be_written_it_refuses_with_a_sentence(name: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    writer = KINDS[name].make(blocked / "below")
    with pytest.raises(StartError, match=str(blocked)):
        writer.open()


async def test_all_writers_side_by_side_get_the_same(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in KINDS}
    for folder in folders.values():
        folder.mkdir()
    recorder = Recorder([(name, KINDS[name].make(folders[name])) for name in KINDS])
    scribe = Scribe(ScribeOptions(), None)
    for number in range(100):
        for milestone in (arrived(number, f"s{number % 7}"), finished(number, f"s{number % 7}")):
            for event in scribe.take(milestone):
                assert recorder.record_event(event)
    await recorder.flush()
    found = {name: KINDS[name].read(folder) for name, folder in folders.items()}
    assert len(found["jsonl"]) == 100
    assert found["sqlite"] == found["lines"] == found["jsonl"]
    await recorder.shutdown()
