"""One session's page: turns, what changed, the tree."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gateway_sessions import WrongQuery
from gateway_sessions.storage.readers import open_reader
from gateway_sessions.storage.sqlite import connect, transaction
from interceptors.dashboard.messages import MESSAGES
from interceptors.dashboard.story import TURNS, Story, story
from tests.interceptors.dashboard.served import database, serving
from tests.storage.recorded import NOW, Talk, insert


def read(path: Path, page: int | None = None, session_id: str = "sess_1") -> Story:
    with closing(open_reader(path)) as connection:
        return story(connection, session_id, page)


def talk(turns: int) -> Talk:
    made = Talk("sess_1", started=NOW - timedelta(hours=1))
    for number in range(1, turns + 1):
        made.ask(f"question {number}", f"answer {number}")
    return made


def test_the_newest_turns_come_on_the_last_page_which_is_shown(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", [talk(2 * TURNS + 3), Talk("sess_2").ask()])
    found = read(path)
    assert (found.page, found.pages, found.total) == (3, 3, 2 * TURNS + 3)
    assert [turn.number for turn in found.turns] == [41, 42, 43]
    assert [turn.request_text for turn in found.turns][-1] == "question 43"
    assert [turn.number for turn in read(path, 2).turns] == list(range(21, 41))
    assert read(path, 99).page == 3
    assert len(found.points) == found.total


def test_calls_stand_with_their_turn(tmp_path: Path) -> None:
    made = talk(1).call("grep", "a", tool_arguments="x" * 500)
    for number in range(15):
        made.call("read", f"b{number}")
    (turn,) = read(database(tmp_path / "s.db", [made.ask("next")])).turns[:1]
    assert len(turn.calls) == 12
    assert turn.more_calls == 4
    assert len(turn.calls[0].tool_arguments or "") == 161


def test_what_replaces_a_turn_is_shown_beside_it(tmp_path: Path) -> None:
    made = talk(1).ask("be quick", relation="continue").ask("be brief", relation="fork")
    made.ask("be brief", relation="regenerate")
    found = read(database(tmp_path / "s.db", [made]))
    assert [[piece.kind for piece in turn.changed] for turn in found.turns] == [
        [], [], ["same", "gone", "new"], [],
    ]  # fmt: skip


def test_what_replaces_the_last_turn_of_the_page_before(tmp_path: Path) -> None:
    made = talk(TURNS).ask("question twenty", relation="fork")
    (turn,) = read(database(tmp_path / "s.db", [made])).turns
    assert "".join(piece.text for piece in turn.changed if piece.kind == "gone") == "20"


def test_the_tree_holds_sub_agents_below_their_parents(tmp_path: Path) -> None:
    family = [
        talk(1),
        Talk("sess_a", parent="sess_1", root="sess_1").ask(),
        Talk("sess_b", parent="sess_a", root="sess_1").ask(),
        Talk("sess_c", parent="sess_1", root="sess_1").ask(),
    ]
    path = database(tmp_path / "s.db", family)
    members = [row for row in read(path).tree if row.member is not None]
    depths = {row.member.session.session_id: row.depth for row in members if row.member is not None}
    assert depths == {"sess_1": 0, "sess_a": 2, "sess_b": 4, "sess_c": 2}
    assert list(depths).index("sess_b") == list(depths).index("sess_a") + 1
    assert read(path, session_id="sess_b").tree == ()


def test_a_session_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongQuery):
        read(database(tmp_path / "s.db", []))


async def test_the_page_says_why_each_request_is_there(tmp_path: Path) -> None:
    made = talk(1).ask("again", relation="retry", source="prefix", confidence=0.95)
    async with serving(database(tmp_path / "s.db", [made])) as client:
        text = await (await client.get("/sessions/session/sess_1")).text()
    assert "Sends the same again after a failure" in text
    assert "confidence 0.95" in text


def report(path: Path, number: int) -> None:
    """Add messages as the recording API does."""
    with closing(connect(path)) as connection, transaction(connection):
        for count in range(number):
            row = {
                "session_id": "sess_1",
                "message_id": f"m{count}",
                "role": "assistant" if count % 2 else "user",
                "content": f"<said> {count} " + "x" * 2_000,
                "content_characters": 2_010,
                "is_complete": count < number - 1,
                "created_at": f"2026-01-31 10:00:00.{count:06d}",
                "updated_at": "2026-01-31 10:00:00.000000",
            }
            insert(connection, "messages", row)


async def test_messages_that_a_client_reported_are_shown(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", [talk(1)])
    report(path, MESSAGES + 1)
    found = read(path)
    assert (found.pages, found.turns) == (2, ())
    assert [one.message_id for one in found.messages] == [f"m{MESSAGES}"]
    first = read(path, 1)
    assert len(first.turns) == 1
    assert len(first.messages) == MESSAGES
    assert first.messages[0].is_cut
    async with serving(path) as client:
        text = await (await client.get("/sessions/session/sess_1")).text()
        assert "&lt;said&gt; 20" in text
        assert "goes on" in text
        whole = await (await client.get("/sessions/api/session/sess_1")).json()
        assert len(whole["messages"]) == MESSAGES + 1
        assert len(whole["messages"][0]["content"]) > 2_000
