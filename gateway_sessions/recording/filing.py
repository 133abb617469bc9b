"""Making many small files, at a rate that a thread beside the event loop can not reach."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from gateway_sessions.errors import StartError
from gateway_sessions.recording.files import private_directory, write_all
from gateway_sessions.recording.filing_process import ANSWER, FRAME, READY
from gateway_sessions.recording.lane import PartlyWritten

CHUNK_BYTES = 256 * 1024
"""Sent at a time: few enough system calls, each of which costs a wait for Python's lock."""
PIPE_BYTES = 1024 * 1024
"""Asked of the system for the pipe, so that a batch fits and sending it does not wait."""
CLOSE_SECONDS = 5.0
"""How long the process may take to end; then it is killed."""

# The empty package stands in for ours, whose root would import everything.
_PROGRAM = """
import sys, types
package = types.ModuleType("gateway_sessions")
package.__path__ = [sys.argv.pop(1)]
sys.modules["gateway_sessions"] = package
from gateway_sessions.recording.filing_process import main
main(sys.argv[1:])
"""


class Filer:
    """A folder of ``PREFIX-<timestamp>-<id>.json`` files and the process that fills it.

    `write` belongs to one thread.  The process ends with ours, also if ours is killed.

    Args:
        directory: The folder; made with mode 0700 if it is missing.
        prefix: Beginning of the names; only such files are ever deleted.
        max_age_seconds: Age at which files are deleted, or None.
        max_total_bytes: Size of all files above which the oldest are deleted, or None.
    """

    def __init__(
        self,
        directory: Path,
        prefix: str,
        *,
        max_age_seconds: float | None = None,
        max_total_bytes: int | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._settings = json.dumps(
            {
                "directory": str(self._directory),
                "prefix": prefix,
                "max_age_seconds": max_age_seconds,
                "max_total_bytes": max_total_bytes,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Check the folder and start the process; raises `StartError`."""
        private_directory(self._directory)
        try:
            self._process = self._started()
        except OSError as exc:
            raise StartError(f"the process that writes files can not be started: {exc}") from exc

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files, given as name and content; returns when all of them are there.

        Raises `PartlyWritten` where one can not be written, or be had from ``files``; `OSError`
        if the process died, in which case the next call starts another.
        """
        process = self._process or self._started()
        self._process = process
        try:
            failure = _send(process, files)
            written, error = ANSWER.unpack(_received(process, ANSWER.size))
        except OSError:
            self._process = None
            _end(process, seconds=0)
            raise
        if error:
            failure = OSError(error, os.strerror(error), str(self._directory))
        if failure is not None:
            raise PartlyWritten(written) from failure

    def close(self) -> None:
        """Let the process finish what it was given, and end it."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, CLOSE_SECONDS)

    def _started(self) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).parents[1])
        # Isolated and without site-packages: it starts in a third of the time.
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", "-c", _PROGRAM, package, self._settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        try:
            _received(process, len(READY))
        except OSError:
            _end(process, seconds=0)
            raise
        with suppress(AttributeError, OSError):  # not everywhere, and limited for users
            fcntl.fcntl(_pipe(process.stdin), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return process


def _pipe(stream: IO[bytes] | None) -> int:
    return cast("IO[bytes]", stream).fileno()


def _send(process: subprocess.Popen[bytes], files: Iterable[tuple[str, bytes]]) -> Exception | None:
    """Send a batch; return what kept the rest of ``files`` from being made, if anything did."""
    pipe = _pipe(process.stdin)
    parts: list[bytes] = []
    size = 0
    failure = None
    remaining = iter(files)
    while True:
        try:
            name, content = next(remaining)
        except StopIteration:
            break
        except Exception as exc:  # noqa: BLE001 - returned, after those before it were sent
            failure = exc
            break
        encoded = name.encode()
        parts += (FRAME.pack(len(encoded), len(content)), encoded, content)
        size += len(content)
        if size >= CHUNK_BYTES:
            write_all(pipe, b"".join(parts))
            parts.clear()
            size = 0
    write_all(pipe, b"".join((*parts, FRAME.pack(0, 0))))
    return failure


def _received(process: subprocess.Popen[bytes], size: int) -> bytes:
    pipe = _pipe(process.stdout)
    received = b""
    while len(received) < size:
        more = os.read(pipe, size - len(received))
        if not more:
            raise BrokenPipeError("the process that writes files has ended")
        received += more
    return received


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Close its input, which ends it; kill it if that takes more than ``seconds``."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
