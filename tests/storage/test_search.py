"""Searching recorded sessions: every condition, order, page, and what one session holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions.errors import WrongQuery
from gateway_sessions.storage.filters import SessionFilter, parse_filter
from gateway_sessions.storage.queries import Clause
from gateway_sessions.storage.reading import following
from gateway_sessions.storage.search import Search
from tests.storage.recorded import NOW, START, Talk, empty, many, record

EVERYTHING = Clause("1")


def hours(number: float) -> Any:
    return START + timedelta(hours=number)


TALKS = (
    Talk("sess_egg").ask("How long do I boil an egg?", "Seven minutes.").ask("Soft?", "Five."),
    Talk("sess_agent", started=hours(1), provider="anthropic", client_ip="192.0.2.9")
    .ask("Repair what fails.", "Let me look.", model_name="claude-sonnet-4-5", is_streaming=1)
    .call("run_tests", "call_1")
    .ask("2 failed", "A rounding error: naïve sum.", model_name="claude-sonnet-4-5"),
    Talk("sess_child", started=hours(2), parent="sess_agent", root="sess_agent").ask(
        "Find the rounding error", "It is in totals.py", cost_usd=0.5, input_tokens=9000
    ),
    Talk("sess_failed", started=hours(3), client_ip="192.0.2.9").ask(
        "hi",
        None,
        model_name=None,
        success=0,
        status=529,
        finish_reason=None,
        error_message="Overloaded",
        input_tokens=None,
        output_tokens=None,
        cost_usd=None,
        total_duration_ms=90_000.0,
    ),
    Talk("sess_live", started=hours(4), completed=False).ask(
        "Wait for me", None, success=None, status=None, finish_reason=None, model_name="gpt-5"
    ),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("search") / "sessions.db", TALKS)


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    with following(database) as connection:
        yield connection


@pytest.fixture
def search(connection: sqlite3.Connection) -> Search:
    return Search(connection)


def ids(search: Search, **asked: str) -> list[str]:
    wanted = parse_filter(asked.items(), now=NOW)
    page = search.page(wanted)
    found = [row.session_id.removeprefix("sess_") for row in page.sessions]
    # All ways to the same sessions agree.
    assert [row.session_id for row in search.every(wanted)] == [f"sess_{name}" for name in found]
    assert page.total == len(found)
    return found


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, "live failed child agent egg"),
        ({"since": "2026-01-01T10:00Z"}, "live failed child"),
        ({"until": "2026-01-01T10:00Z"}, "agent egg"),
        ({"since": "2026-01-01", "until": "2026-01-01"}, "live failed child agent egg"),
        ({"since": "2026-01-02"}, ""),
        ({"provider": "anthropic"}, "agent"),
        ({"provider": "anthropic,openai"}, "live failed child agent egg"),
        ({"provider": "anth*"}, "agent"),
        ({"model": "claude-*"}, "agent"),
        ({"model": "gpt-5-mini"}, "failed child egg"),
        ({"model": "gpt-5"}, "live"),
        ({"model": "gpt-5?mini"}, ""),
        ({"session": "sess_egg,sess_live"}, "live egg"),
        ({"request": "req_sess_egg_1"}, "egg"),
        ({"success": "no"}, "failed"),
        ({"success": "yes"}, "child agent egg"),
        ({"streaming": "yes"}, ""),
        ({"min_tokens": "9050"}, "child"),
        ({"max_tokens": "150", "success": "yes"}, ""),
        ({"min_tokens": "300", "max_tokens": "300"}, "agent egg"),
        ({"min_duration": "1m"}, "failed"),
        ({"max_duration": "1500ms"}, "live child"),
        ({"min_cost": "0.002"}, "child agent egg"),
        ({"max_cost": "0.002"}, "live agent egg"),
        ({"client_ip": "192.0.2.9"}, "failed agent"),
        ({"finish_reason": "stop"}, "child agent egg"),
        ({"text": "rounding"}, "child agent"),
        ({"text": "ROUNDING totals"}, "child"),
        ({"text": '"rounding error"'}, "child agent"),
        ({"text": '"error rounding"'}, ""),
        ({"text": "naive"}, "agent"),
        ({"text": "egg minutes"}, "egg"),
        ({"text": "egg five"}, ""),
        ({"parent": "sess_agent"}, "child"),
        ({"root": "sess_agent"}, "child agent"),
        ({"sort": "duration"}, "failed agent egg live child"),
        ({"sort": "tokens", "order": "asc"}, "failed live egg agent child"),
        ({"sort": "cost"}, "child agent egg live failed"),
        ({"sort": "cost", "order": "asc"}, "live egg agent child failed"),
        ({"sort": "requests", "success": "yes"}, "agent egg child"),
        ({"order": "asc"}, "egg agent child failed live"),
    ],
)
def test_conditions_and_orders(search: Search, asked: dict[str, str], wanted: str) -> None:
    assert ids(search, **asked) == wanted.split()


def test_texts_that_are_not_indexed_yet_are_found(tmp_path: Path) -> None:
    database = record(tmp_path / "sessions.db", TALKS, index=False)
    with following(database) as connection:
        search = Search(connection)
        assert ids(search, text="rounding") == ["child", "agent"]
        assert ids(search, text='"rounding error"', success="yes") == ["child", "agent"]
        assert search.snippets(SessionFilter(text="boil"), ["sess_egg"]) == {
            "sess_egg": "How long do I boil an egg?"
        }


def test_a_row_has_everything_that_is_known(search: Search) -> None:
    (row,) = search.page(parse_filter([("session", "sess_agent")], now=NOW)).sessions
    known = {name: value for name, value in msgspec.structs.asdict(row).items() if value}
    assert known == {
        "session_id": "sess_agent",
        "root_session_id": "sess_agent",
        "request_id": "req_sess_agent_2",
        "started_at": "2026-01-01T09:00:00.000000Z",
        "last_active_at": "2026-01-01T09:00:30.000000Z",
        "completed_at": "2026-01-01T09:00:30.000000Z",
        "provider": "anthropic",
        "listener": "openai_chat",
        "model_requested": "gpt-5-mini",
        "model_used": "claude-sonnet-4-5",
        "success": True,
        "finish_reason": "stop",
        "request_count": 2,
        "total_duration_ms": 2020.0,
        "provider_latency_ms": 2000.0,
        "proxy_overhead_ms": 4.0,
        "input_tokens": 200,
        "output_tokens": 100,
        "total_tokens": 300,
        "cost_usd": 0.002,
        "client_ip": "192.0.2.9",
        "user_agent": "tests/1",
        "title": "Repair what fails.",
        "excerpt": "2 failed",
    }
    assert row.is_streaming is False


def test_pages_follow_each_other(tmp_path: Path) -> None:
    database = record(tmp_path / "sessions.db", many(120))
    with following(database) as connection:
        search = Search(connection)
        every = [row.session_id for row in search.every(parse_filter([], now=NOW))]
        pages = [search.page(parse_filter([("page", str(page))], now=NOW)) for page in (1, 2, 3, 4)]
    assert len(set(every)) == 120
    assert [row.session_id for page in pages for row in page.sessions] == every
    assert [len(page.sessions) for page in pages] == [50, 50, 20, 0]
    assert {(page.total, page.pages, page.page_size) for page in pages} == {(120, 3, 50)}


def test_nothing_recorded_is_one_empty_page(tmp_path: Path) -> None:
    with closing(empty(tmp_path / "sessions.db")) as connection:
        page = Search(connection).page(parse_filter([], now=NOW))
    assert (page.sessions, page.total, page.pages) == ((), 0, 1)


def test_detail_of_a_session(search: Search) -> None:
    detail = search.detail("sess_agent")
    assert detail.session.session_id == "sess_agent"
    assert [exchange.relation for exchange in detail.exchanges] == ["first", "continue"]
    first = detail.exchanges[0]
    assert (first.request_text, first.response_text) == ("Repair what fails.", "Let me look.")
    assert (first.source, first.confidence, first.success) == ("new", 1.0, True)
    (call,) = detail.tool_calls
    assert (call.tool_name, call.request_id) == ("run_tests", "req_sess_agent_1")
    assert (call.success, call.execution_time_ms) == (True, 250.0)
    (stream,) = detail.streams
    assert stream["time_to_first_token_ms"] == 120.0
    assert stream["created_at"] == "2026-01-01T09:00:00.000000Z"
    assert detail.children == ("sess_child",)


def test_what_is_not_known_stays_unknown(search: Search) -> None:
    (exchange,) = search.detail("sess_live").exchanges
    assert (exchange.success, exchange.status, exchange.response_text) == (None, None, None)
    (failed,) = search.detail("sess_failed").exchanges
    assert (failed.model_name, failed.success) == ("gpt-5-mini", False)
    assert (failed.input_tokens, failed.cost_usd) == (None, None)


def test_exchanges_and_tools_of_several_sessions_come_in_their_order(search: Search) -> None:
    assert [exchange.request_id for exchange in search.exchanges(EVERYTHING)] == [
        "req_sess_egg_1",
        "req_sess_egg_2",
        "req_sess_agent_1",
        "req_sess_agent_2",
        "req_sess_child_1",
        "req_sess_failed_1",
        "req_sess_live_1",
    ]
    assert [call.tool_call_id for call in search.tool_calls(EVERYTHING)] == ["call_1"]
    where = search.where(parse_filter([("parent", "sess_agent")], now=NOW))
    assert [exchange.session_id for exchange in search.exchanges(where)] == ["sess_child"]


def test_reading_everything_holds_no_transaction(
    connection: sqlite3.Connection, search: Search
) -> None:
    rows = search.exchanges(EVERYTHING)
    next(rows)
    assert not connection.in_transaction


def test_ids_may_be_shortened_where_that_is_clear(search: Search) -> None:
    assert search.resolve("sess_egg") == "sess_egg"
    assert search.resolve("sess_l") == "sess_live"


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        ("", "A session id must not be empty."),
        ("sess_x", 'No recorded session has the id "sess_x", or one that begins so.'),
        ("\udcff", 'No recorded session has the id "\\udcff", or one that begins so.'),
        ("sess_%", 'No recorded session has the id "sess_%", or one that begins so.'),
        (
            "sess_",
            (
                'Several sessions\' ids begin with "sess_": sess_agent, sess_child, sess_egg,'
                " sess_failed, sess_live; give more of it."
            ),
        ),
    ],
)
def test_other_ids_are_a_sentence(search: Search, start: str, sentence: str) -> None:
    with pytest.raises(WrongQuery) as caught:
        search.resolve(start)
    assert str(caught.value) == sentence


def test_ids_that_others_made_up_do_not_drive_the_terminal(tmp_path: Path) -> None:
    talks = (Talk("a\x1b[2J\x9b").ask(), Talk("a\u202e").ask())
    database = record(tmp_path / "sessions.db", talks)
    with following(database) as connection, pytest.raises(WrongQuery) as caught:
        Search(connection).resolve("a")
    assert str(caught.value).isprintable()
    assert "a\\u001b[2J\\u009b, a\\u202e" in str(caught.value)


def test_an_id_that_begins_others_is_itself(tmp_path: Path) -> None:
    talks = (Talk("sess_1").ask(), Talk("sess_11").ask(), Talk("sess_12").ask())
    with following(record(tmp_path / "sessions.db", talks)) as connection:
        assert Search(connection).resolve("sess_1") == "sess_1"


def test_detail_of_no_session_is_a_sentence(search: Search) -> None:
    with pytest.raises(WrongQuery, match=r"^No such session is recorded\.$"):
        search.detail("sess_")


def test_snippets_show_where_a_text_occurs(search: Search) -> None:
    assert search.snippets(SessionFilter(text="rounding"), ["sess_agent", "sess_egg"]) == {
        "sess_agent": "A rounding error: naïve sum."
    }
