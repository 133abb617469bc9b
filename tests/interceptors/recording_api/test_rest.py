"""The HTTP half: bodies, limits, statuses, and who may see what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway_sessions.web.admin import AdminGuard
from interceptors.recording_api.rest import BODY_EVENTS, body_limit
from tests.interceptors.recording_api.served import Served, served

START = {"type": "session_start", "session_id": "s1", "provider": "p"}
MAX = 1000


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, max_event_bytes=MAX) as it:
        yield it


async def test_a_batch_is_answered_event_by_event(api: Served) -> None:
    status, answer = await api.post(
        "/recording/events", {"events": [START, {"type": "dream"}, START | {"session_id": "s2"}]}
    )
    assert status == 200
    assert answer["processed"] == 2
    assert [reply["type"] for reply in answer["responses"]] == ["ack", "error", "ack"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("events", b"no json", 400, "parse_error"),
        ("events", b'{"events": 1}', 400, "invalid_event"),
        ("snapshot", b'{"session_id": "s1"}', 400, "invalid_event"),
        ("snapshot", b"\xff", 400, "parse_error"),
        ("events", b" " * (body_limit(MAX) + 1), 413, "too_large"),
        ("snapshot", b" " * (body_limit(MAX) + 1), 413, "too_large"),
    ],
)
async def test_a_body_that_can_not_be_taken_is_told(
    api: Served, path: str, body: bytes, status: int, code: str
) -> None:
    found, answer = await api.post(f"/recording/{path}", body)
    assert (found, answer["type"], answer["code"]) == (status, "error", code)


async def test_the_largest_body_is_taken(api: Served) -> None:
    body = b'{"events": []}'
    assert await api.post("/recording/events", body.ljust(body_limit(MAX))) == (
        200,
        {"processed": 0, "responses": []},
    )
    assert body_limit(MAX) >= BODY_EVENTS * MAX


async def test_a_snapshot_needs_no_type_and_keeps_its_id_when_refused(api: Served) -> None:
    body: dict[str, Any] = {"session_id": "s1", "provider": "p", "messages": []}
    status, answer = await api.post("/recording/snapshot", body)
    assert (status, answer["status"]) == (200, "snapshot_received")
    status, answer = await api.post("/recording/snapshot", body | {"messages": 1, "event_id": "e"})
    assert (status, answer["code"], answer["event_id"]) == (400, "invalid_event", "e")


@pytest.mark.parametrize("path", ["session/s9", "sessions/s9", "session/s9/recovery"])
async def test_an_unknown_session_is_not_found(api: Served, path: str) -> None:
    status, answer = await api.get(f"/recording/{path}")
    assert (status, answer["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("path", ["session/s1", "sessions/s1"])
async def test_a_session_has_two_addresses(api: Served, path: str) -> None:
    await api.events(START)
    status, answer = await api.get(f"/recording/{path}")
    assert (status, answer["session_id"]) == (200, "s1")
    status, answer = await api.get(f"/recording/{path}/recovery")
    assert (status, answer["message_count"]) == (200, 0)


async def test_answers_are_kept_nowhere(api: Served) -> None:
    async with api.http.get(f"{api.url}/recording/status") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.content_type == "application/json"


@pytest.mark.parametrize(("token", "status"), [("admin", 200), ("reporter", 401)])
async def test_all_sessions_are_for_the_administrator(
    tmp_path: Path, token: str, status: int
) -> None:
    guard = AdminGuard("admin", reporting_token="reporter")
    async with served(tmp_path, guard=guard, token=token) as api:
        await api.events(START)
        found, answer = await api.get("/recording/sessions")
    assert found == status
    if status == 200:
        assert (answer["total"], answer["active_sessions"][0]["session_id"]) == (1, "s1")
