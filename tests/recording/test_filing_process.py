"""The protocol of the process beside the gateway, run here without a process."""

from __future__ import annotations

import errno
import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_sessions.recording import filing_process
from gateway_sessions.recording.filing_process import ANSWER, FRAME, READY, Folder, serve
from gateway_sessions.recording.retention import Retention

NAME = "trace-2024-01-20T10-30-45-123Z-req_1.json"
END = FRAME.pack(0, 0)


def frame(name: str, content: bytes) -> bytes:
    return FRAME.pack(len(name), len(content)) + name.encode() + content


def serve_bytes(folder: Folder, directory: Path, data: bytes) -> list[tuple[int, int]]:
    """Return the answers, as files written and error number."""
    outgoing = io.BytesIO()
    idle = Retention(directory, folder.owns, max_age_seconds=None, max_total_bytes=None)
    serve(io.BytesIO(data), outgoing, folder, idle)
    answers = outgoing.getvalue()
    assert answers.startswith(READY)
    return list(ANSWER.iter_unpack(answers[len(READY) :]))


def test_each_batch_is_answered(tmp_path: Path) -> None:
    data = frame("trace-a", b"1") + frame("trace-b", b"") + END + END + frame("trace-c", b"3") + END
    assert serve_bytes(Folder(tmp_path, "trace"), tmp_path, data) == [(2, 0), (0, 0), (1, 0)]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "trace-a": b"1",
        "trace-b": b"",
        "trace-c": b"3",
    }


def test_after_an_error_the_batch_is_skipped_and_the_next_one_is_not(tmp_path: Path) -> None:
    too_long = "x" * 300
    data = (
        frame("a", b"1") + frame(too_long, b"2") + frame("b", b"3") + END + frame("c", b"4") + END
    )
    answers = serve_bytes(Folder(tmp_path, "trace"), tmp_path, data)
    assert answers == [(1, errno.ENAMETOOLONG), (1, 0)]
    assert {"a", "c"} <= {path.name for path in tmp_path.iterdir()}


def test_a_file_that_was_cut_off_is_not_written(tmp_path: Path) -> None:
    data = frame("a", b"1") + frame("b", b"0123456789")[:-3]
    assert serve_bytes(Folder(tmp_path, "trace"), tmp_path, data) == []
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


def test_it_needs_the_standard_library_only() -> None:
    program = (
        "import sys, types; p = types.ModuleType('gateway_sessions');"
        "p.__path__ = [sys.argv[1]]; sys.modules['gateway_sessions'] = p;"
        "import gateway_sessions.recording.filing_process;"
        "print([m for m in ('msgspec', 'aiohttp', 'asyncio', 'site') if m in sys.modules])"
    )
    package = str(Path(filing_process.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, package], capture_output=True, check=True
    )
    assert done.stdout == b"[]\n"


def test_main_serves_standard_input_and_ignores_the_signals_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream:
        def __init__(self, data: bytes = b"") -> None:
            self.buffer = io.BytesIO(data)

    ignored: dict[int, object] = {}
    outgoing = Stream()
    monkeypatch.setattr(signal, "signal", ignored.__setitem__)
    monkeypatch.setattr(sys, "stdin", Stream(frame("a", b"1") + END))
    monkeypatch.setattr(sys, "stdout", outgoing)
    settings = (
        f'{{"directory": "{tmp_path}", "prefix": "trace",'
        ' "max_age_seconds": 60, "max_total_bytes": 1000}'
    )
    filing_process.main([settings])
    assert outgoing.buffer.getvalue() == READY + ANSWER.pack(1, 0)
    assert ignored == dict.fromkeys((signal.SIGINT, signal.SIGTERM), signal.SIG_IGN)
