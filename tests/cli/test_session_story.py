"""One session as it is told, and that nothing recorded drives the reader's terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.cli import session_story
from tests.cli.shown import EVIL, TALKS, detail_of, printed
from tests.storage.recorded import record


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("story") / "sessions.db", TALKS)


def test_a_session_is_told_from_first_to_last(database: Path) -> None:
    shown = printed(session_story.told(detail_of(database, "sess_egg"), full=False))
    assert shown.splitlines() == [
        "sess_egg  How long do I boil an egg? A big one.",
        (
            "  openai · gpt-5-mini · 2026-01-01 08:00:00 to 2026-01-01 08:00:30 UTC,"
            " ended 2026-01-01 08:00:30"
        ),
        (
            "  2 requests · 300 tokens (200 in, 100 out, 7 thinking) · $0.00100"
            " · 2.00 s at the provider, 4 ms here"
        ),
        "  from 192.0.2.1 (tests/1)",
        "",
        "1  2026-01-01 08:00:00  first (by new 1.00)  200, stop",
        "   gpt-5-mini · 1.00 s · 100 in, 50 out, 7 thinking · $0.00100 · req_sess_egg_1",
        "   > How long do I boil an egg?",
        "     A big one.",
        "   < Seven minutes.",
        "",
        "2  2026-01-01 08:00:30  continue (by prefix 1.00)  stop, client_closed",
        "   gpt-5-mini · 1.00 s · 100 in, 50 out · – · req_sess_egg_2",
        "   > Soft?",
        "   < Five.",
    ]


def test_tools_and_relatives_are_told(database: Path) -> None:
    shown = printed(session_story.told(detail_of(database, "sess_agent"), full=False))
    assert '   tool run_tests({"path":"tests"})  250 ms  120 B\n' in shown
    assert '   tool read_file({"path":"tests"})  no result seen\n' in shown
    assert "y…) 250 ms 120 B failed" in " ".join(shown.split())
    assert "  started sess_child\n" in shown
    child = printed(session_story.told(detail_of(database, "sess_child"), full=False))
    assert "  started by sess_agent, root sess_agent\n" in child


def test_what_goes_on_is_told_as_such(database: Path) -> None:
    shown = printed(session_story.told(detail_of(database, "sess_live"), full=False))
    assert "still open" in shown
    assert "first (by new 1.00)  in flight" in shown


def test_long_texts_are_cut_unless_all_is_wanted(database: Path) -> None:
    detail = detail_of(database, "sess_agent")
    cut = printed(session_story.told(detail, full=False))
    assert "… (1,000 more characters; --full shows them)" in cut.replace("\n     ", " ")
    assert printed(session_story.told(detail, full=True)).count("x") == 3000


def test_nothing_recorded_drives_the_terminal(database: Path) -> None:
    shown = printed(session_story.told(detail_of(database, f"sess_{EVIL}"), full=True))
    assert shown.replace("\n", "").isprintable()
    assert "a\\u001b]0;owned\\u0007" in shown
    assert "[bold]" in shown
