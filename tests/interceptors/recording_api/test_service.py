"""Handing sessions to the recorder: when, what, and what becomes of what it could not take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions import session_events as e
from gateway_sessions.web.admin import AdminGuard
from interceptors.recording_api import PREFIXES, RecordingApi, upkeep
from interceptors.recording_api.protocol import Refused
from interceptors.recording_api.service import Options, Service
from tests.interceptors.recording_api.served import PATIENCE, Recorder, Served, served

START: dict[str, Any] = {"type": "session_start", "session_id": "s1", "provider": "copilot"}
NEVER = 3600.0


def message(number: int, content: str = "Hi", role: str = "user") -> dict[str, Any]:
    return {
        "type": "message_add",
        "session_id": "s1",
        "message_id": f"m{number}",
        "role": role,
        "content": content,
    }


def kinds(recorder: Recorder) -> list[str]:
    return [type(event).__name__ for event in recorder.events]


def contents(recorder: Recorder) -> list[str | None]:
    return [event.content for event in recorder.events if isinstance(event, e.MessageRecorded)]


async def test_changed_sessions_are_handed_over_every_interval(tmp_path: Path) -> None:
    recorder = Recorder()
    async with served(tmp_path, recorder, persist_interval_secs=0.05) as api:
        await api.events(START | {"model": "m", "title": "T"}, message(1))
        await recorder.has(e.MessageRecorded)
        assert kinds(recorder) == ["Started", "SessionReported", "MessageRecorded"]
        started, reported, recorded = recorder.events
        assert isinstance(started, e.Started)
        assert (started.source, started.relation, started.listener, started.provider) == (
            "explicit", "first", "recording_api", "copilot",
        )  # fmt: skip
        assert isinstance(reported, e.SessionReported)
        assert (reported.title, reported.model, reported.message_count) == ("T", "m", 1)
        assert isinstance(recorded, e.MessageRecorded)
        assert (recorded.request_id, recorded.content_characters) == ("recording_api:m1", 2)
        await api.event("message_append", message_id="m1", content_delta="!")
        await recorder.has(e.MessageRecorded, 2)
        assert contents(recorder) == ["Hi", "Hi!"]
        assert kinds(recorder).count("Started") == 1


async def test_many_changes_are_handed_over_at_once(tmp_path: Path) -> None:
    recorder = Recorder()
    async with served(
        tmp_path, recorder, persist_interval_secs=NEVER, max_memory_messages=3
    ) as api:
        await api.events(START, message(1), message(2))
        status = (await api.get("/recording/status"))[1]
        assert (status["active_sessions"], status["dirty_sessions"]) == (1, 1)
        assert recorder.events == []
        await api.events(message(3))
        await recorder.has(e.MessageRecorded, 3)
        assert contents(recorder) == ["Hi"] * 3


async def test_the_end_of_a_session_is_handed_over_at_once(tmp_path: Path) -> None:
    recorder = Recorder()
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as api:
        await api.events(START, message(1), {"type": "session_end", "session_id": "s1"})
        await recorder.has(e.Completed)
    last = recorder.events[-1]
    assert isinstance(last, e.Completed)
    assert last.reason == "ended"
    assert contents(recorder) == ["Hi"]


async def test_a_shutdown_hands_over_what_is_left_and_ends_no_session(tmp_path: Path) -> None:
    recorder = Recorder()
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as api:
        await api.events(START, message(1))
    assert kinds(recorder) == ["Started", "SessionReported", "MessageRecorded"]
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as api:
        assert (await api.recovery())["message_count"] == 1
        await api.events(message(2))
        assert (await api.get("/recording/sessions"))[1]["total"] == 1
    assert kinds(recorder)[3:] == ["SessionReported", "MessageRecorded"]


async def test_silent_sessions_are_closed(tmp_path: Path) -> None:
    recorder = Recorder()
    async with served(
        tmp_path, recorder, persist_interval_secs=0.05, session_timeout_secs=0.2
    ) as api:
        await api.events(START)
        await recorder.has(e.Completed)
        last = recorder.events[-1]
        assert isinstance(last, e.Completed)
        assert last.reason == "expired"
        assert (await api.event("session_update"))["code"] == "session_not_found"


async def test_a_full_recorder_is_asked_again(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.full = True
    async with served(tmp_path, recorder, persist_interval_secs=0.05) as api:
        await api.events(START, message(1), {"type": "session_end", "session_id": "s1"})
        assert (await api.get("/recording/status"))[1]["dirty_sessions"] == 1
        recorder.full = False
        await recorder.has(e.Completed)
        assert kinds(recorder) == ["Started", "SessionReported", "MessageRecorded", "Completed"]


async def test_large_sessions_go_in_parcels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PARCEL_MESSAGES", 2)
    monkeypatch.setattr(upkeep, "PARCEL_CHARACTERS", 25)
    recorder = Recorder()
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as api:
        await api.events(START, *(message(number, "x" * 10) for number in range(5)))
        await api.events(
            message(5, "y" * 30), START | {"session_id": "s2"},
            {"type": "session_end", "session_id": "s1"},
        )  # fmt: skip
    assert contents(recorder) == ["x" * 10] * 5 + ["y" * 30]
    assert kinds(recorder).count("Completed") == 1
    assert kinds(recorder).count("Started") == 2
    completed = next(event for event in recorder.events if isinstance(event, e.Completed))
    place = recorder.events.index(completed)
    assert not [event for event in recorder.events[place:] if isinstance(event, e.MessageRecorded)]
    assert recorder.flushes >= 3


async def test_what_a_snapshot_lacks_is_removed(tmp_path: Path) -> None:
    recorder = Recorder()
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as api:
        await api.events(START, message(1), message(2))
        kept = {"message_id": "m2", "role": "user", "content": "new", "created_at": 1000}
        await api.event("session_snapshot", provider="p", messages=[kept])
    removed, recorded = recorder.events[-2:]
    assert isinstance(removed, e.MessageRemoved)
    assert isinstance(recorded, e.MessageRecorded)
    assert (removed.message_id, recorded.content) == ("m1", "new")
    assert recorded.created_at == "1970-01-01T00:00:01.000000Z"


async def test_texts_are_left_out_where_only_facts_are_recorded(tmp_path: Path) -> None:
    recorder = Recorder()
    config = {"session_recording": {"content": "metadata"}}
    async with served(tmp_path, recorder, config=config) as api:
        await api.events(START | {"title": "planted", "metadata": {"k": "planted"}})
        await api.events(message(1, "planted") | {"metadata": {"k": "planted"}})
    assert recorder.events
    assert "planted" not in repr(recorder.events)
    (recorded,) = (event for event in recorder.events if isinstance(event, e.MessageRecorded))
    assert recorded.content_characters == 7


async def test_without_a_recorder_the_journal_is_all(tmp_path: Path) -> None:
    async with served(tmp_path, None, persist_interval_secs=NEVER) as api:
        await api.events(START, message(1))
        assert (await api.get("/recording/status"))[1]["dirty_sessions"] == 1
        assert api.api._service is not None
        await api.api._service._upkeep()
        assert (await api.get("/recording/status"))[1]["dirty_sessions"] == 0
        assert (await api.recovery())["message_count"] == 1


async def test_changes_during_the_handing_over_are_not_forgotten(tmp_path: Path) -> None:
    class Slow(Recorder):
        async def flush(self) -> None:
            if not self.flushes:
                await api.event("message_append", message_id="m1", content_delta="!")
            await super().flush()

    recorder = Slow()
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as it:
        api: Served = it
        await api.events(START, message(1), START | {"session_id": "s2"})
        assert api.api._service is not None
        await api.api._service._upkeep()
    assert contents(recorder) == ["Hi", "Hi!"]


async def test_ended_sessions_are_forgotten_when_the_recorder_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, now = Recorder(), 1_700_000_000.0
    service = Service(tmp_path / "j.db", Options(), recorder, clock=lambda: now)
    await service.open()
    monkeypatch.setattr(upkeep, "KEEP_ENDED", 2)
    recorder.full = True
    for number in range(4):
        now += 1
        for kind in ("session_start", "session_end"):
            text = (
                f'{{"type":"{kind}","session_id":"s{number}","provider":"p","event_id":"{kind}"}}'
            )
            await service.take([text.encode()])
    await service._upkeep()
    assert [await known(service, number) for number in range(4)] == [True] * 4
    recorder.full = False
    await service._upkeep()
    assert [await known(service, number) for number in range(4)] == [False, False, True, True]
    now += upkeep.KEEP_ENDED_MS / 1000 + 1
    await service._upkeep()
    assert [await known(service, number) for number in range(4)] == [False] * 4
    await service.close()


async def known(service: Service, number: int) -> bool:
    try:
        await service.session(f"s{number}")
    except Refused as refused:
        return refused.code != "session_not_found"
    return True


async def test_event_ids_are_remembered_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MAX_SEEN", 2)
    recorder = Recorder()
    beat = {"type": "heartbeat", "session_id": "s1", "timestamp": 1}
    async with served(tmp_path, recorder, persist_interval_secs=NEVER) as api:
        await api.events(START, *(beat | {"event_id": f"e{number}"} for number in range(4)))
        assert api.api._service is not None
        await api.api._service._upkeep()
        replies = await api.events(*(beat | {"event_id": f"e{number}"} for number in (3, 2, 1)))
        assert [reply["status"] for reply in replies] == ["duplicate", "duplicate", "heartbeat"]


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_every_route_is_there_under_both_prefixes(tmp_path: Path, prefix: str) -> None:
    async with served(tmp_path) as api:
        status, answer = await api.post(f"{prefix}/events", {"events": [START]})
        assert (status, answer["processed"]) == (200, 1)
        snapshot = {"session_id": "s1", "provider": "p", "messages": []}
        assert (await api.post(f"{prefix}/snapshot", snapshot))[0] == 200
        for path in ("sessions", "session/s1", "sessions/s1", "session/s1/recovery",
                     "sessions/s1/recovery", "status", "openapi.json"):  # fmt: skip
            assert (await api.get(f"{prefix}/{path}"))[0] == 200
        for path in ("session/x", "sessions/x/recovery"):
            status, answer = await api.get(f"{prefix}/{path}")
            assert (status, answer["code"]) == (404, "session_not_found")
        async with api.http.ws_connect(f"{api.url}{prefix}/ws") as socket:
            assert (await socket.receive_json())["type"] == "connected"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "parse_error"),
        (b"[]", 400, "invalid_event"),
        (b"{}", 400, "invalid_event"),
        (b'{"events":[' + b"{}," * 1000 + b"{}]}", 413, "too_large"),
        (b" " * 40_000, 413, "too_large"),
    ],
)
async def test_bodies_that_are_refused(tmp_path: Path, body: bytes, status: int, code: str) -> None:
    async with served(tmp_path, max_event_bytes=1000) as api:
        got, answer = await api.post("/recording/events", body)
        assert (got, answer["type"], answer["code"]) == (status, "error", code)
        got, answer = await api.post("/recording/snapshot", b'{"session_id":"s","event_id":"e"}')
        assert (got, answer["code"], answer["event_id"]) == (400, "invalid_event", "e")
        large = {"session_id": "s", "provider": "p", "messages": [], "title": "x" * 1000}
        got, answer = await api.post("/recording/snapshot", large)
        assert (got, answer["code"]) == (413, "too_large")
        twice = [{"message_id": "m", "role": "u", "content": "", "created_at": 1}] * 2
        got, answer = await api.post(
            "/recording/snapshot", {"session_id": "s", "provider": "p", "messages": twice}
        )
        assert (got, answer["code"]) == (400, "invalid_event")


async def test_a_reporting_token_opens_this_and_shows_no_other_sessions(tmp_path: Path) -> None:
    guard = AdminGuard("admin", reporting_token="reports")
    async with served(tmp_path, guard=guard, token="reports") as api:
        await api.events(START)
        assert (await api.recovery())["message_count"] == 0
        status, answer = await api.get("/recording/sessions")
        assert (status, answer["code"]) == (401, "unauthorized")
        assert (await api.get("/health"))[0] == 401
        async with api.socket() as socket:
            await socket.send_json({"type": "subscribe", "session_id": "*"})
            answer = await socket.receive_json()
            assert (answer["type"], answer["code"]) == ("error", "unauthorized")
            await socket.send_json({"type": "subscribe", "session_id": "s1"})
            assert (await socket.receive_json())["type"] == "subscribed"
        admin = {"Authorization": "Bearer admin"}
        assert (await api.get("/recording/sessions", headers=admin))[1]["total"] == 1
        async with api.socket(headers=admin) as socket:
            await socket.send_json({"type": "subscribe", "session_id": "*"})
            assert (await socket.receive_json())["type"] == "subscribed"


def paths(api: RecordingApi) -> list[tuple[str, str]]:
    return [(route.method, route.path.replace("{id}", "s1")) for route in api.routes()]


async def test_no_route_answers_without_the_token(tmp_path: Path) -> None:
    async with served(tmp_path, guard=AdminGuard("admin", reporting_token="r")) as api:
        assert len(paths(api.api)) == 20
        for method, path in paths(api.api):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic r"}):
                async with api.http.request(method, api.url + path, headers=headers) as response:
                    assert response.status == 401, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "localhost", "Origin": "http://localhost.evil.example"},
    ],
)
async def test_no_route_answers_a_foreign_page(tmp_path: Path, headers: dict[str, str]) -> None:
    async with served(tmp_path) as api:
        for method, path in paths(api.api):
            async with api.http.request(method, api.url + path, headers=headers) as response:
                assert response.status == 403, path


async def test_others_hear_of_events_whose_sender_has_left(tmp_path: Path) -> None:
    async with served(tmp_path) as api, api.socket() as listener:
        await listener.send_json({"type": "subscribe", "session_id": "s1"})
        assert (await listener.receive_json())["type"] == "subscribed"
        service = api.api._service
        assert service is not None
        taking = asyncio.get_running_loop().create_task(service.take([msgspec.json.encode(START)]))
        await asyncio.sleep(0)  # it is under way
        taking.cancel()
        assert (await listener.receive_json(timeout=PATIENCE))["event"] == START
        assert taking.cancelled()


async def test_there_are_no_routes_before_it_is_open() -> None:
    api = RecordingApi()
    assert api.routes() == []
    await api.close()
