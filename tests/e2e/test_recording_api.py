"""A gateway as users start it: editors report, the proxy detects, and both are one feed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway_sessions.app import Running, start
from gateway_sessions.cli.root import run as command
from gateway_sessions.client import RecordingClient
from gateway_sessions.config import load
from tests.interceptors.recording_api.served import PATIENCE


@asynccontextmanager
async def gateway(folder: Path, **config: Any) -> AsyncIterator[Running]:
    """Run a gateway whose every file is in a folder of the test's own."""
    running = await start(
        load(
            {
                "server": {"port": 0},
                "interceptors": [],
                "logging": {"level": "WARNING", "file": None},
                "state_directory": str(folder / "state"),
                "session_recording": {
                    "jsonl": {"directory": str(folder / "sessions")},
                    "sqlite": {"path": str(folder / "sessions.db")},
                },
                **config,
            },
            environ={},
        )
    )
    try:
        yield running
    finally:
        await running.stop()


def rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "sessions.db")) as database:
        return database.execute(sql).fetchall()


async def test_reported_and_detected_sessions_are_one_feed_and_one_store(tmp_path: Path) -> None:
    frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with (
        gateway(tmp_path) as running,
        RecordingClient(running.url, on_event=frames.put_nowait) as dashboard,
        RecordingClient(running.url) as editor,
    ):
        await dashboard.subscribe("*")
        assert (await dashboard.send({"type": "heartbeat", "timestamp": 1}))["type"] == "ack"
        await editor.start_session("editor-1", "my-editor", title="My title", model="gpt-x")
        await editor.add_message("editor-1", "m1", "user", "Where is the needle?")
        await editor.end_session("editor-1")
        assert editor._http is not None
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
        async with editor._http.post(f"{running.url}/v1/chat/completions", json=body) as answer:
            detected = answer.headers["X-Gateway-Session-Id"]
        seen: dict[str, list[str]] = {}
        async with asyncio.timeout(PATIENCE):
            while "request_completed" not in seen.get(detected, []):
                event = (await frames.get())["event"]
                seen.setdefault(event["session_id"], []).append(event["type"])
        assert seen["editor-1"] == ["session_start", "message_add", "session_end"]
        assert seen[detected][:2] == ["started", "request_recorded"]
    assert sorted(rows(tmp_path, "SELECT session_id, listener FROM sessions")) == sorted(
        [(detected, "openai_chat"), ("editor-1", "recording_api")]
    )
    (reported,) = rows(
        tmp_path,
        "SELECT title, provider, model_used, request_text, completed_at IS NOT NULL FROM sessions"
        " WHERE listener = 'recording_api'",
    )
    assert reported == ("My title", "my-editor", "gpt-x", "Where is the needle?", 1)
    assert rows(tmp_path, "SELECT session_id, message_id, role, content FROM messages") == [
        ("editor-1", "m1", "user", "Where is the needle?")
    ]
    needle = "SELECT COUNT(*) FROM session_search WHERE session_search MATCH 'needle'"
    assert rows(tmp_path, needle) == [(1,)]
    (file,) = (tmp_path / "sessions").glob("*/editor-1.jsonl")
    kinds = [json.loads(line)["type"] for line in file.read_text().splitlines()]
    assert kinds == ["started", "session_reported", "message_recorded", "completed"]


async def test_personal_data_is_taken_out_of_reported_messages(tmp_path: Path) -> None:
    recording = {
        "jsonl": {"enabled": False},
        "sqlite": {"path": str(tmp_path / "sessions.db")},
        "redaction": {"enabled": True},
    }
    async with (
        gateway(tmp_path, session_recording=recording) as running,
        RecordingClient(running.url, live=False) as editor,
    ):
        await editor.start_session("editor-1", "ed", metadata={"mail": "bob@example.com"})
        await editor.add_message("editor-1", "m1", "user", "I am bob@example.com")
        assert "bob@example.com" in str(await editor.recovery("editor-1"))
    (content,) = rows(tmp_path, "SELECT content FROM messages")
    assert "example.com" not in str(content)
    assert rows(tmp_path, "SELECT COUNT(*) FROM messages") == [(1,)]


