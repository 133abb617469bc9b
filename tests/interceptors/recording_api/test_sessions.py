"""What each event does, over HTTP: the rows of the specification and the traps of others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interceptors.recording_api import changes, sessions
from tests.interceptors.recording_api.served import Served, served

START = {"type": "session_start", "session_id": "s1", "provider": "copilot"}


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, max_event_bytes=10_000) as it:
        yield it


def add(message_id: str = "m1", content: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {
        "type": "message_add",
        "session_id": "s1",
        "message_id": message_id,
        "role": "user",
        "content": content,
        **fields,
    }


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (START | {"title": "T", "model": "m", "metadata": {"a": 1}}, "session_started"),
        (add("m2", parent_id="m1", model="x", metadata={"k": []}), "message_added"),
        (
            {"type": "message_update", "session_id": "s1", "message_id": "m1", "content": "Ho",
             "is_complete": True},
            "message_updated",
        ),
        (
            {"type": "message_append", "session_id": "s1", "message_id": "m1",
             "content_delta": "!"},
            "message_appended",
        ),
        ({"type": "session_update", "session_id": "s1", "title": "U"}, "session_updated"),
        ({"type": "heartbeat", "session_id": "s1", "timestamp": 1}, "heartbeat"),
        ({"type": "heartbeat", "timestamp": 1}, "heartbeat"),
        (
            {"type": "session_snapshot", "session_id": "s1", "provider": "p", "messages": []},
            "snapshot_received",
        ),
        ({"type": "session_end", "session_id": "s1"}, "session_ended"),
    ],
)  # fmt: skip
async def test_every_event_is_acknowledged_by_its_own_status(
    api: Served, event: dict[str, Any], status: str
) -> None:
    await api.events(START, add())
    (reply,) = await api.events(event | {"event_id": "e1"})
    assert reply == {
        "type": "ack",
        "event_id": "e1",
        "session_id": event.get("session_id"),
        "status": status,
    }


@pytest.mark.parametrize(
    ("event", "code", "part"),
    [
        ({"type": "nonsense"}, "invalid_event", "nonsense"),
        ({"type": "session_start", "session_id": "s1"}, "invalid_event", "provider"),
        (START | {"session_id": "../../etc"}, "invalid_event", "session_id"),
        (START | {"session_id": "a\n"}, "invalid_event", "session_id"),
        (START | {"session_id": "x" * 129}, "invalid_event", "session_id"),
        (START | {"provider": 4}, "invalid_event", "provider: expected str, got int."),
        (START | {"seq": -1}, "invalid_event", "seq"),
        (START | {"metadata": []}, "invalid_event", "metadata"),
        ("text", "invalid_event", "Expected object, got str."),
        (add("m1", session_id="s2"), "session_not_found", "s2"),
        ({"type": "heartbeat", "session_id": "s2", "timestamp": 1}, "session_not_found", "s2"),
        ({"type": "session_end", "session_id": "s2"}, "session_not_found", "s2"),
        ({"type": "session_update", "session_id": "s2"}, "session_not_found", "s2"),
        (
            {"type": "message_update", "session_id": "s1", "message_id": "m9", "content": "",
             "is_complete": True},
            "message_not_found",
            "m9",
        ),
        (
            {"type": "message_append", "session_id": "s1", "message_id": "m9",
             "content_delta": "x"},
            "message_not_found",
            "m9",
        ),
        (add("m1", "another text"), "invalid_event", "message_update"),
        (add("m2", "x" * 10_001), "too_large", "max_event_bytes"),
        (
            {"type": "session_snapshot", "session_id": "s1", "provider": "p", "messages": [
                {"message_id": "m", "role": "user", "content": "", "created_at": 1}] * 2},
            "invalid_event",
            "same message_id",
        ),
        (
            {"type": "session_snapshot", "session_id": "s1", "provider": "p", "messages": [
                {"message_id": "m", "role": "user", "content": "", "created_at": 2**52}]},
            "invalid_event",
            "messages[0].created_at",
        ),
    ],
)  # fmt: skip
async def test_what_can_not_be_taken_is_an_error_and_changes_nothing(
    api: Served, event: Any, code: str, part: str
) -> None:
    await api.events(START, add())
    before = await api.recovery()
    sent = event | {"event_id": "e9"} if isinstance(event, dict) else event
    bad, good = await api.events(sent, {"type": "heartbeat", "timestamp": 1})
    assert (bad["type"], bad["code"]) == ("error", code)
    assert part in bad["message"]
    assert bad["message"].endswith(".")
    assert bad.get("event_id") == ("e9" if isinstance(event, dict) else None)
    assert good["status"] == "heartbeat"
    assert await api.recovery() == before


async def test_a_session_comes_back_with_all_that_was_said_of_it(api: Served) -> None:
    await api.events(
        START | {"workspace_id": "w", "workspace_path": "/w", "title": "T", "model": "m", "seq": 1},
        add(metadata={"deep": {"a": [1]}}, model="gpt"),
        add("m2", "Hel", role="assistant", parent_id="m1"),
        {"type": "message_append", "session_id": "s1", "message_id": "m2", "content_delta": "lo"},
        {"type": "message_append", "session_id": "s1", "message_id": "m2", "content_delta": " é"},
    )
    answer = await api.recovery()
    first, second = answer.pop("messages")
    assert answer == {
        "type": "recovery",
        "session_id": "s1",
        "message_count": 2,
        "last_message_id": "m2",
        "last_seq": 1,
    }
    assert first.pop("created_at") == pytest.approx(second.pop("created_at"), abs=60_000)
    assert first == {
        "message_id": "m1", "role": "user", "content": "Hi", "model": "gpt",
        "metadata": {"deep": {"a": [1]}},
    }  # fmt: skip
    # A message that grows is not complete until an update says so.
    assert second == {
        "message_id": "m2", "role": "assistant", "content": "Hello é", "parent_id": "m1",
        "is_complete": False,
    }  # fmt: skip
    await api.event("message_update", message_id="m2", content="Hello", is_complete=True)
    assert "is_complete" not in (await api.recovery())["messages"][1]


async def test_resends_are_told_from_new_events(api: Served) -> None:
    append = {
        "type": "message_append", "session_id": "s1", "message_id": "m1", "content_delta": "!",
        "event_id": "e1",
    }  # fmt: skip
    *_, first, second = await api.events(START, add(), append, append)
    assert (first["status"], second["status"]) == ("message_appended", "duplicate")
    assert second["event_id"] == "e1"
    # The same id in another session is another event, and one that failed may be sent again.
    other = START | {"session_id": "s2", "event_id": "e1"}
    assert (await api.events(other))[0]["status"] == "session_started"
    missing = append | {"event_id": "e2", "message_id": "m2"}
    refused, _, applied = await api.events(missing, add("m2"), missing)
    assert (refused["code"], applied["status"]) == ("message_not_found", "message_appended")
    # A message that is sent twice without any id is known by its own.
    assert (await api.events(add("m3"), add("m3")))[1]["status"] == "duplicate"
    contents = [message["content"] for message in (await api.recovery())["messages"]]
    assert contents == ["Hi!", "Hi!", "Hi"]


async def test_gaps_in_the_numbers_are_reported_once(api: Served) -> None:
    numbered = [{"type": "heartbeat", "session_id": "s1", "timestamp": 1, "seq": seq}
                for seq in (3, 4, 8, 6, 9, 9)]  # fmt: skip
    replies = await api.events(START | {"seq": 2}, *numbered)
    assert [reply.get("seq_gap") for reply in replies] == [
        None, None, None, {"expected": 5, "received": 8}, None, None, None,
    ]  # fmt: skip
    assert (await api.recovery())["last_seq"] == 9
    # A client that starts anew counts anew.
    again, next_ = await api.events(START | {"seq": 1}, numbered[0] | {"seq": 2})
    assert "seq_gap" not in again
    assert "seq_gap" not in next_
    assert (await api.recovery())["last_seq"] == 2


async def test_starting_a_live_session_takes_it_up_again(api: Served) -> None:
    await api.events(START | {"title": "T", "metadata": {"a": 1, "b": 1}}, add())
    before = (await api.get("/recording/session/s1"))[1]
    await api.events(START | {"provider": "new", "model": "m", "metadata": {"b": 2, "c": 3}})
    status, after = await api.get("/recording/session/s1")
    assert status == 200
    assert after["started_at"] == before["started_at"]
    assert (after["title"], after["model"], after["provider"]) == ("T", "m", "new")
    assert after["metadata"] == {"a": 1, "b": 2, "c": 3}
    assert len((await api.recovery())["messages"]) == 1


async def test_a_snapshot_replaces_messages_and_keeps_the_rest(api: Served) -> None:
    await api.events(
        START | {"workspace_path": "/w", "workspace_id": "w", "model": "m", "metadata": {"a": 1}},
        add(),
        add("m2"),
    )
    before = (await api.get("/recording/sessions/s1"))[1]
    message = {"message_id": "m2", "role": "user", "content": "new", "created_at": 77}
    status, reply = await api.post(
        "/recording/snapshot",
        {
            "session_id": "s1",
            "provider": "copilot",
            "messages": [message, message | {"message_id": "m3"}],
            "title": "T",
            "metadata": {"b": 2},
            "event_id": "e1",
        },
    )
    assert (status, reply["status"], reply["event_id"]) == (200, "snapshot_received", "e1")
    after = (await api.get("/recording/sessions/s1"))[1]
    kept = ("started_at", "workspace_path", "workspace_id", "model")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert (after["title"], after["metadata"]) == ("T", {"a": 1, "b": 2})
    assert (await api.recovery())["messages"] == [message, message | {"message_id": "m3"}]
    # Of an unknown session, it is its beginning.
    new = {"type": "session_snapshot", "session_id": "s7", "provider": "p", "messages": [message]}
    assert (await api.post("/recording/snapshot", new))[0] == 200
    assert (await api.recovery("s7"))["message_count"] == 1


async def test_the_count_at_the_end_is_compared(api: Served) -> None:
    await api.events(START, add())
    assert (await api.event("session_end", final_message_count=3))["message_count"] == {
        "expected": 3,
        "received": 1,
    }
    await api.events(START)
    assert "message_count" not in await api.event("session_end", final_message_count=1)


async def test_an_ended_session_takes_nothing_until_it_starts_again(api: Served) -> None:
    await api.events(START, add())
    await api.event("session_end")
    assert (await api.events(add("m2")))[0]["code"] == "session_not_found"
    assert (await api.get("/recording/sessions"))[1] == {"active_sessions": [], "total": 0}
    assert (await api.recovery())["message_count"] == 1
    details = (await api.get("/recording/session/s1"))[1]
    assert (details["end_reason"], details["ended_at"] is not None) == ("ended", True)
    await api.events(START)
    assert (await api.events(add("m2")))[0]["status"] == "message_added"
    assert (await api.get("/recording/sessions"))[1]["total"] == 1


async def test_everything_is_bounded(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 1)
    monkeypatch.setattr(changes, "MAX_MESSAGES", 2)
    monkeypatch.setattr(changes, "MAX_CHARACTERS", 20)
    monkeypatch.setattr(changes, "MAX_METADATA", 50)
    await api.events(START, add())
    (reply,) = await api.events(START | {"session_id": "s2"})
    assert reply["code"] == "unavailable"
    assert (await api.event("message_append", message_id="m1", content_delta="x" * 19))[
        "code"
    ] == "too_large"
    assert (await api.event("message_update", message_id="m1", content="x" * 21, is_complete=True))[
        "code"
    ] == "too_large"
    *_, third = await api.events(add("m2"), add("m3"))
    assert third["code"] == "too_large"
    assert (await api.event("session_update", metadata={"k": "x" * 30}))["type"] == "ack"
    assert (await api.event("session_update", metadata={"l": "x" * 30}))["code"] == "too_large"
    assert [m["content"] for m in (await api.recovery())["messages"]] == ["Hi", "Hi"]


async def test_unknown_fields_are_passed_over(api: Served) -> None:
    (reply,) = await api.events(json.loads(json.dumps(START | {"future": {"x": 1}})))
    assert reply["status"] == "session_started"
