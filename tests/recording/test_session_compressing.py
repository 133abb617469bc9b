"""Compressing loses nothing, wherever it is interrupted, and leaves live sessions alone."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from gateway_sessions import events as e
from gateway_sessions.coding import zstd
from gateway_sessions.errors import StartError
from gateway_sessions.recording import session_compressing
from gateway_sessions.recording.locked_files import open_to_append
from gateway_sessions.recording.session_appending import SessionAppender
from gateway_sessions.recording.session_compressing import LIVE_SECONDS, Saved, compress, is_ours
from gateway_sessions.recording.session_files import SessionFile, SessionFolder
from gateway_sessions.recording.session_lines import event_line
from gateway_sessions.recording.session_reading import read_events
from tests.recording.session_events import DAY, NOON_UNIX, completed, failed, put, started
from tests.recording.writers import PATIENCE

NOW = NOON_UNIX + 60.0
EVENTS = (started(), failed(message="no " * 1000), completed())


def the_file(root: Path) -> SessionFile:
    (file,) = (file for file in SessionFolder(root).files(DAY) if not file.compressed)
    return file


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / DAY).iterdir())


def read(root: Path) -> list[e.SessionEvent]:
    """Return all events of the day, as they were before they were written."""
    found = [event for file in SessionFolder(root).files(DAY) for event in read_events(file.path)]
    return [
        msgspec.structs.replace(event, record_version=None)
        if isinstance(event, e.Started)
        else event
        for event in found
        if isinstance(event, e.SessionEvent)
    ]


def test_a_session_that_has_ended_is_compressed(tmp_path: Path) -> None:
    path = put(tmp_path, *EVENTS)
    content = path.read_bytes()
    saved = compress(the_file(tmp_path), NOW)
    assert names(tmp_path) == ["sess_a.jsonl.zst"]
    target = tmp_path / DAY / "sess_a.jsonl.zst"
    assert saved == Saved(before=len(content), after=target.stat().st_size)
    assert zstd.decompress(target.read_bytes()) == content
    assert read(tmp_path) == list(EVENTS)
    assert target.stat().st_mtime == NOON_UNIX
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_of_many_blocks_is_compressed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_compressing, "_BLOCK", 1000)
    noise = random.Random(1)
    events = [started(), *(failed(message=f"{noise.random()}") for _ in range(500)), completed()]
    put(tmp_path, *events)
    compress(the_file(tmp_path), NOW)
    assert read(tmp_path) == events


def test_a_live_session_is_left_alone_until_it_is_silent(tmp_path: Path) -> None:
    put(tmp_path, started(), failed())
    assert compress(the_file(tmp_path), NOON_UNIX + LIVE_SECONDS - 1) is None
    assert names(tmp_path) == ["sess_a.jsonl"]
    assert compress(the_file(tmp_path), NOON_UNIX + LIVE_SECONDS) is not None


def test_a_session_that_went_on_after_its_end_is_live(tmp_path: Path) -> None:
    put(tmp_path, *EVENTS, failed())
    assert compress(the_file(tmp_path), NOW) is None


def test_a_file_that_is_open_to_be_written_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, *EVENTS)
    folder = os.open(tmp_path / DAY, os.O_RDONLY)
    opened = open_to_append("sess_a.jsonl", folder, make=False)
    os.close(folder)
    assert opened is not None
    assert compress(the_file(tmp_path), NOW + LIVE_SECONDS) is None
    os.close(opened[0])
    assert compress(the_file(tmp_path), NOW) is not None


@pytest.mark.parametrize("content", [b"my notes\n", b'{"mine":1}', b'[{"record_version":1}]\n'])
def test_files_of_others_are_not_touched(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path, *EVENTS)
    path.write_bytes(content)
    assert compress(the_file(tmp_path), NOW + LIVE_SECONDS) is None
    assert path.read_bytes() == content
    assert not is_ours(path)


def test_ours_are_known_in_both_forms(tmp_path: Path) -> None:
    path = put(tmp_path, *EVENTS)
    assert is_ours(path)
    compress(the_file(tmp_path), NOW)
    assert is_ours(tmp_path / DAY / "sess_a.jsonl.zst")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert is_ours(tmp_path / "empty.jsonl")


def test_an_empty_file_just_goes(tmp_path: Path) -> None:
    path = put(tmp_path, *EVENTS)
    path.write_bytes(b"")
    compress(the_file(tmp_path), path.stat().st_mtime + LIVE_SECONDS)
    assert names(tmp_path) == []


def test_a_half_line_is_cut_first(tmp_path: Path) -> None:
    path = put(tmp_path, *EVENTS)
    with path.open("ab") as stream:
        stream.write(b'{"type":')
    compress(the_file(tmp_path), path.stat().st_mtime + LIVE_SECONDS)
    assert zstd.decompress((tmp_path / DAY / "sess_a.jsonl.zst").read_bytes()).endswith(b"}\n")
    assert read(tmp_path) == list(EVENTS)


def test_what_followed_a_compressed_part_is_added_to_it(tmp_path: Path) -> None:
    put(tmp_path, *EVENTS)
    compress(the_file(tmp_path), NOW)
    more = (*(failed(message=f"later {number}" * 30) for number in range(20)), completed())
    put(tmp_path, *more)
    assert read(tmp_path) == [*EVENTS, *more]
    compress(the_file(tmp_path), NOW)
    assert names(tmp_path) == ["sess_a.jsonl.zst"]
    assert read(tmp_path) == [*EVENTS, *more]


def test_both_forms_of_the_same_events_become_one(tmp_path: Path) -> None:
    put(tmp_path, *EVENTS)
    compress(the_file(tmp_path), NOW)
    put(tmp_path, *EVENTS)  # as it was before the first form was removed
    compress(the_file(tmp_path), NOW)
    assert names(tmp_path) == ["sess_a.jsonl.zst"]
    assert read(tmp_path) == list(EVENTS)


class Stopped(BaseException):
    """The process ends."""


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("parts", [1, 2])
def test_whoever_stops_in_the_middle_loses_nothing(
    tmp_path: Path, step: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, *EVENTS)
    expected = list(EVENTS)
    if parts == 2:
        compress(the_file(tmp_path), NOW)
        put(tmp_path, failed(message="later"), completed())
        expected += [failed(message="later"), completed()]
    calls = [0]

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            calls[0] += 1
            if calls[0] > step:
                raise Stopped
            return real(*arguments, **more)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((os, "utime"), (os, "fsync"), (Path, "rename"), (Path, "unlink")):
            patch.setattr(owner, name, counting(getattr(owner, name)))
        with pytest.raises(Stopped):
            compress(the_file(tmp_path), NOW)
    # utime, fsync of the file, rename, fsync of the folder, unlink
    assert "sess_a.jsonl" in names(tmp_path)
    both_forms = step >= 3
    if not both_forms:
        assert read(tmp_path) == expected
    assert compress(the_file(tmp_path), NOW) is not None
    assert names(tmp_path) == ["sess_a.jsonl.zst"]
    assert read(tmp_path) == expected


def test_on_a_full_disk_the_file_stays_and_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, *EVENTS)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session_compressing, "write_all", refuse)
    with pytest.raises(OSError, match="No space left"):
        compress(the_file(tmp_path), NOW)
    assert names(tmp_path) == ["sess_a.jsonl"]


def test_a_compressed_part_that_is_broken_is_not_added_to(tmp_path: Path) -> None:
    put(tmp_path, *EVENTS)
    target = tmp_path / DAY / "sess_a.jsonl.zst"
    target.write_bytes(b"broken")
    with pytest.raises(zstd.ZstdError):
        compress(the_file(tmp_path), NOW)
    assert target.read_bytes() == b"broken"
    assert read(tmp_path)[-3:] == list(EVENTS)


def test_links_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, *EVENTS)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / DAY / ".sess_a.jsonl.zst.tmp").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        compress(the_file(tmp_path), NOW)
    assert precious.read_text() == "precious"


def test_without_zstd_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *EVENTS)
    monkeypatch.setattr(session_compressing, "zstd", None)
    with pytest.raises(StartError, match=r"pip install backports\.zstd"):
        compress(the_file(tmp_path), NOW)


def test_a_session_may_be_written_to_while_it_is_compressed(tmp_path: Path) -> None:
    """One thread compresses whatever is closed, the other goes on with the same sessions."""
    over, compressed = threading.Event(), threading.Semaphore(0)

    def archive() -> None:
        folder = SessionFolder(tmp_path)
        while not over.is_set():
            for file in folder.files(DAY):
                if file.compressed:
                    continue
                with suppress(FileNotFoundError):
                    if compress(file, file.changed + LIVE_SECONDS) is not None:
                        compressed.release()

    appender = SessionAppender(tmp_path, max_open=1)
    appender.open()
    archiver = threading.Thread(target=archive)
    archiver.start()
    try:
        for number in range(300):
            session = f"s{number % 3}"
            said = failed(session, message=f"{number}")
            appender.append(session, DAY, [event_line(said)], ends=number % 30 == 29)
            if number % 30 == 29:
                assert compressed.acquire(timeout=PATIENCE)
    finally:
        over.set()
        archiver.join()
        appender.close()
    found: dict[str, list[str]] = {}
    for event in read(tmp_path):
        assert isinstance(event, e.Error)
        found.setdefault(event.session_id, []).append(event.error_message)
    assert found == {f"s{n}": [f"{m}" for m in range(n, 300, 3)] for n in range(3)}
