"""Recorded sessions in tables, and that nothing recorded drives the reader's terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.cli import session_tables
from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.reading import following
from gateway_sessions.storage.reports import Reports
from tests.cli.shown import EVIL, TALKS, page_of, printed
from tests.storage.recorded import record


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("tables") / "sessions.db", TALKS)


def test_a_list_of_sessions(database: Path) -> None:
    page = page_of(database, SessionFilter(session_ids=("sess_egg", "sess_live")))
    heading, egg, live = printed([session_tables.sessions_table(page, 140)]).splitlines()
    assert " ".join(heading.split()) == "Session Started Model Requests Tokens Cost Time Ok About"
    assert " ".join(egg.split()) == (
        "sess_egg 2026-01-01 08:00 gpt-5-mini 2 300 $0.00100 2.02 s ✗"
        " How long do I boil an egg? A big one."
    )
    assert live.split()[-2:] == ["…", "Wait"]


def test_a_narrow_terminal_shows_no_texts(database: Path) -> None:
    page = page_of(database, SessionFilter(session_ids=("sess_egg",)))
    shown = printed([session_tables.sessions_table(page, 80)], 80)
    assert "About" not in shown
    assert "sess_egg  2026-01-01 08:00  gpt-5-mini" in shown


def test_lines_below_a_list(database: Path) -> None:
    page = page_of(database, SessionFilter())
    assert session_tables.page_line(page) == "5 sessions."
    first = page_of(database, SessionFilter(page_size=2))
    assert session_tables.page_line(first) == "5 sessions, page 1 of 3; --page 2 shows more."
    last = page_of(database, SessionFilter(page_size=2, page=3))
    assert session_tables.page_line(last) == "5 sessions, page 3 of 3."


def test_sums_on_a_line(database: Path) -> None:
    with following(database) as connection:
        sums = Reports(connection).sums(SessionFilter(session_ids=("sess_egg", "sess_agent")))
    assert session_tables.sums_line(sums) == (
        "2 sessions, 3 requests (1 failed), 450 tokens, $0.00200 (1 without a price);"
        " latency p50 1.00 s, p95 1.00 s, p99 1.00 s."
    )


def test_found_texts_stand_below_their_sessions(database: Path) -> None:
    page = page_of(database, SessionFilter(session_ids=("sess_egg",)))
    assert printed(session_tables.found_texts(page, {"sess_egg": "…Seven\nminutes."})) == (
        "sess_egg  2026-01-01 08:00  gpt-5-mini  2 requests  $0.00100\n  …Seven minutes.\n"
    )


def test_nothing_recorded_drives_the_terminal(database: Path) -> None:
    evil = SessionFilter(providers=(EVIL,))
    session_id = f"sess_{EVIL}"
    with following(database) as connection:
        groups = Reports(connection).groups("session", evil)
        tools = Reports(connection).tools(evil)
    page = page_of(database, evil)
    shown = [
        printed([session_tables.sessions_table(page, 300)], 300),
        printed(session_tables.found_texts(page, {session_id: EVIL})),
        printed([session_tables.groups_table("Session", groups, 300)], 300),
        printed([session_tables.tools_table(tools)], 300),
    ]
    for text in shown:
        assert text.replace("\n", "").isprintable()
        assert "a\\u001b]0;owned\\u0007" in text
        assert "[bold]" in text
