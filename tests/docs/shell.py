"""A reader who types in a page's examples, one after the other, in an empty folder."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.blocks import ROOT, Block

START_SECONDS = 60
"""Until a server has to listen; a first import on a busy machine takes a while."""
STOP_SECONDS = 30


class Shell:
    """Runs blocks of one page.

    Two things differ from what is printed, so that tests can run side by side and end: servers
    get a free port, in their environment and in the text of all later blocks, and ``tail -f``
    prints the file and stops.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports: dict[int, int] = {}
        self._servers: list[tuple[Block, subprocess.Popen[bytes]]] = []
        (folder / "scripts").mkdir()
        for name in ("demo", "serve"):
            script = folder / "scripts" / name
            script.write_text(f'#!/bin/sh\nexec "{ROOT}/scripts/{name}" "$@"\n')
            script.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._servers:
            self._stop(failing=kind is not None)

    def run(self, block: Block) -> None:
        """Run a block; raises `AssertionError` with its output if it fails."""
        if block.server_port is not None:
            self._serve(block, block.server_port)
            return
        done = subprocess.run(
            self._command(block),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{output}"

    def _serve(self, block: Block, port: int) -> None:
        if self._servers and port in self._ports:
            self._stop(failing=False)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._ports[port] = probe.getsockname()[1]
        log = self.folder / f"server-{block.line}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(block),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._servers.append((block, process))
        # A server says where it listens once it is ready (the demo, after its table).
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert process.poll() is None, f"{block} ended:\n{log.read_text()}"
            if str(self._ports[port]) in log.read_text() and self._listens(self._ports[port]):
                return
            process_wait(process, 0.1)
        raise AssertionError(f"{block} does not listen:\n{log.read_text()}")

    def _stop(self, *, failing: bool) -> None:
        block, process = self._servers.pop()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGINT)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"{block} does not stop on Ctrl-C") from None
        log = (self.folder / f"server-{block.line}.log").read_text()
        assert failing or code == 0, f"{block} ended with {code} on Ctrl-C:\n{log}"

    def _command(self, block: Block) -> list[str]:
        text = block.text
        for printed, real in self._ports.items():
            text = text.replace(str(printed), str(real))
        if block.language == "python":
            return [sys.executable, "-W", "error", "-c", text]
        return ["bash", "-euo", "pipefail", "-c", text.replace("tail -f", "tail -n +1")]

    def _environment(self) -> dict[str, str]:
        scripts = str(Path(sys.executable).parent)
        environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        environment["HOME"] = str(self.folder / "home")
        if gateway := self._ports.get(3000):
            environment["GATEWAY_SESSIONS_SERVER__PORT"] = str(gateway)
        return environment

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0


def process_wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait a moment, or less if the process ends."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
