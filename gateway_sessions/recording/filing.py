"""Making a file of each exchange, at a rate that a thread beside the event loop can not reach."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from gateway_sessions.analysis.rawjson import encodable
from gateway_sessions.errors import StartError
from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.files import private_directory, write_all
from gateway_sessions.recording.filing_process import ANSWER, LENGTH, READY, UNMADE
from gateway_sessions.recording.lane import PartlyWritten

PIPE_BYTES = 1024 * 1024
"""Asked of the system for the pipe, so that a batch fits and sending it does not wait."""
CLOSE_SECONDS = 5.0
"""How long the process may take to end; then it is killed."""

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from gateway_sessions.recording.filing_process import main; main(sys.argv[2:])"
)
_pack = msgspec.msgpack.Encoder().encode


class Filer:
    """A folder of ``PREFIX-<timestamp>-<id>.json`` files and the process that fills it.

    `write` belongs to one thread.  The process ends with ours, also if ours is killed.

    Args:
        directory: The folder; made with mode 0700 if it is missing.
        prefix: Beginning of the names; only such files are ever deleted.
        documents: What makes the files, as ``module:Class``: a class that is called with
            ``options`` in the process, with a method ``file`` that returns name and content of
            an exchange's file.
        options: Keyword arguments of it, of types that JSON has.
        max_age_seconds: Age at which files are deleted, or None.
        max_total_bytes: Size of all files above which the oldest are deleted, or None.
    """

    def __init__(
        self,
        directory: Path,
        prefix: str,
        documents: str,
        options: Mapping[str, Any] | None = None,
        *,
        max_age_seconds: float | None = None,
        max_total_bytes: int | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._settings = json.dumps(
            {
                "directory": str(self._directory),
                "prefix": prefix,
                "documents": documents,
                "options": dict(options or {}),
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

    def write(self, exchanges: Sequence[Exchange]) -> None:
        """Write a file for each; returns when all of them are there.

        Raises `PartlyWritten` where one can not be written or made; `OSError` if the process
        died, in which case the next call starts another.
        """
        batch = _packed(exchanges)
        process = self._process or self._started()
        self._process = process
        try:
            pipe = _pipe(process.stdin)
            write_all(pipe, LENGTH.pack(len(batch)))
            write_all(pipe, batch)
            written, error = ANSWER.unpack(_received(process, ANSWER.size))
        except OSError:
            self._process = None
            _end(process, seconds=0)
            raise
        if error == UNMADE:
            raise PartlyWritten(written) from ValueError("no file can be made of an exchange")
        if error:
            problem = OSError(error, os.strerror(error), str(self._directory))
            raise PartlyWritten(written) from problem

    def close(self) -> None:
        """Let the process finish what it was given, and end it."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, CLOSE_SECONDS)

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), self._settings],
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


def _packed(exchanges: Sequence[Exchange]) -> bytes:
    try:
        return _pack(exchanges)
    except UnicodeEncodeError:  # half a character, in a header that is not UTF-8
        return _pack(encodable(msgspec.to_builtins(exchanges, builtin_types=(bytes,))))


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
