"""Personal data goes through a gateway as it is, and is in nothing that is written down."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import ClientSession

from gateway_sessions import app
from gateway_sessions.config import load

MAIL = "jane.doe@example.org"
TOKEN = re.compile(rb"\[EMAIL_[0-9a-f]{12}\]")


def configuration(folder: Path) -> dict[str, object]:
    """Return a configuration that takes personal data out of all that there is."""
    return {
        "server": {"port": 0},
        "interceptors": [
            {"type": "redact", "config": {"personal_data": True, "mode": "tokenize"}},
            {
                "type": "trace",
                "config": {"directory": str(folder / "traces"), "include_stream": True},
            },
            {"type": "message_logger", "config": {"log_file": str(folder / "messages.jsonl")}},
        ],
        "logging": {"file": None},
        "state_directory": str(folder / "state"),
        "session_recording": {
            "jsonl": {"directory": str(folder / "sessions")},
            "sqlite": {"path": str(folder / "sessions.db")},
            "include_streaming_events": True,
            "redaction": {"enabled": True, "mode": "tokenize"},
        },
    }


def files(folder: Path) -> dict[str, bytes]:
    """Return what is in the files of a folder, by name; but not the secret."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "state" not in path.parts]
    return {path.name: path.read_bytes() for path in paths}


async def test_what_is_written_has_the_same_token_everywhere(tmp_path: Path) -> None:
    running = await app.start(load(configuration(tmp_path), environ={}))
    try:
        url = f"{running.url}/v1/chat/completions?user={MAIL}"
        message = {"role": "user", "content": f"Write to {MAIL}, please."}
        async with ClientSession(headers={"X-User": MAIL}) as client:
            for stream in (False, True):
                body = {"model": "m", "messages": [message], "stream": stream}
                async with client.post(url, json=body) as response:
                    answer = await response.text()
                assert "jane" in answer
    finally:
        await running.stop()
    written = files(tmp_path)
    assert {name.rpartition(".")[2] for name in written} >= {"json", "jsonl", "db"}
    for name, content in written.items():
        assert b"jane" not in content.lower(), name
        assert b"example.org" not in content, name
        assert TOKEN.search(content), name
    assert len({token for content in written.values() for token in TOKEN.findall(content)}) == 1
