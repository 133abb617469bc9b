"""Redis servers that live as long as a test wants, and can be frozen, stopped and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

NEEDED = pytest.mark.needs("redis-server", "apt-get install redis-server")
"""For tests that start a `Server`."""


class Server:
    """A server without files of its own, on a socket in a folder or on ports.

    Its data is gone when it stops, unless it is told to save it.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self._folder = folder
        self._options = options or ("--port", "0", "--unixsocket", str(self.socket))
        self._process: subprocess.Popen[str] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens, unless options say otherwise."""
        return self._folder / "redis.sock"

    @property
    def url(self) -> str:
        """Of the first database."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._process = subprocess.Popen(
            ["redis-server", "--save", "", "--dir", str(self._folder), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            # With a socket alone, newer servers name only that.
            if "eady to accept connections" in line:
                return
        pytest.fail("Redis did not start: " + "".join(said))

    def empty(self) -> None:
        """Forget everything."""
        with Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()

    def freeze(self) -> None:
        """Let it take connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self, *, save: bool = False) -> None:
        """End it at once; connections to it break, new ones are refused."""
        if self._process is not None:
            process, self._process = self._process, None
            if save:
                with Redis.from_url(self.url) as client:
                    client.shutdown(save=True)
            process.kill()
            process.communicate(timeout=30)


@contextmanager
def running(*options: str) -> Iterator[Server]:
    """Run a server in a folder of its own, on a socket unless other options are given."""
    # A socket's path may have no more than a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = Server(folder, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def cluster(*first_ports: int) -> Iterator[str]:
    """Run a cluster of two servers, each with half of the slots; return its URL.

    The ports of the first one, for clients and for the other server, may be given.
    """
    ports = [*(first_ports or (free_port(), free_port())), free_port(), free_port()]
    with (
        running(*_clustered(*ports[:2])) as one,
        running(*_clustered(*ports[2:])) as two,
        Redis(port=ports[0]) as first,
        Redis(port=ports[2]) as second,
    ):
        first.execute_command("CLUSTER ADDSLOTS", *range(8192))
        second.execute_command("CLUSTER ADDSLOTS", *range(8192, 16384))
        first.execute_command("CLUSTER MEET", "127.0.0.1", ports[2], ports[3])
        deadline = time.monotonic() + 30
        while not all(_knows_all(server) for server in (first, second)):
            assert time.monotonic() < deadline, f"{one.pid} and {two.pid} did not meet"
            time.sleep(0.02)  # they gossip; nothing tells when they are done
        yield f"redis+cluster://127.0.0.1:{ports[0]}"


def free_port() -> int:
    """Return a port of this machine that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _clustered(port: int, bus: int) -> tuple[str, ...]:
    ports = ("--port", str(port), "--cluster-port", str(bus))
    return ("--bind", "127.0.0.1", "--cluster-enabled", "yes", *ports)


def _knows_all(server: Redis) -> bool:
    said: dict[str, str] = server.cluster("INFO")
    return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == "2"
