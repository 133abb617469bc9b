"""The process beside the gateway that makes a file of each exchange.

A thread can not do it: each of the four system calls per file gives up Python's global lock,
and beside a busy event loop it takes milliseconds to get that back, which leaves some 200 files
a second; and what a document takes to make, requests would wait for.  A process has a lock of
its own.  It reads batches of exchanges from standard input, has documents made of them, writes
each under a temporary name, renames it, and says on standard output how many it wrote; it also
deletes what is past its keeping.

It ends when its standard input does, so that what a killed gateway had sent is still written.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.background import stand_back
from gateway_sessions.recording.files import make_private_directory, open_private, write_all
from gateway_sessions.recording.retention import Retention

LENGTH = struct.Struct("!Q")
"""Before each batch: its bytes, which are MessagePack of a list of exchanges."""
ANSWER = struct.Struct("!II")
"""After each batch: files written, and the error number that stopped it, or 0."""
UNMADE = 0xFFFF_FFFF
"""In place of an error number: the batch, or the next document of it, could not be made."""
READY = ANSWER.pack(0, 0)
"""Sent once, when the process has started."""


_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_read_exchange = msgspec.msgpack.Decoder(Exchange).decode


class Documents(Protocol):
    """Makes files of exchanges.  Constructed with the options that its `Filer` was given."""

    def file(self, exchange: Exchange, /) -> tuple[str, bytes]:
        """Return name and content of an exchange's file."""


class Folder:
    """A folder of files named ``PREFIX-<timestamp>-<id>.json``."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self._directory = directory
        self._temporary = str(directory / f".{prefix}-{os.getpid()}.tmp")
        stamp = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z"
        self._own = re.compile(rf"{re.escape(prefix)}-{stamp}-[A-Za-z0-9_-]+\.json")

    def owns(self, name: str) -> bool:
        """Tell whether a file of this name can be one of ours."""
        return self._own.fullmatch(name) is not None

    def add(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            descriptor = open_private(self._temporary, flags)
        except FileNotFoundError:
            # Somebody removed the folder to start afresh.
            make_private_directory(self._directory)
            descriptor = open_private(self._temporary, flags)
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)
        os.rename(self._temporary, f"{self._directory}/{name}")  # noqa: PTH104 - once per file

    def close(self) -> None:
        """Remove what a failed write may have left."""
        Path(self._temporary).unlink(missing_ok=True)


def serve(
    incoming: BinaryIO,
    outgoing: BinaryIO,
    folder: Folder,
    retention: Retention,
    documents: Callable[[], Documents],
) -> None:
    """Write files until ``incoming`` ends; half a batch at its end is none."""
    outgoing.write(READY)
    outgoing.flush()
    made = documents()  # after saying so: it may be slow to import, and nobody has to wait
    while len(header := incoming.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(header)
        batch = incoming.read(length)
        if len(batch) < length:
            return
        outgoing.write(ANSWER.pack(*_write(batch, folder, retention, made)))
        outgoing.flush()


def _write(
    batch: bytes, folder: Folder, retention: Retention, documents: Documents
) -> tuple[int, int]:
    """Write the files of a batch, up to the first that fails; return how many, and the error."""
    written = 0
    try:
        for each in _split(batch):
            name, content = documents.file(_read_exchange(each))
            folder.add(name, content)
            retention.added(len(content))
            written += 1
    except OSError as exc:
        return written, exc.errno or errno.EIO
    except Exception:  # noqa: BLE001 - what a plug-in put into an exchange may be of any type
        return written, UNMADE
    return written, 0


def made(place: str, options: dict[str, Any]) -> Documents:
    """Return what makes documents: ``module:Class``, called with its options."""
    module, _, name = place.partition(":")
    documents: Documents = getattr(importlib.import_module(module), name)(**options)
    return documents


def main(arguments: list[str]) -> None:
    """Run with one argument: a JSON object with directory, prefix, limits, and what is made."""
    for name in (signal.SIGINT, signal.SIGTERM):
        # Sent to the whole process group, or service; the gateway still has things to write.
        signal.signal(name, signal.SIG_IGN)
    stand_back()
    settings = json.loads(arguments[0])
    directory = Path(settings["directory"])
    folder = Folder(directory, settings["prefix"])
    retention = Retention(
        directory,
        folder.owns,
        max_age_seconds=settings["max_age_seconds"],
        max_total_bytes=settings["max_total_bytes"],
    )
    retention.start()
    try:
        serve(
            sys.stdin.buffer,
            sys.stdout.buffer,
            folder,
            retention,
            lambda: made(settings["documents"], settings["options"]),
        )
    except BrokenPipeError:
        pass  # the gateway is gone
    finally:
        retention.stop()
        folder.close()
