"""Kills gateways at random moments while a client reports a session, and counts what is lost.

Run as ``python -m tests.faults.recording_api_kills FOLDER MODE KILLS SEED``; prints what it did as
JSON.  Every gateway is ``gateway-sessions serve`` with one state directory, so each one finds what
the one before it had acknowledged.  ``MODE`` is ``live`` (WebSocket), ``batch`` (HTTP) or
``hybrid`` (WebSocket, with snapshots by HTTP).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gateway_sessions.client import RecordingClient, ServerRefused

START_SECONDS = 60.0
LONGEST_SECONDS = 0.6
"""A gateway lives no longer after it is ready."""
SESSION = "editor-1"


class Server:
    """A gateway in a process of its own; it keeps its port over all of its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it serves."""
        log = self.folder / "out.txt"
        process = self._process = self._spawn(log)
        ready = re.compile(rb"Ready on http://127\.0\.0\.1:(\d+)")
        deadline = time.monotonic() + START_SECONDS
        while (found := ready.search(log.read_bytes())) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(encoding="utf-8"))
            await asyncio.sleep(0.02)
        self.port = int(found[1])

    def _spawn(self, log: Path) -> subprocess.Popen[bytes]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        with log.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway_sessions", "serve", "--port", str(self.port)],
                cwd=self.folder,
                env={**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=out,
                stderr=out,
            )

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(START_SECONDS)


class Editor:
    """Reports one session, and knows what was acknowledged of it."""

    def __init__(self, client: RecordingClient, chance: random.Random, mode: str) -> None:
        self.client = client
        self.sent: dict[str, str] = {}
        """Every message as it is at the editor."""
        self.acknowledged: dict[str, int] = {}
        """Of each message, how many characters the server has said that it has."""
        self.faults: list[str] = []
        self._chance = chance
        self._mode = mode

    async def work(self) -> None:
        """Write messages for ever."""
        self.client.start_session(SESSION, "editor")
        while True:
            for _ in range(self._chance.randrange(1, 12)):
                self._type()
            if self._mode == "hybrid" and self._chance.random() < 0.2:
                await self._checkpoint()
            await asyncio.sleep(self._chance.random() * 0.01)

    def _type(self) -> None:
        if self.sent and self._chance.random() < 0.6:
            name = list(self.sent)[-1]
            delta = f"<{len(self.sent[name])}>"
            self.sent[name] += delta
            future = self.client.append(SESSION, name, delta)
        else:
            name = f"m{len(self.sent)}"
            self.sent[name] = f"[{name}]"
            future = self.client.add_message(SESSION, name, "user", self.sent[name])
        size = len(self.sent[name])
        future.add_done_callback(lambda done: self._answered(done, name, size))

    def _answered(self, done: asyncio.Future[dict[str, Any]], name: str, size: int) -> None:
        if done.cancelled():
            return
        if done.result()["type"] != "ack":
            self.faults.append(str(done.result()))
        self.acknowledged[name] = max(size, self.acknowledged.get(name, 0))

    async def _checkpoint(self) -> None:
        await self.client.flush()
        sent = dict(self.sent)
        messages = [
            {"message_id": name, "role": "user", "content": text, "created_at": 1}
            for name, text in sent.items()
        ]
        try:
            await self.client.snapshot(SESSION, "editor", messages)
        except (OSError, ServerRefused):
            return  # killed meanwhile; that it may or may not have arrived changes nothing

    def compare(self, recovery: dict[str, Any], acknowledged: dict[str, int]) -> None:
        """Note whatever was acknowledged and is not there, and what is there and never was."""
        texts = {message["message_id"]: message["content"] for message in recovery["messages"]}
        for name, size in acknowledged.items():
            if texts.get(name, "")[:size] != self.sent[name][:size]:
                self.faults.append(f"{name}: {size} characters acknowledged, {texts.get(name)!r}")
        for name, text in texts.items():
            if not self.sent[name].startswith(text):
                self.faults.append(f"{name}: {text!r} was never sent")


async def run(folder: Path, mode: str, kills: int, seed: int) -> dict[str, Any]:
    """Kill gateways; return what was acknowledged, and what was found wrong."""
    chance = random.Random(seed)
    server = Server(folder)
    await server.start()
    try:
        client = RecordingClient(
            f"http://127.0.0.1:{server.port}", live=mode != "batch", pauses=(0.01, 0.05)
        )
        async with client:
            editor = Editor(client, chance, mode)
            working = asyncio.get_running_loop().create_task(editor.work())
            for _ in range(kills):
                await asyncio.sleep(chance.random() * LONGEST_SECONDS)
                await asyncio.to_thread(server.kill)
                known = dict(editor.acknowledged)
                await server.start()
                editor.compare(await client.recovery(SESSION), known)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await client.flush(START_SECONDS)
            recovery = await client.recovery(SESSION)
            editor.compare(recovery, editor.acknowledged)
            texts = {each["message_id"]: each["content"] for each in recovery["messages"]}
            if texts != editor.sent:
                editor.faults.append("in the end, the server does not have what the editor has")
    finally:
        code = await asyncio.to_thread(server.kill, signal.SIGTERM)
    return {
        "mode": mode,
        "kills": kills,
        "messages": len(editor.sent),
        "acknowledged": sum(map(len, texts.values())),
        "exit_code": code,
        "faults": editor.faults,
    }


def main() -> None:
    """Run by hand, for as many kills as wanted."""
    folder, mode, kills, seed = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    sys.stdout.write(json.dumps(asyncio.run(run(Path(folder), mode, int(kills), int(seed)))))


if __name__ == "__main__":
    main()
