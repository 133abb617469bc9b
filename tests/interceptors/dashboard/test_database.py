"""Asking the database: bounded, on threads, every failure a sentence."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from gateway_sessions import WrongQuery
from interceptors.dashboard import database as module
from interceptors.dashboard.database import Database, Problem
from tests.storage.recorded import Talk, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return record(tmp_path / "s.db", [Talk("sess_1").ask()])


def count(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT COUNT(*) FROM sessions").fetchone()
    return int(found)


async def test_a_question_sees_one_state_and_can_not_write(path: Path) -> None:
    database = Database(path)

    def question(connection: sqlite3.Connection) -> tuple[int, int, bool]:
        before = count(connection)
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM sessions")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM session_stats")
        return before, count(connection), threading.current_thread() is threading.main_thread()

    assert await database.ask(question) == (1, 1, False)
    assert await database.ask(count) == 0
    database.close()


async def test_what_is_asked_wrongly_stays_what_it_is(path: Path) -> None:
    database = Database(path)

    def question(connection: sqlite3.Connection) -> None:
        raise WrongQuery("no")

    with pytest.raises(WrongQuery):
        await database.ask(question)
    database.close()


async def test_who_reads_too_long_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.01)
    database = Database(path)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
    with pytest.raises(Problem) as problem:
        await database.ask(lambda connection: connection.execute(endless).fetchone())
    assert (problem.value.title, problem.value.status) == ("The database is busy", 503)
    database.close()


async def test_too_many_who_wait_are_sent_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    database, go = Database(path, readers=1), threading.Event()

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(database.ask(lambda _: go.wait(10)))
        await asyncio.sleep(0)  # both are under way, the loop having run once
        with pytest.raises(Problem, match="did not answer in time"):
            await database.ask(count)
        go.set()
    assert await database.ask(count) == 1
    database.close()


async def test_a_mistake_in_a_statement_is_a_sentence_too(path: Path) -> None:
    database = Database(path)
    with pytest.raises(Problem, match="no such table"):
        await database.ask(lambda connection: connection.execute("SELECT * FROM missing"))
    database.close()
