"""Gateways as users install them, several on one store, and a client's view of them as one."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.helpers import service
from tests.e2e.all_kinds import SCRIPTED
from tests.web.harness import BUFFER


def patient(call_seconds: float = 10.0) -> tuple[str, ...]:
    """Return the command, with more patience for its store than it has by default.

    So a test sees what gateways do, and not how busy the machine is.
    """
    program = f"""
from gateway_sessions.cli import main
from gateway_sessions.index import breaker, committer
breaker.CALL_SECONDS, committer.SETTLED_SECONDS = {call_seconds}, 10.0
main()
"""
    return (sys.executable, "-c", program)


_OURS = ("session-id", "parent-session-id", "session-relation", "session-source",
         "session-confidence")  # fmt: skip


class Verdict(NamedTuple):
    """What a response says about its request; empty strings where it says nothing."""

    session: str
    parent: str
    relation: str
    source: str
    confidence: str


@contextmanager
def gateways(
    folder: Path,
    count: int,
    scripted: str,
    persistence: dict[str, Any] | None = None,
    command: tuple[str, ...] | None = None,
    **changes: Any,
) -> Iterator[list[int]]:
    """Run the command (by default a `patient` one) so many times; yield the ports."""
    source = {
        "server": {"port": 0},
        "upstreams": [
            {"url": "http://127.0.0.1:1", "match": {"headers": {"x-script": "gone"}}},
            {"url": scripted, "match": {"headers": SCRIPTED}},
            {"url": "builtin://echo"},
        ],
        "interceptors": [],
        "logging": {"file": None},
        "session_recording": {"enabled": False},
        "secret": "shared by all replicas",
        "session": {"persistence": persistence or {"enabled": False}},
        **changes,
    }
    with ExitStack() as stack:
        ports = []
        for number in range(count):
            home = folder / f"replica-{number}"
            home.mkdir(parents=True)
            (home / "gateway.yaml").write_text(json.dumps(source))
            log = stack.enter_context((home / "errors").open("wb"))
            running = stack.enter_context(
                service("serve", "--config", "gateway.yaml", cwd=home, errors=log,
                        command=command or patient())
            )  # fmt: skip
            ports.append(int(running.url.rpartition(":")[2]))
        yield ports


class RoundRobin:
    """Sends each request to the next gateway, and notes what the responses say, in their order.

    It asks for connections to be closed, so that every request comes on a connection of its own.
    """

    def __init__(self, ports: list[int]) -> None:
        self._ports = itertools.cycle(ports)
        self._serving: dict[asyncio.Task[Any], list[asyncio.StreamWriter]] = {}
        self.verdicts: list[Verdict] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its response back."""
        serving = asyncio.current_task()
        assert serving is not None
        self._serving[serving] = [writer]
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._pass_on(head[:-2] + b"Connection: close\r\n\r\n", reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side may leave
        finally:
            for each in self._serving.pop(serving):
                each.close()

    async def close(self) -> None:
        """Break what is under way."""
        serving = list(self._serving)
        for each in itertools.chain(*self._serving.values()):
            each.transport.abort()
        if serving:
            await asyncio.wait(serving)

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        gateway, gateway_writer = await asyncio.open_connection(
            "127.0.0.1", next(self._ports), limit=BUFFER
        )
        self._serving[serving].append(gateway_writer)
        gateway_writer.write(head)
        sending = asyncio.get_running_loop().create_task(_copy(reader, gateway_writer))
        try:
            answer = await gateway.readuntil(b"\r\n\r\n")
            self.verdicts.append(_verdict(answer))
            writer.write(answer)
            await _copy(gateway, writer)
        finally:
            sending.cancel()
            await asyncio.wait([sending])

    def structure(self) -> list[Verdict]:
        """Return the verdicts with sessions numbered by their first appearance."""
        numbers: dict[str, str] = {"": ""}
        for verdict in self.verdicts:
            for name in (verdict.session, verdict.parent):
                numbers.setdefault(name, f"session {len(numbers)}")
        return [
            verdict._replace(session=numbers[verdict.session], parent=numbers[verdict.parent])
            for verdict in self.verdicts
        ]


@asynccontextmanager
async def round_robin(ports: list[int]) -> AsyncIterator[RoundRobin]:
    """Listen in front of some gateways."""
    made = RoundRobin(ports)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=BUFFER)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await made.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until there is no more."""
    try:
        while data := await reader.read(BUFFER):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass


def _verdict(head: bytes) -> Verdict:
    lines = head.decode("latin-1").lower().split("\r\n")[1:]
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return Verdict(*[fields.get(f"x-gateway-{name}", "") for name in _OURS])
