"""Credentials in every slot of real traffic are found in nothing that a gateway puts out."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.cli.helpers import run, service
from tests.e2e.planting import CANARY, ENCODED, FROM_UPSTREAM, Planter
from tests.web.harness import LIMIT, Upstream, connected, request, upstream

PAGES = (
    "/health", "/readyz", "/config", "/metrics", "/metrics?format=prometheus", "/recording/status",
    "/recording/sessions", "/sessions", "/sessions/list", "/sessions/tail", "/sessions/models",
    "/sessions/api/sessions", "/sessions/api/overview",
)  # fmt: skip
EXCHANGES = 20
"""At least so many requests get into a session."""
OPENMETRICS = "Accept: application/openmetrics-text; version=1.0.0"


def configuration(main: Upstream, planter: Planter, token: str) -> str:
    """Return a configuration that turns on everything that writes, with credentials of its own."""
    port = urlsplit(main.url).port
    return yaml.safe_dump(
        {
            "upstreams": [
                {
                    "url": planter.fill("http://user:{}@127.0.0.1:1"),
                    "match": {"headers": {"x-team": "gone"}},
                },
                {"url": planter.fill(f"http://user:{{}}@127.0.0.1:{port}"), "name": "main"},
            ],
            "admin": {"token": token},
            "secret": planter.canary(),
            "logging": {"level": "DEBUG", "file": "gateway.log"},
            "interceptors": [
                {"type": "redact"},
                {"type": "trace", "config": {"include_stream": True}},
                {"type": "printer", "config": {"log_body": True}},
                {"type": "message_logger"},
            ],
            "session_recording": {"include_streaming_events": True},
        }
    )


async def send(port: int, messages: Iterable[bytes]) -> list[bytes]:
    """Send each request over a connection of its own; return all that came back."""
    got = []
    for message in messages:
        async with connected(port) as peer:
            peer.send(message.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            try:
                got.append(await peer.rest())
            except OSError:
                got.append(b"")
    return got


def files(folder: Path) -> dict[str, bytes]:
    """Return what is in all files of a folder but the configuration."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    found.pop("gateway.yaml")
    return found


def ours(answers: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Return those answers that are the gateway's own; the upstream's pass as they are."""
    return {name: text for name, text in answers if FROM_UPSTREAM not in text}


def leaks(outputs: dict[str, bytes]) -> list[str]:
    """Return where canaries are, with what is around them."""
    found = []
    for name, text in outputs.items():
        for canary in (CANARY.encode(), ENCODED):
            at = text.lower().find(canary.lower())
            if at >= 0:
                found.append(f"{name}: {text[max(0, at - 60) : at + 40]!r}")
    return found


def commands(folder: Path) -> dict[str, bytes]:
    """Return what the commands say that read what was written."""
    session = next((folder / ".gateway-sessions" / "sessions").glob("*/*.jsonl")).stem
    outputs = {}
    for words in (
        ("detect", "--explain", "traces"),
        ("detect", "--json", "traces"),
        ("sessions", "list", "--json"),
        ("sessions", "show", session),
        ("sessions", "export", "--format", "jsonl"),
        ("report",),
        ("check-config", "--config", "gateway.yaml"),
    ):
        done = run(*words, cwd=folder)
        outputs[" ".join(words)] = (done.stdout + done.stderr).encode()
    return outputs


async def written(port: int, token: str) -> None:
    """Return when nothing waits to be written."""
    ask = request(b"", f"Authorization: Bearer {token}", target="/metrics", method="GET")
    async with asyncio.timeout(4 * LIMIT):
        waiting = True
        while waiting:
            (answer,) = await send(port, [ask])
            books = json.loads(answer.partition(b"\r\n\r\n")[2])
            events, traces = books["recording"], books["interceptors"]["trace"]["written"]
            waiting = (
                {writer["queued"] for writer in events.values()} != {0}
                or traces < EXCHANGES
                or events["sqlite"]["written"] < 3 * EXCHANGES
            )


async def test_no_credential_is_in_anything_that_a_gateway_puts_out(tmp_path: Path) -> None:
    planter = Planter()
    token = planter.canary()
    with (tmp_path / "stderr").open("wb") as errors:
        async with upstream(planter.answer) as main:
            config = tmp_path / "gateway.yaml"
            config.write_text(configuration(main, planter, token))
            arguments = ("serve", "--config", str(config), "--port", "0")
            with service(*arguments, cwd=tmp_path, errors=errors) as gateway:
                port = urlsplit(gateway.url).port
                assert port is not None
                await send(port, planter.requests())
                refused = await send(port, [*planter.broken(), *planter.own()])
                await written(port, token)
                headers = (f"Authorization: Bearer {token}", OPENMETRICS)
                pages = await send(
                    port, (request(b"", *headers, target=page, method="GET") for page in PAGES)
                )
                outputs = {"ready": gateway.first_line.encode()}
                outputs |= {f"running {name}": text for name, text in files(tmp_path).items()}
                outputs |= ours(zip(PAGES, pages, strict=True))
                outputs |= ours((f"error {n}", text) for n, text in enumerate(refused))
                code, _ = gateway.stop(signal.SIGTERM)
    assert code == 0
    outputs |= files(tmp_path) | commands(tmp_path)
    assert leaks(outputs) == []

    assert set(PAGES) <= outputs.keys()
    forwarded = b"".join(received.head for received in main.requests)
    assert forwarded.count(CANARY.encode()) > 200
    assert planter.count > 200
    assert all(text for name, text in outputs.items() if not name.startswith("error"))
    assert b"".join(outputs.values()).count(b"***") > 200
    kinds = {name.rpartition(".")[2] for name in outputs}
    assert {"json", "jsonl", "db", "db-wal", "db-shm", "log"} <= kinds


def test_a_canary_is_found_where_one_is(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("")
    (tmp_path / "some.db-wal").write_bytes(b"\x00\xff" + Planter().canary().lower().encode())
    assert leaks(files(tmp_path)) == ["some.db-wal: b'\\x00\\xffplanted001zq8vxw3nt5k'"]
