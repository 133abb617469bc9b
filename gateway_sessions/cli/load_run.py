"""A little load, and what it took: for people who want to know what the gateway costs them.

Upstream and gateway are processes of their own, as in life; nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from gateway_sessions.analysis.percentiles import Samples
from gateway_sessions.errors import StartError
from gateway_sessions.sample_clients import OpenAIClient
from gateway_sessions.web.echo import echo_application

TURNS = 4
"""Requests of each conversation; every one brings the history so far."""
START_SECONDS = 30.0
"""How long a process may take until it serves; a first import on a busy machine takes a while."""
_WORD = "word "
_READY = "Ready on "


class Load(msgspec.Struct, frozen=True):
    """What a run of load gave."""

    requests: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float


async def run(url: str, *, kilobytes: int, stream: bool, seconds: float, connections: int) -> Load:
    """Hold conversations over that many connections, each as fast as it is answered.

    A conversation opens with a message of ``kilobytes`` and has `TURNS` turns.
    """
    times = Samples()
    failed = 0
    began = time.perf_counter()

    async def hold(number: int) -> None:
        nonlocal failed
        conversations = 0
        async with aiohttp.ClientSession() as http:
            while time.perf_counter() - began < seconds:
                conversations += 1
                name = f"{number}.{conversations}"
                chat = OpenAIClient(http, url, name, key="sk-bench", stream=stream)
                for turn in range(TURNS):
                    text = f"turn {turn} of {name} "
                    text += _WORD * (kilobytes * 1024 // len(_WORD) if not turn else 1)
                    asked = time.perf_counter()
                    exchange = await chat.say(text)
                    times.add((time.perf_counter() - asked) * 1000)
                    failed += exchange.status != web.HTTPOk.status_code

    await asyncio.gather(*map(hold, range(connections)))
    taken = time.perf_counter() - began
    p50_ms, p99_ms = times.percentiles(0.5, 0.99)
    return Load(times.count, failed, times.count / taken, p50_ms, p99_ms)


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Run the embedded upstream in a process of its own; yield its URL."""
    ours, theirs = multiprocessing.Pipe()
    # Not forked: this process has threads by the time it asks for another.
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs,), daemon=True
    )
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_SECONDS):
            raise StartError("the embedded upstream does not start; is the machine very busy?")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(ready: Connection) -> None:
    async def serve() -> None:
        runner = web.AppRunner(echo_application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


@contextlib.contextmanager
def gateway(upstream_url: str, options: Sequence[str], folder: Path) -> Iterator[str]:
    """Run ``serve`` in front of an upstream, all that it writes being in a folder; yield its URL.

    ``options`` are those that make up its configuration.
    """
    overrides = {
        "server.host": "127.0.0.1",
        "server.port": "0",
        "upstream": upstream_url,
        "state_directory": str(folder / "state"),
        "session_recording.jsonl.directory": str(folder / "sessions"),
        "session_recording.sqlite.path": str(folder / "sessions.db"),
        "session_recording.postgres.enabled": "false",
        "admin.listen": "null",
        "logging.level": "WARNING",
        "logging.file": str(folder / "gateway.log"),
    }
    settings = [option for pair in overrides.items() for option in ("--set", "=".join(pair))]
    command = [sys.executable, "-m", "gateway_sessions", "serve", *options, *settings]
    # Traces go to a relative folder unless the configuration says otherwise.
    with subprocess.Popen(  # noqa: S603 - our own program, with the options of whoever runs it
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _url(process)
        finally:
            process.terminate()
            process.communicate()


def _url(process: subprocess.Popen[str]) -> str:
    """Return where a gateway listens; raises `StartError` with what it says instead."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if line.startswith(_READY):
        return line.removeprefix(_READY).partition(",")[0]
    raise StartError(process.stderr.read().strip().removeprefix("Error: ") or os.strerror(0))