async def test_it_can_be_switched_off_and_stands_behind_the_prefix(tmp_path: Path) -> None:
    async with gateway(tmp_path, recording_api={"enabled": False}) as running:
        client = RecordingClient(running.url, live=False)
        async with client:
            assert client._http is not None
            async with client._http.get(f"{running.url}/recording/status") as answer:
                assert "dirty_sessions" not in await answer.text()  # the upstream's answer
        assert not (tmp_path / "state" / "recording.db").exists()
    keys = {"persist_interval_secs": 7.5, "max_memory_messages": 3, "session_timeout_secs": 60}
    options = {"recording_api": keys, "admin": {"prefix": "/own"}}
    async with gateway(tmp_path, **options) as running:
        async with RecordingClient(f"{running.url}/own", live=False) as client:
            status = await client._request("GET", "/status")
        assert status["config"] == keys


async def test_other_networks_need_a_token(tmp_path: Path) -> None:
    options = {
        "server": {"host": "0.0.0.0", "port": 0},
        "admin": {"token": "admin-secret"},
        "recording_api": {"token": "editor-secret"},
    }
    async with gateway(tmp_path, **options) as running:
        for token, fine in (("admin-secret", True), ("editor-secret", True), (None, False)):
            async with RecordingClient(running.url, token=token, live=False) as client:
                assert client._http is not None
                for prefix in ("/recording", "/api/recording"):
                    for path in ("status", "openapi.json", "sessions/x", "ws"):
                        url = f"{running.url}{prefix}/{path}"
                        async with client._http.get(url) as answer:
                            assert (answer.status != 401) is fine
                async with client._http.get(f"{running.url}/config") as answer:
                    assert answer.status == (200 if token == "admin-secret" else 401)


async def test_recover_writes_the_session_into_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def recover(*arguments: str) -> int:
        return await asyncio.to_thread(command, ["recover", *arguments])

    out = tmp_path / "chat.json"
    token = {"admin": {"token": "admin-secret"}}
    async with gateway(tmp_path, **token) as running:
        async with RecordingClient(running.url, token="admin-secret", live=False) as client:
            await client.start_session("editor-1", "ed")
            await client.add_message("editor-1", "m1", "user", "Grüße")
        asked = ("--server", running.url, "--session", "editor-1", "--output")
        assert await recover(*asked, str(out), "--token", "admin-secret") == 0
        assert capsys.readouterr().out == f"1 messages of editor-1 are in {out}.\n"
        assert json.loads(out.read_text("utf-8"))["messages"][0]["content"] == "Grüße"
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        assert await recover(*asked, "-", "--token", "admin-secret") == 0
        assert json.loads(capsys.readouterr().out)["message_count"] == 1
        missing = ("--server", running.url, "--session", "x", "--output", str(out))
        assert await recover(*missing, "--token", "admin-secret") == 1
        assert "There is no session x" in capsys.readouterr().err
        assert await recover(*asked, str(out)) == 2
        assert "admin.token is needed" in capsys.readouterr().err
        assert await recover(*asked, str(tmp_path), "--token", "admin-secret") == 2
        assert "name another file" in capsys.readouterr().err
    assert await recover("--server", "http://127.0.0.1:1", "--session", "x", "--output", "-") == 2
    assert "check --server" in capsys.readouterr().err


async def test_an_open_websocket_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path) as running,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{running.url}/recording/ws") as socket,
    ):
        assert (await socket.receive_json())["type"] == "connected"
        stopping = asyncio.get_running_loop().create_task(running.stop())
        assert (await socket.receive(PATIENCE)).type is aiohttp.WSMsgType.CLOSE
        async with asyncio.timeout(PATIENCE):  # less than exchanges under way would get
            assert await stopping
