"""What is kept of rows is bounded, and what the database has."""

from __future__ import annotations

import pytest

from gateway_sessions.recording import known_rows
from gateway_sessions.recording.known_rows import KnownExchange, KnownRows, KnownSession
from gateway_sessions.recording.tables import SESSION_COLUMNS, ExchangeRow, SessionRow

AT = "2026-01-31 12:00:00.000000"


def session(name: str) -> KnownSession:
    row = SessionRow(
        session_id=name, root_session_id=name, started_at=AT, last_active_at=AT, created_at=AT
    )
    return KnownSession(row, None)


def exchange(name: str, success: int | None = None) -> KnownExchange:
    row = ExchangeRow(session_id="a", request_id=name, created_at=AT, success=success)
    return KnownExchange(row, None)


def test_the_sessions_written_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_rows, "MAX_SESSIONS", 2)
    known = KnownRows()
    known.written({"a": session("a"), "b": session("b")}, {})
    known.written({"a": known.sessions["a"], "c": session("c")}, {})
    assert list(known.sessions) == ["a", "c"]


def test_exchanges_are_kept_until_they_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_rows, "MAX_EXCHANGES", 2)
    known = KnownRows()
    under_way = {("a", name): exchange(name) for name in "123"}
    known.written({}, under_way)
    assert list(known.exchanges) == [("a", "2"), ("a", "3")]
    ended = known.exchanges["a", "2"]
    ended.row.success = 1
    assert ended.written is not None
    assert ended.written.success is None, "what the database has does not change with the row"
    known.written({}, {("a", "2"): ended, ("a", "4"): exchange("4", success=0)})
    assert list(known.exchanges) == [("a", "3")]


def test_texts_are_not_kept() -> None:
    known = session("a")
    known.row.request_text = "x"
    known.take_as_written(tuple(SESSION_COLUMNS))
    assert known.row.request_text is None
    assert known.written == (*SESSION_COLUMNS[:-2], None, None)


def test_everything_can_be_forgotten() -> None:
    known = KnownRows()
    known.written({"a": session("a")}, {("a", "1"): exchange("1")})
    known.forget()
    assert not known.sessions
    assert not known.exchanges
