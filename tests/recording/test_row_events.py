"""Events made of rows say what the events said that the rows were made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gateway_sessions import events as e
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import row_events
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.recording.talk import answered, asked, begun, called, exchange, over, tokens


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions.db")
    store.open()
    yield store
    store.close()


def made(store: SqliteStore, *there: str) -> list[SessionEvent]:
    """Return the events of the one exchange in a database, but for types that are there."""
    with closing(sqlite3.connect(store.path)) as connection:
        (row,) = connection.execute(row_events.FIND_EXCHANGES, ("sess_a", 0, 1)).fetchall()
        tools = connection.execute(row_events.FIND_TOOLS, ("sess_a", "req_1")).fetchall()
    return row_events.lacking(*row_events.exchange(row), tools, there)


def test_what_the_tables_keep_comes_back(store: SqliteStore) -> None:
    used = tokens(10, 5, thinking_tokens=2, tokens_per_second=5.0)
    events = [asked(has_tools=True, tool_count=2), answered(at=1.0, used=used), over(at=1.0)]
    events[2] = over(at=1.0, total_duration_ms=1000.0, finish_reason="stop")
    store.write([begun(), *events])
    assert made(store) == events


def test_of_a_stream_its_figures_come_back(store: SqliteStore) -> None:
    store.write([begun(), *exchange(1, streamed=True)])
    (response,) = [event for event in made(store) if isinstance(event, e.ResponseRecorded)]
    assert (response.stats.chunk_count, response.stats.time_to_first_token_ms) == (7, 100.0)


def test_calls_come_back_with_their_answer(store: SqliteStore) -> None:
    store.write([begun(), asked(), answered(), called()])
    _, response, call = made(store)
    assert isinstance(response, e.ResponseRecorded)
    assert [use.tool_name for use in response.stats.tool_calls] == ["search"]
    assert msgspec.json.encode(call) == msgspec.json.encode(called())


def test_what_never_came_is_not_made_up(store: SqliteStore) -> None:
    store.write([begun(), asked()])
    assert made(store) == [asked()]


def test_what_is_there_is_not_made_again(store: SqliteStore) -> None:
    store.write([begun(), *exchange(1)])
    (event,) = made(store, "request_recorded", "request_completed")
    assert isinstance(event, e.ResponseRecorded)


def test_a_start_comes_back_without_its_headers(store: SqliteStore) -> None:
    store.write([begun(), *exchange(1)])
    with closing(sqlite3.connect(store.path)) as connection:
        session = connection.execute(row_events.FIND_SESSION, ("sess_a",)).fetchone()
        row = connection.execute(row_events.FIND_EXCHANGES, ("sess_a", 0, 1)).fetchone()
    first, _, _ = row_events.exchange(row)
    found, wanted = row_events.started(session, first), begun()
    for name in ("timestamp", "provider", "listener", "root_session_id", "relation", "source"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert found.metadata.request_headers == {}
    assert found.metadata.client_ip == wanted.metadata.client_ip
