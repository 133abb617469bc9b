"""The writer to PostgreSQL, as the recorder drives it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psycopg
import pytest

from gateway_sessions import ConfigError, EventWriter, PartlyWritten
from interceptors.postgres import PostgresWriter
from tests.postgres import NEEDED, database
from tests.recording.talk import begun, exchange, over


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with database(postgres) as url:
        yield url


@NEEDED
def test_events_become_rows(url: str) -> None:
    writer: EventWriter = PostgresWriter(url)
    writer.open()
    bad = over(9, total_duration_ms=float("nan"))
    writer.write([begun(), *exchange(1)])
    with pytest.raises(PartlyWritten):
        writer.write([bad, *exchange(2)])
    writer.flush()
    writer.close()
    writer.close()
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT session_id, request_count FROM sessions").fetchall()
    assert found == [("sess_a", 2)]


def test_a_missing_driver_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway_sessions.recording.postgres_store", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'gateway-sessions\[postgres\]'"):
        PostgresWriter("postgresql://localhost/x")
