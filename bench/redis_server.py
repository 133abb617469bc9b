"""A Redis of a measurement's own, on a free port, that keeps nothing."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from bench import servers
from bench.processes import Server


@contextlib.contextmanager
def redis_server() -> Iterator[Server]:
    """Run a Redis; its URL is that of database 0."""
    program = shutil.which("redis-server", path=servers.PROGRAMS)
    if program is None:
        raise FileNotFoundError("Redis is not installed: apt-get install redis-server")
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        with subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
        ) as process:
            try:
                servers.wait_for(port)
                yield Server(f"redis://127.0.0.1:{port}/0", process.pid)
            finally:
                process.terminate()
