"""The pages' figures as JSON."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.interceptors.dashboard.served import Client, database, serving
from tests.storage.recorded import NOW, Talk, empty, insert


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "sessions.db"
    talk = Talk("sess_1", started=NOW - timedelta(hours=2)).ask("Why?").ask("How?")
    database(path, [talk.call("grep", "call_1"), Talk("sess_2", started=NOW).ask("Who?")])
    connection = empty(path)
    at = "2026-01-31 12:00:00.000000"
    row = {"session_id": "sess_1", "message_id": "m1", "role": "user", "content": "Hi"}
    times = {"created_at": at, "updated_at": at}
    insert(connection, "messages", row | {"content_characters": 2, "is_complete": 1} | times)
    connection.close()
    return path


async def asked(client: Client, path: str) -> tuple[int, Any]:
    answer = await client.get(f"/sessions/api/{path}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/json"
    return answer.status, await answer.json()


async def test_a_session_comes_with_everything_in_it(recorded: Path) -> None:
    async with serving(recorded) as client:
        status, found = await asked(client, "session/sess_1")
    assert status == 200
    assert found["session"]["session_id"] == "sess_1"
    assert [one["request_text"] for one in found["exchanges"]] == ["Why?", "How?"]
    assert [one["content"] for one in found["messages"]] == ["Hi"]


async def test_sessions_are_those_of_a_filter(recorded: Path) -> None:
    async with serving(recorded) as client:
        _, every = await asked(client, "sessions?sort=started&order=asc")
        _, some = await asked(client, "sessions?text=Who")
    assert [row["session_id"] for row in every["sessions"]] == ["sess_1", "sess_2"]
    assert [row["session_id"] for row in some["sessions"]] == ["sess_2"]


async def test_an_exchange_has_its_events_and_not_twice(recorded: Path) -> None:
    async with serving(recorded) as client:
        status, found = await asked(client, "session/sess_1/request/req_sess_1_2")
    assert status == 200
    assert found["exchange"]["request_text"] == "How?"
    assert not found.keys() & {"request", "response"}


async def test_periods_have_figures(recorded: Path) -> None:
    async with serving(recorded) as client:
        _, overview = await asked(client, "overview?period=day")
        _, models = await asked(client, "models?period=day")
    assert overview["active_sessions"] == 3
    assert [model["model"] for model in models["models"]] == ["gpt-5-mini"]
    assert [tool["key"] for tool in models["tools"]] == ["grep"]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("session/sess_9", 404, "No such session"),
        ("session/sess_1/request/req_9", 404, "No such request"),
        ("overview?period=ever", 400, "period must be one of"),
        ("sessions?min_cost=much", 400, "min_cost"),
    ],
)
async def test_what_can_not_be_answered_is_said(
    recorded: Path, path: str, status: int, sentence: str
) -> None:
    async with serving(recorded) as client:
        found, answer = await asked(client, path)
    assert found == status
    assert sentence in answer["error"]
