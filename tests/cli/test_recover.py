"""``recover``: whole sessions come back into files of their owner, all else is one sentence."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway_sessions.cli.recover import recover
from gateway_sessions.errors import StartError
from gateway_sessions.web.admin import AdminGuard
from tests.interceptors.recording_api.served import PATIENCE, served

TOKEN = "a-token"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the recording API, with one session of two messages, on another thread's loop."""
    folder = tmp_path_factory.mktemp("recover")
    started, ended = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        async with served(folder, guard=AdminGuard(TOKEN), token=TOKEN) as api:
            await api.event("session_start", provider="editor")
            for name, text in (("m1", "Hi"), ("m2", "Grüße")):
                await api.event("message_add", message_id=name, role="user", content=text)
            found["url"] = api.url
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(PATIENCE)
    yield found["url"]
    found["loop"].call_soon_threadsafe(ended.set)
    thread.join(PATIENCE)


def run(server: str, session: str, output: str | Path, token: str | None = TOKEN) -> Result:
    arguments = ["--server", server, "--session", session, "--output", str(output)]
    environment = {"GATEWAY_SESSIONS_TOKEN": token}
    return CliRunner().invoke(recover, arguments, env=environment, standalone_mode=False)


def test_a_session_is_written_for_its_owner_alone(server: str, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    done = run(server, "s1", target)
    assert done.return_value == 0
    assert done.output == f"2 messages of s1 are in {target}.\n"
    recovery = json.loads(target.read_bytes())
    assert [message["content"] for message in recovery["messages"]] == ["Hi", "Grüße"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_the_terminal_gets_nothing_but_json(server: str) -> None:
    done = run(server, "s1", "-")
    assert done.return_value == 0
    assert json.loads(done.stdout)["message_count"] == 2


def test_an_unknown_session_is_a_problem_and_no_file(server: str, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    done = run(server, "s9", target)
    assert done.return_value == 1
    assert done.stderr.startswith("Error: ")
    assert "s9" in done.stderr
    assert not target.exists()


def test_another_token_is_refused(server: str, tmp_path: Path) -> None:
    done = run(server, "s1", tmp_path / "chat.json", token="wrong")
    assert isinstance(done.exception, Exception)
    assert getattr(done.exception, "status", None) == 401


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run("http://127.0.0.1:9", "s1", tmp_path / "chat.json")
    assert isinstance(done.exception, StartError)
    assert "check --server" in str(done.exception)


def test_a_file_that_can_not_be_written_is_told(server: str, tmp_path: Path) -> None:
    link = tmp_path / "chat.json"
    link.symlink_to(tmp_path / "elsewhere")
    for target in (link, tmp_path / "no" / "folder"):
        done = run(server, "s1", target)
        assert isinstance(done.exception, StartError)
        assert "name another file" in str(done.exception)
    assert not (tmp_path / "elsewhere").exists()
