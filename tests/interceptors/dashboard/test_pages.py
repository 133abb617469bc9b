"""Pages show what their addresses ask for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from gateway_sessions import WrongQuery
from interceptors.dashboard.database import Problem
from interceptors.dashboard.pages import json_problem, shown_problem
from tests.interceptors.dashboard.served import Client, database, serving
from tests.storage.recorded import NOW, Talk


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    talk = Talk("sess_1", started=NOW - timedelta(hours=2)).ask("Why?", "Because.").ask("How?")
    talks = [talk.call("grep", "call_1"), Talk("sess_2", started=NOW).ask("Who?")]
    return database(tmp_path_factory.mktemp("pages") / "sessions.db", talks)


async def shown(client: Client, path: str, status: int = 200) -> str:
    answer = await client.get(f"/sessions{path}")
    assert answer.status == status
    return await answer.text()


async def test_the_overview_has_plots_and_the_newest_sessions(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "?period=day")
    assert text.count("<svg") >= 3
    assert text.index("sess_2") < text.index("sess_1"), "the newest comes first"


async def test_the_list_keeps_what_was_asked_in_its_form(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "/list?text=Why&sort=cost")
    assert 'value="Why"' in text
    assert "sess_1" in text
    assert "sess_2" not in text


async def test_a_wrong_filter_is_told_above_the_form(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "/list?min_cost=much&text=Why", status=400)
    assert "Least cost" in text
    assert 'value="Why"' in text, "what was right stays"


async def test_a_session_shows_its_turns(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "/session/sess_1")
    for said in ("Why?", "Because.", "How?", "grep"):
        assert said in text
    assert "Who?" not in text


async def test_an_exchange_shows_its_texts(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "/session/sess_1/request/req_sess_1_1")
    assert "Why?" in text
    assert "Because." in text
    assert "How?" not in text


async def test_models_and_tools_have_a_page(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "/models?period=day")
    assert "gpt-5-mini" in text
    assert "grep" in text


async def test_the_live_page_begins_with_the_newest_exchanges(recorded: Path) -> None:
    async with serving(recorded) as client:
        text = await shown(client, "/tail")
    ids = ["req_sess_1_1", "req_sess_1_2", "req_sess_2_1"]
    assert sorted(ids, key=text.index) in (ids, ids[::-1])


@pytest.mark.parametrize(
    ("error", "status", "heading"),
    [
        (Problem("Too busy", "Come back later.", 503), 503, "Too busy"),
        (WrongQuery("No such session: x."), 404, "Not recorded"),
        (WrongQuery("page must be a number."), 400, "That can not be shown"),
    ],
)
def test_a_problem_is_a_page_and_json(error: Exception, status: int, heading: str) -> None:
    made = shown_problem("/sessions", error)
    assert made.status == status
    assert made.text is not None
    assert heading in made.text
    assert str(error) in made.text
    told = json_problem(error)
    assert told.status == status
    assert told.text is not None
    assert json.loads(told.text) == {"error": str(error)}
