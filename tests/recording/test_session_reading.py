"""Session files are read plain, compressed, half written, and when they are years old."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions import events as e
from gateway_sessions.coding import zstd
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.recording import session_reading
from gateway_sessions.recording.session_lines import BadLine, event_line
from gateway_sessions.recording.session_reading import read_events
from tests.recording.session_events import failed, put, started, strictly

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.jsonl"))
KINDS: tuple[Any, ...] = e.AnyEvent.__args__


def compressed(path: Path) -> Path:
    target = path.with_name(f"{path.name}.zst")
    target.write_bytes(zstd.compress(path.read_bytes()))
    return target


FORMS: tuple[Callable[[Path], Path], ...] = (lambda path: path, compressed)


def bare(event: Any) -> Any:
    return msgspec.json.decode(event_line(event))


@pytest.mark.parametrize("form", FORMS, ids=["plain", "zst"])
def test_what_was_written_is_read(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    events = [started(), *(failed(message=f"\u2028{n}") for n in range(1000))]
    first, *others = read_events(form(put(tmp_path, *events)))
    assert first == msgspec.structs.replace(events[0], record_version=1)
    assert others == events[1:]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_files_of_all_versions_are_read_whole(sample: Path) -> None:
    lines = strictly(sample.read_bytes())
    events = list(read_events(sample))
    assert [event for event in events if isinstance(event, BadLine)] == []
    missing = set(KINDS) - {type(event) for event in events}
    assert not missing or sample != SAMPLES[-1], "add lines of them to the newest sample"
    version = lines[0].pop("record_version")
    assert sample.stem == f"v{version}"
    assert [bare(event) for event in events] == lines


def test_a_line_that_is_being_written_is_not_there_yet(tmp_path: Path) -> None:
    path = put(tmp_path, started(), failed(message="kept"), failed(message="half"))
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert len(list(read_events(path))) == 2, cut
    path.write_bytes(whole[:-1])  # lacks nothing but its end
    assert len(list(read_events(path))) == 3


def test_bad_lines_do_not_hide_good_ones(tmp_path: Path) -> None:
    path = put(tmp_path, started())
    with path.open("ab") as stream:
        stream.write(b'\x00\x00\x00\n{"type":"dream"}\n' + event_line(failed()))
    first, nulls, dream, last = read_events(path)
    assert isinstance(first, e.Started)
    assert isinstance(nulls, BadLine)
    assert isinstance(dream, BadLine)
    assert (nulls.line, dream.line) == (2, 3)
    assert last == failed()


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, started())
    path.write_bytes(path.read_bytes().replace(b'"record_version":1', b'"record_version":2'))
    with pytest.raises(UnreadableLog, match="read it with a newer gateway-sessions"):
        list(read_events(path))


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sess_a.jsonl"
    with pytest.raises(UnreadableLog) as error:
        list(read_events(path))
    assert str(error.value) == f"{path} can not be read: no such file or directory."


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = put(tmp_path, started())
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(UnreadableLog, match="can not be read"):
        list(read_events(link))


def test_a_compressed_file_that_breaks_off_is_told(tmp_path: Path) -> None:
    path = compressed(put(tmp_path, started(), failed()))
    path.write_bytes(path.read_bytes()[:-3])
    last = list(read_events(path))[-1]
    assert isinstance(last, BadLine)
    assert last.problem.endswith("the compressed file breaks off.")


def test_what_is_not_compressed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sess_a.jsonl.zst"
    path.write_bytes(b"nothing of zstd")
    (only,) = read_events(path)
    assert isinstance(only, BadLine)
    assert "line 1: not zstd: " in only.problem


def test_endless_lines_are_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_reading, "MAX_LINE_BYTES", 1000)
    path = put(tmp_path, started(), failed(message="x" * 2000), failed())
    _, only = read_events(path)
    assert isinstance(only, BadLine)
    assert only.problem.endswith("line 2: too long to be an event.")


def test_without_zstd_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(put(tmp_path, started()))
    monkeypatch.setattr(session_reading, "zstd", None)
    with pytest.raises(UnreadableLog, match=r"pip install backports\.zstd"):
        list(read_events(path))
