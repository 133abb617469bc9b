"""The journal and its thread: one transaction for many, and what happens when it fails."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from gateway_sessions import CorruptDatabase, StartError
from interceptors.recording_api import desk as module
from interceptors.recording_api.desk import Desk
from interceptors.recording_api.journal import open_journal
from interceptors.recording_api.protocol import Refused


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    it = Desk(tmp_path / "state" / "recording.db")
    await it.open()
    yield it
    await it.close()


def note(connection: sqlite3.Connection, text: str) -> str:
    connection.execute("INSERT INTO removed VALUES (?, '', 1)", (text,))
    return text


def notes(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT session_id FROM removed ORDER BY 1")]


def wrong(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT nonsense")


@asynccontextmanager
async def held(desk: Desk) -> AsyncIterator[None]:
    """Keep the thread busy, so that what is asked for meanwhile waits."""
    taken, release = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        taken.set()
        release.wait(10)

    blocked = desk.do(block)
    await asyncio.get_running_loop().run_in_executor(None, taken.wait)
    yield
    release.set()
    await blocked


async def test_what_waits_shares_a_transaction_and_is_durable(desk: Desk) -> None:
    statements: list[str] = []
    await desk.do(lambda c: c.set_trace_callback(statements.append))
    async with held(desk):
        statements.clear()
        futures = [desk.do(partial(note, text=text)) for text in "01234"]
    assert await asyncio.gather(*futures) == list("01234")
    assert statements.count("COMMIT") == 2  # that of the one before them, and their own
    assert await desk.do(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (2,)
    other = open_journal(desk._path)
    assert notes(other) == list("01234")
    other.close()


async def test_a_job_may_refuse_and_the_others_go_on(desk: Desk) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        raise Refused("too_large", "No.")

    good, bad = desk.do(lambda c: note(c, "a")), desk.do(refuse)
    with pytest.raises(Refused, match=r"No\."):
        await bad
    assert await good == "a"


async def test_when_writing_fails_nothing_is_acknowledged_and_it_is_said_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async with held(desk):
        good, bad = desk.do(lambda c: note(c, "a")), desk.do(wrong)
    for future in (good, bad, desk.do(wrong)):
        with pytest.raises(Refused) as refused:
            await future
        assert refused.value.code == "unavailable"
    assert caplog.text.count("writing fails") == 1
    assert await desk.do(notes) == []
    assert caplog.text.count("writing works again") == 1


async def test_too_much_that_waits_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    async with held(desk):
        with pytest.raises(Refused, match="busy"):
            await desk.do(notes, 101)
        waiting = [desk.do(notes), desk.do(notes)]
        with pytest.raises(Refused, match="busy"):
            await desk.do(notes)
    await asyncio.gather(*waiting)
    assert await desk.do(notes, 100) == []


async def test_closing_does_what_waits(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "j.db")
    await desk.open()
    futures = [desk.do(partial(note, text=text)) for text in "012"]
    await desk.close()
    await desk.close()
    assert await asyncio.gather(*futures) == list("012")
    with pytest.raises(Refused):
        await desk.do(notes)


async def test_who_has_left_is_not_answered(desk: Desk) -> None:
    future = desk.do(lambda c: note(c, "a"))
    future.cancel()
    assert await desk.do(notes) == ["a"]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\x07" * 3996
    path.write_bytes(content)


def test_a_damaged_journal_is_put_aside_at_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j.db"
    open_journal(path).close()
    damage(path)
    with caplog.at_level(logging.ERROR):
        connection = open_journal(path)
    assert notes(connection) == []
    connection.close()
    (aside,) = tmp_path.glob("j.db.corrupt-*")
    assert str(aside) in caplog.text
    assert "only in there" in caplog.text


async def test_a_journal_that_is_damaged_later_is_put_aside_too(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def find_damage(connection: sqlite3.Connection) -> None:
        raise CorruptDatabase("the page is nonsense")

    await desk.do(lambda c: note(c, "a"))
    path = desk._path
    with pytest.raises(Refused):
        await desk.do(find_damage)
    assert await desk.do(notes) == []
    assert list(path.parent.glob("recording.db.corrupt-*"))
    assert "put aside" in caplog.text


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    connection = open_journal(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StartError, match="newer gateway-sessions"):
        open_journal(path)
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_a_folder_that_can_not_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"recording_api\.enabled"):
        open_journal(tmp_path / "file" / "j.db")
