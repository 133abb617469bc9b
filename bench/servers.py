"""The processes of a throughput run: upstreams, the bare proxy, the gateway.

Run as ``python -m bench.servers upstream [SECONDS EVENTS]`` or ``python -m bench.servers proxy
URL``; each prints the port it listens on as its first line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import IO, Any, cast

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from bench.bodies import plain_reply, stream_events
from bench.processes import Server

EVENT_INTERVAL_SECONDS = 0.002
"""Between two events of a stream: 500 tokens a second, so that events do not run together."""

PROGRAMS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
"""Where programs are looked for: servers are often not on a user's path."""
_ROOT = Path(__file__).parent.parent
_HOP_BY_HOP = frozenset({"host", "connection", "transfer-encoding", "content-length", "keep-alive"})


class _Upstream(asyncio.Protocol):
    """Answers each POST with a canned completion: plain, or event by event if it asks to stream.

    A protocol without a web framework, so that it takes a small part of what a proxy takes.
    """

    interval = EVENT_INTERVAL_SECONDS
    _plain = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(plain_reply())
    ) + plain_reply()
    _stream_head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = tuple(b"%x\r\n%s\r\n" % (len(event), event) for event in stream_events())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = _content_length(head)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if b'"stream":true' in rest[-100:]:
            self._transport.write(self._stream_head + self.chunks[0])
            self._loop.call_later(self.interval, self._send, 1)
        else:
            self._transport.write(self._plain)

    def _send(self, place: int) -> None:
        if self._transport.is_closing():
            return
        if place == len(self.chunks):
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(self.chunks[place])
        self._loop.call_later(self.interval, self._send, place + 1)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve_upstream(interval: float, events: int) -> None:
    _Upstream.interval = interval
    first, *between, stop, done = _Upstream.chunks
    # Any number of events makes a stream: those in the middle come again and again.
    said = itertools.islice(itertools.cycle(between), max(0, events - 3))
    _Upstream.chunks = (first, *said, stop, done)
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _serve_proxy(upstream: str) -> None:
    """The yardstick: what aiohttp and uvloop need to pass a request through, and nothing else."""
    base = URL(upstream)
    client = aiohttp.ClientSession(
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        connector=aiohttp.TCPConnector(limit=0),
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        async with client.request(
            request.method,
            base.join(request.rel_url),
            headers=_end_to_end(request.headers),
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            with contextlib.suppress(ConnectionError):  # wrk hangs up at the end of a run
                await response.prepare(request)
                async for chunk, _ in answer.content.iter_chunks():
                    await response.write(chunk)
                await response.write_eof()
            return response

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def _end_to_end(headers: Any) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _HOP_BY_HOP)


_NGINX = """
daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi; client_body_buffer_size 1m;
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
"""


@contextlib.contextmanager
def upstream(stream: bool) -> Iterator[str]:
    """Run the upstream of a measurement, nginx for plain answers where it is; yield its URL.

    nginx sends a canned text at once, so streams always come from the server of this module.
    """
    nginx = shutil.which("nginx", path=PROGRAMS)
    if stream or nginx is None:
        with helper("upstream") as server:
            yield server.url
        return
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        conf = Path(folder) / "nginx.conf"
        conf.write_text(_NGINX.format(port=port, body=plain_reply().decode()))
        process = subprocess.Popen([nginx, "-p", folder, "-c", str(conf)])
        try:
            wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def gateway(upstream_url: str | None, settings: str, *overrides: str) -> Iterator[Server]:
    """Run ``gateway-sessions serve`` with blocks of YAML, in a folder of its own.

    Without a URL the blocks name the upstreams; ``overrides`` are further keys, as
    ``server.workers=2``.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.yaml"
        upstream = f"upstream: {upstream_url}\n" if upstream_url is not None else ""
        config.write_text(
            f"server: {{port: {port}}}\n{upstream}"
            f"logging: {{level: WARNING}}\nstate_directory: state\n{settings}\n"
        )
        command = [str(Path(sys.executable).with_name("gateway-sessions")), "serve"]
        command += ["--config", str(config)]
        command += [option for setting in overrides for option in ("--set", setting)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """Return a port of this machine that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(port: int, seconds: float = 20) -> None:
    """Return when something listens on the port; raise `TimeoutError` if nothing does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


@contextlib.contextmanager
def helper(*arguments: str) -> Iterator[Server]:
    """Run one of this module's servers."""
    command = [sys.executable, "-m", "bench.servers", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        try:
            port = int(cast("IO[str]", process.stdout).readline())
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


def _main() -> Coroutine[Any, Any, None]:
    match sys.argv[1:]:
        case ["upstream"]:
            return _serve_upstream(EVENT_INTERVAL_SECONDS, len(stream_events()))
        case ["upstream", seconds, events]:
            return _serve_upstream(float(seconds), int(events))
        case ["proxy", url]:
            return _serve_proxy(url)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_main())
