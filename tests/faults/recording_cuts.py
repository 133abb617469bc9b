"""Cuts the power under gateways that record, and looks for what is lost.

Run as root, as ``unshare --mount --pid --fork --kill-child python -m tests.faults.recording_cuts
FOLDER CUTS SEED [MUTANT…]``; prints what it did as JSON.  Records are on an ext4 file system in an
image, mounted through a loop device.  A cut stops all processes at a random moment and copies the
image: what the file system has not yet handed to its device, but keeps in memory, is not in the
copy.  The copy is mounted, which replays the file system's journal, as a start after a power cut
does; it is looked at, and then opened by writers, which put it in order.

Mounts and processes are in namespaces of their own, and images in memory: however this ends,
nothing stays mounted and nobody runs on, and nothing waits for a real disk.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions.config.recording import Jsonl, Retention, SessionRecording, Sqlite
from gateway_sessions.milestones import Arrived, Finished
from gateway_sessions.prices import Prices
from gateway_sessions.recording.unsynced import Unsynced
from gateway_sessions.recording.writers import make_writers
from gateway_sessions.storage import sqlite
from interceptors.sqlite import SqliteWriter
from tests.contracts.test_event_writers import Exchanges
from tests.faults.recording_kills import NUMBER, gateway, recorder, tear
from tests.recording.recordings import AT, arrived, finished

IMAGE_BYTES = 40 * 1024 * 1024
CUTS_OF_ONE_LIFE = 5
"""The first of them may come before there is anything but an empty file system."""
EXCHANGES_OF_ONE_LIFE = 600
"""After which no more cuts are taken from it: a disk has room for 1,500, and a full one is not
what is looked for."""
LEAST_FREE_BYTES = 1024 * 1024
LONGEST_SECONDS = 0.1
"""From a start to the first cut, or from an acknowledgement to the next one."""
PATIENCE = 60.0
"""Seconds after which what has not happened never will."""
_MIDNIGHT = AT + 6400.0


def _exchange(number: int) -> tuple[Arrived, Finished]:
    """Return an exchange of a session that has a few; soon after the first ones the day ends."""
    session = f"sess_{number // 6}"
    at = _MIDNIGHT + (number - 50) / 100
    replace = msgspec.structs.replace
    return replace(arrived(number, session), at=at), replace(finished(number, session), at=at)


def _no_files() -> None:
    sync = Unsynced._sync_one

    def folders_only(self: Unsynced, name: str) -> OSError | None:
        return None if name.endswith(".jsonl") else sync(self, name)

    Unsynced._sync_one = folders_only  # type: ignore[method-assign]


def _no_journal() -> None:
    sqlite.sync_log = lambda path: None


MUTANTS: dict[str, Callable[[], None]] = {"no-files": _no_files, "no-journal": _no_journal}
"""What they do not sync."""


@dataclass
class _Found:
    """What is on a disk: the exchanges that were recorded to their end, and lines of no use."""

    jsonl: set[tuple[str, str]] = field(default_factory=set)
    sqlite: set[tuple[str, str]] = field(default_factory=set)
    broken: int = 0


@dataclass
class _Tally:
    """What cuts have shown so far."""

    acknowledged: int = 0
    lost: dict[str, Exchanges] = field(default_factory=lambda: {"jsonl": [], "sqlite": []})
    """By what was there right after the cut, for each writer."""
    lost_in_order: dict[str, Exchanges] = field(default_factory=lambda: {"jsonl": [], "sqlite": []})
    """By what was there when writers had put it in order."""
    ahead: dict[str, int] = field(default_factory=lambda: {"jsonl": 0, "sqlite": 0})
    """Cuts at which a writer had what the other had not."""
    torn: int = 0
    broken: int = 0
    apart: int = 0


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount an image; let go of it at the end, even if somebody is still there."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", image, folder)
    try:
        yield folder
    finally:
        _run("umount", "--lazy", folder)


def _config(disk: Path) -> SessionRecording:
    keep = Retention(max_age_days=100_000, compress_after_days=100_000)
    return SessionRecording(
        jsonl=Jsonl(directory=str(disk / "records" / "jsonl"), retention=keep),
        sqlite=Sqlite(path=str(disk / "records" / "sqlite" / "sessions.db")),
    )


class _Life:
    """A gateway and its recorder, in a process group that is stopped and killed as one."""

    def __init__(self, disk: Path) -> None:
        ours, theirs = socket.socketpair()
        self._heard, said = os.pipe()
        self._group = os.fork()
        if not self._group:
            os.setpgid(0, 0)
            ours.close()
            os.close(self._heard)
            os.close(said)
            recorder(theirs)
        os.setpgid(self._group, self._group)
        self._gateway = os.fork()
        if not self._gateway:
            os.setpgid(0, self._group)
            theirs.close()
            os.close(self._heard)
            gateway(_config(disk), ours, said, 0, _exchange)
        os.setpgid(self._gateway, self._group)
        ours.close()
        theirs.close()
        os.close(said)
        os.set_blocking(self._heard, False)
        self._safe = 0

    def stop(self) -> Exchanges:
        """Stop them; return the exchanges that they have acknowledged."""
        os.killpg(self._group, signal.SIGSTOP)
        while told := self._told():
            (self._safe,) = NUMBER.unpack(told)
        return [(f"sess_{number // 6}", f"req_{number}") for number in range(self._safe)]

    def go_on(self) -> None:
        """Let them go on; return when they have acknowledged something more."""
        os.killpg(self._group, signal.SIGCONT)
        assert select.select([self._heard], [], [], PATIENCE)[0]

    def end(self) -> None:
        """Kill them."""
        os.killpg(self._group, signal.SIGKILL)
        for process in (self._gateway, self._group):
            os.waitpid(process, 0)
        os.close(self._heard)

    def _told(self) -> bytes:
        try:
            return os.read(self._heard, NUMBER.size)
        except BlockingIOError:
            return b""


def _cut(image: Path, copy: Path) -> None:
    """Copy an image as its device has it at one moment."""
    # Nobody is asked to write anything down.  The file system may be at it by itself: two equal
    # readings are what there was between them.
    first = _content(image)
    while (second := _content(image)) != first:
        first = second
    with copy.open("wb") as file:
        file.truncate(IMAGE_BYTES)
        for place, block in second.items():
            os.pwrite(file.fileno(), block, place)


def _content(image: Path) -> dict[int, bytes]:
    """Return what is in an image by place, without the holes, which are most of it."""
    found = {}
    end = 0
    with image.open("rb") as file, suppress(OSError):  # which tells that the rest is a hole
        while True:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found[start] = os.pread(file.fileno(), end - start, start)
    return found


def _look(disk: Path, scratch: Path) -> _Found:
    """Return what is on a disk without changing it."""
    found = _Found()
    for path in (disk / "records" / "jsonl").glob("*/*.jsonl"):
        for line in path.open("rb"):
            try:
                event = json.loads(line)
            except ValueError:
                found.broken += 1
                continue
            found.broken += not line.endswith(b"\n")
            if event["type"] == "request_completed":
                found.jsonl.add((event["session_id"], event["request_id"]))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for path in (disk / "records" / "sqlite").glob("sessions.db*"):
        if not path.name.endswith("-shm"):
            shutil.copy(path, scratch)
    with closing(sqlite3.connect(scratch / "sessions.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if ("session_stats",) in tables:
            query = "SELECT session_id, request_id FROM session_stats WHERE success IS NOT NULL"
            found.sqlite.update(connection.execute(query))
    return found


def _put_in_order(config: SessionRecording) -> None:
    """Open the writers and let them do all that they do at a start and in the minute after it."""
    writers = [writer for _, writer in make_writers(config)]
    for writer in writers:
        writer.open()
    try:
        for writer in writers:
            if isinstance(writer, SqliteWriter):
                assert writer.wait_until_complete(PATIENCE)
                writer.tick(time.time())
                assert writer.wait_until_complete(PATIENCE)
    finally:
        for writer in writers:
            writer.close()


def _check(folder: Path, acknowledged: Exchanges, tally: _Tally, *, torn: bool) -> None:
    """Start from the image of a cut, and take down what is not as it should be."""
    with _mounted(folder / "cut.img", folder / "cut") as disk:
        found = _look(disk, folder / "scratch")
        assert shutil.disk_usage(disk).free > LEAST_FREE_BYTES
        safe = set(acknowledged)
        tally.acknowledged += len(safe)
        tally.lost["jsonl"] += sorted(safe - found.jsonl)
        tally.lost["sqlite"] += sorted(safe - found.sqlite)
        tally.ahead["jsonl"] += bool(found.jsonl - found.sqlite)
        tally.ahead["sqlite"] += bool(found.sqlite - found.jsonl)
        tally.torn += found.broken
        if torn:
            tally.torn += tear(disk / "records" / "jsonl")
        _put_in_order(_config(disk))
        found = _look(disk, folder / "scratch")
        tally.lost_in_order["jsonl"] += sorted(safe - found.jsonl)
        tally.lost_in_order["sqlite"] += sorted(safe - found.sqlite)
        tally.broken += found.broken
        tally.apart += len(found.jsonl ^ found.sqlite)


def _one_life(folder: Path, cuts: int, tally: _Tally, *, torn: bool) -> int:
    """Let a gateway live on an empty disk, and cut its power a few times; return how many."""
    image = folder / "disk.img"
    _cut(folder / "empty.img", image)
    done = 0
    acknowledged: Exchanges = []
    with _mounted(image, folder / "disk") as disk:
        life = _Life(disk)
        try:
            while done < cuts and len(acknowledged) < EXCHANGES_OF_ONE_LIFE:
                if done:
                    life.go_on()
                time.sleep(random.random() * LONGEST_SECONDS)  # the moment is the point
                acknowledged = life.stop()
                _cut(image, folder / "cut.img")
                _check(folder, acknowledged, tally, torn=torn)
                done += 1
        finally:
            life.end()
    image.unlink()
    return done


def run(folder: Path, cuts: int, seed: int) -> dict[str, Any]:
    """Return what became of exchanges when the power was cut."""
    random.seed(seed)
    Prices().load()  # what is imported here is there in every fork
    _run("mount", "-t", "tmpfs", "-o", f"size={10 * IMAGE_BYTES}", "tmpfs", folder)
    empty = folder / "empty.img"
    with empty.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", empty)
    tally = _Tally()
    done, torn = 0, True
    while done < cuts:
        assert threading.active_count() == 1
        done += _one_life(folder, min(CUTS_OF_ONE_LIFE, cuts - done), tally, torn=torn)
        torn = not torn
    return {"cuts": done, **asdict(tally)}


if __name__ == "__main__":
    for _mutant in sys.argv[4:]:
        MUTANTS[_mutant]()
    sys.stdout.write(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
