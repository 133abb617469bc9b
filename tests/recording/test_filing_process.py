"""The protocol of the process beside the gateway, run here without a process."""

from __future__ import annotations

import errno
import io
import json
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording import filing_process
from gateway_sessions.recording.filing_process import (
    ANSWER,
    LENGTH,
    READY,
    UNMADE,
    Folder,
    serve,
)
from gateway_sessions.recording.retention import Retention
from tests.recording.recordings import exchange

NAME = "trace-2024-01-20T10-30-45-123Z-req_1.json"


class Named:
    """Makes a file of an exchange's id and request body."""

    def file(self, exchange: Exchange) -> tuple[str, bytes]:
        if exchange.request_id == "bad":
            raise KeyError("oh")
        return exchange.request_id, exchange.request.body


def batch(*exchanges: Exchange) -> bytes:
    content = msgspec.msgpack.encode(exchanges)
    return LENGTH.pack(len(content)) + content


def serve_bytes(folder: Folder, directory: Path, data: bytes) -> list[tuple[int, int]]:
    """Return the answers, as files written and error number."""
    outgoing = io.BytesIO()
    idle = Retention(directory, folder.owns, max_age_seconds=None, max_total_bytes=None)
    serve(io.BytesIO(data), outgoing, folder, idle, Named)
    answers = outgoing.getvalue()
    assert answers.startswith(READY)
    return list(ANSWER.iter_unpack(answers[len(READY) :]))


def test_each_batch_is_answered(tmp_path: Path) -> None:
    data = batch(exchange("a", b"1"), exchange("b")) + batch() + batch(exchange("c", b"3"))
    assert serve_bytes(Folder(tmp_path, "trace"), tmp_path, data) == [(2, 0), (0, 0), (1, 0)]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"1",
        "b": b"",
        "c": b"3",
    }


@pytest.mark.parametrize(("name", "error"), [("x" * 300, errno.ENAMETOOLONG), ("bad", UNMADE)])
def test_after_an_error_the_batch_is_skipped_and_the_next_one_is_not(
    tmp_path: Path, name: str, error: int
) -> None:
    data = batch(exchange("a", b"1"), exchange(name), exchange("b")) + batch(exchange("c", b"4"))
    answers = serve_bytes(Folder(tmp_path, "trace"), tmp_path, data)
    assert answers == [(1, error), (1, 0)]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"a", "c"} <= names
    assert "b" not in names


def test_what_is_no_batch_of_exchanges_is_answered_too(tmp_path: Path) -> None:
    garbage = LENGTH.pack(2) + b"\xc1{"
    answers = serve_bytes(Folder(tmp_path, "trace"), tmp_path, garbage + batch(exchange("a")))
    assert answers == [(0, UNMADE), (1, 0)]


def test_a_batch_that_was_cut_off_is_not_written(tmp_path: Path) -> None:
    data = batch(exchange("a", b"1")) + batch(exchange("b", b"0123456789"))[:-3]
    assert serve_bytes(Folder(tmp_path, "trace"), tmp_path, data) == [(1, 0)]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    Folder(directory, "trace").add("a", b"1")
    assert (directory / "a").read_bytes() == b"1"


def test_a_failed_write_leaves_the_old_file_and_its_rest_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path, "trace")
    folder.add("a", b"old")

    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(filing_process, "write_all", full)
    with pytest.raises(OSError, match="No space"):
        folder.add("a", b"new")
    folder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "owned"),
    [
        (NAME, True),
        (NAME.replace("trace-", "other-"), False),
        (NAME + ".bak", False),
        ("trace-notes.json", False),
        (f"trace-{NAME}", False),
        (".trace-1.tmp", False),
    ],
)
def test_only_files_with_our_names_are_ours(tmp_path: Path, name: str, owned: bool) -> None:
    assert Folder(tmp_path, "trace").owns(name) is owned


def test_dots_in_the_prefix_are_dots(tmp_path: Path) -> None:
    assert not Folder(tmp_path, "t.ace").owns(NAME)


def test_main_serves_standard_input_and_ignores_the_signals_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream:
        def __init__(self, data: bytes = b"") -> None:
            self.buffer = io.BytesIO(data)

    ignored: dict[int, object] = {}
    stood_back: list[bool] = []
    outgoing = Stream()
    monkeypatch.setattr(signal, "signal", ignored.__setitem__)
    monkeypatch.setattr(filing_process, "stand_back", lambda: stood_back.append(True))
    monkeypatch.setattr(sys, "stdin", Stream(batch(exchange("a", b"1"))))
    monkeypatch.setattr(sys, "stdout", outgoing)
    settings = {
        "directory": str(tmp_path),
        "prefix": "trace",
        "max_age_seconds": 60,
        "max_total_bytes": 1000,
        "documents": f"{__name__}:Named",
        "options": {},
    }
    filing_process.main([json.dumps(settings)])
    assert outgoing.buffer.getvalue() == READY + ANSWER.pack(1, 0)
    assert ignored == dict.fromkeys((signal.SIGINT, signal.SIGTERM), signal.SIG_IGN)
    assert stood_back == [True]
