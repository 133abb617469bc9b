"""The transcript of the WebSocket protocol is what really happens, line by line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from interceptors.recording_api import feed, sockets
from interceptors.recording_api.protocol import STATUS, AnyEvent
from interceptors.recording_api.sessions import MAX_SESSIONS
from tests.docs.blocks import ROOT, blocks
from tests.interceptors.recording_api.served import heard, served

PAGE = ROOT / "docs" / "recording-api.md"


def fits(documented: Any, real: Any) -> bool:
    """Tell whether two values are equal but for those that differ each time."""
    if documented == "…":
        return bool(real)
    if isinstance(documented, dict) and isinstance(real, dict):
        same = documented.keys() == real.keys()
        return same and all(fits(value, real[name]) for name, value in documented.items())
    return bool(documented == real)


async def test_the_transcript_happens_as_printed(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(PAGE) if block.language == "transcript")
    lines = block.text.splitlines()
    assert len(lines) > 15
    async with (
        served(tmp_path) as api,
        api.http.ws_connect(f"{api.url}/recording/ws") as socket,
    ):
        for line in lines:
            who, _, text = line.partition(" {")
            value = json.loads("{" + text)
            if who == ">":
                await socket.send_json(value)
            elif who == "other >":
                await api.events(value)
            else:
                assert who == "<"
                real = await heard(socket)
                assert fits(value, real), real


def test_every_event_code_and_limit_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in AnyEvent.__args__:
        start = f"| `{kind.__struct_config__.tag}` |"
        (row,) = (line for line in text.splitlines() if line.startswith(start))
        own = {name for name in kind.__struct_fields__ if name not in {"event_id", "seq"}}
        documented = re.findall(r"`(\w+)(?:\?|\[\])?`", row.split("|")[2])
        assert set(documented) == own
        assert row.endswith(f"| `{kind.status}` |")
    for code, status in STATUS.items():
        assert f"| `{code}` | {status} |" in text
    for number in (feed.QUEUE, MAX_SESSIONS, sockets.MAX_CONNECTIONS, feed.MAX_SUBSCRIPTIONS):
        assert f"{number:,}" in text
    assert f"every {sockets.PING_SECONDS:g} seconds" in text
    assert f"for {sockets.SILENCE_SECONDS:g} is" in text
