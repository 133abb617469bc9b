"""The recorder process as one gateway process sees it: one that it starts, or one that is there.

A gateway in one process starts its recorder and talks to it over a pair of sockets.  A gateway
with several workers has one recorder for all of them: the main process starts it, and each
worker connects to it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Protocol

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from gateway_sessions.recording.process_main import main;"
    " main(0, *map(int, sys.argv[2:]))"
)


class Child(Protocol):
    """One life of a recorder, or one connection to it."""

    socket: socket.socket
    incoming: BufferedReader
    dead: bool
    """Whether its end has been noticed."""

    def kill(self) -> None:
        """End it at once, whatever it is doing; on any thread."""

    def end(self, seconds: float) -> None:
        """Wait for its end; kill it if that takes longer."""

    def fate(self) -> str:
        """Return the beginning of a sentence that says how it ended."""


class Spawned:
    """A recorder process of our own.

    Args:
        listener: where others connect to it; None where nobody does.
    """

    def __init__(self, listener: socket.socket | None = None) -> None:
        more = () if listener is None else (listener.fileno(),)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), *map(str, more)],
                    stdin=theirs.fileno(),
                    stdout=2,  # what writers print must not get among the gateway's own output
                    pass_fds=more,
                )
        except BaseException:
            ours.close()
            raise
        self.socket = ours
        self.incoming = ours.makefile("rb")
        self.dead = False

    def kill(self) -> None:
        """End the process at once; on any thread."""
        self.process.kill()

    def end(self, seconds: float) -> None:
        """Wait for its end; kill it if that takes longer."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.incoming.close()
        self.socket.close()

    def fate(self) -> str:
        """Return the beginning of a sentence that says how it ended."""
        return (
            f"the recorder process died (exit code {self.process.returncode}) and is started again"
        )


class Connected:
    """A connection to the recorder process that another process has started."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(str(path))
        except BaseException:
            self.socket.close()
            raise
        self.incoming = self.socket.makefile("rb")
        self.dead = False

    def kill(self) -> None:
        """Break the connection; on any thread."""
        with suppress(OSError):  # it may be broken already
            self.socket.shutdown(socket.SHUT_RDWR)

    def end(self, seconds: float) -> None:
        """Close the connection; whoever started the process waits for that."""
        del seconds
        self.incoming.close()
        self.socket.close()

    def fate(self) -> str:
        """Return the beginning of a sentence that says how it ended."""
        return "the connection to the recorder process broke and is made again"
