"""What gateway and recorder process say to each other."""

from __future__ import annotations

import io

import msgspec
import pytest

from gateway_sessions.config.recording import Postgres, SessionRecording
from gateway_sessions.events import RequestRecorded
from gateway_sessions.recording import wire
from gateway_sessions.recording.recordable import Recordable
from tests.recording.recordings import arrived, asked, chunk, ended, finished


def sent(*items: Recordable) -> bytes:
    return b"".join(wire.item_frames(items))


def through(*items: Recordable) -> list[object]:
    """Return what arrives of a batch."""
    *frames, (last, nothing) = wire.read_frames(io.BytesIO(sent(*items)))
    assert (last, nothing) == (wire.MARK, b"")
    found: list[object] = []
    body = b""
    for kind, content in frames:
        if kind == wire.BODY:
            body = content
            continue
        if kind == wire.EVENT:
            found.append(wire.read_event(content))
        else:
            found += wire.read_milestones(content, body)
        body = b""
    return found


def test_items_arrive_as_they_were_sent() -> None:
    items: list[Recordable] = [arrived(1), finished(1, error="client_closed"), chunk(2), ended(3)]
    assert through(*items) == items
    assert through(*items, *items) == items + items


def test_milestones_in_a_row_share_a_frame() -> None:
    frames = wire.read_frames(io.BytesIO(sent(arrived(1), finished(1), ended(2), arrived(3))))
    assert [kind for kind, _ in frames] == [
        wire.MILESTONES, wire.EVENT, wire.MILESTONES, wire.MARK,
    ]  # fmt: skip


def test_large_bodies_are_not_copied() -> None:
    body = b"x" * wire.LARGE_BYTES
    answer = finished(1)
    large = msgspec.structs.replace(
        answer, response=msgspec.structs.replace(answer.response, body=body)
    )
    items: list[Recordable] = [arrived(0), arrived(1, body=body), large, finished(2)]
    parts = wire.item_frames(items)
    assert sum(part is body for part in parts) == 2
    assert max(len(part) for part in parts if part is not body) < len(body)
    assert through(*items) == items


def test_what_can_not_be_read_of_a_frame_fails_alone() -> None:
    odd = msgspec.structs.replace(arrived(2), model=7)
    first, bad, last = through(arrived(1), odd, finished(3))
    assert (first, last) == (arrived(1), finished(3))
    assert isinstance(bad, msgspec.DecodeError)


def test_json_within_events_stays_as_it_is() -> None:
    (event,) = through(asked(1, size=3))
    assert isinstance(event, RequestRecorded)
    assert bytes(event.request_json or b"") == b'"xxx"'


def test_half_a_character_in_a_header_costs_the_character_only() -> None:
    item = arrived(1)
    odd = msgspec.structs.replace(item.request, headers=(("A", "x\udce9y"),), body=b"\xff\x00")
    (received,) = through(msgspec.structs.replace(item, request=odd))
    assert received.request.headers == (("A", "x?y"),)  # type: ignore[attr-defined]
    assert received.request.body == b"\xff\x00"  # type: ignore[attr-defined]


def test_a_cut_off_end_is_no_frame() -> None:
    data = sent(ended(1), ended(2))
    whole = len(list(wire.read_frames(io.BytesIO(data))))
    counts = [len(list(wire.read_frames(io.BytesIO(data[:cut])))) for cut in range(len(data))]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1], whole) == (0, 2, 3)


def test_settings() -> None:
    recording = SessionRecording(postgres=Postgres(enabled=True, url="postgresql://u:p@h/d"))
    settings = wire.Settings(recording, 5, b"\x00key", 60.0)
    assert wire.read_settings(io.BytesIO(wire.settings_frame(settings))) == settings
    assert wire.read_settings(io.BytesIO(b"")) is None


def test_reports() -> None:
    report = wire.Report(
        settled=3,
        flushed=2,
        writers={"jsonl": wire.WriterState(4, "OSError: no")},
        written=[("jsonl", 2, 0.5)],
        dropped=[("jsonl", "error", 1)],
        logs=[(30, "a.b", "text")],
    )
    incoming = io.BytesIO(wire.report_bytes(report) + wire.report_bytes(wire.Report(ready=True)))
    assert wire.read_report(incoming) == report
    assert wire.read_report(incoming) == wire.Report(ready=True)
    assert wire.read_report(incoming) is None
    assert wire.read_report(io.BytesIO(wire.report_bytes(report)[:-1])) is None


def test_flushes_have_numbers() -> None:
    ((kind, content),) = wire.read_frames(io.BytesIO(wire.flush_frame(7)))
    assert (kind, wire.NUMBER.unpack(content)) == (wire.FLUSH, (7,))


def test_garbage_is_refused() -> None:
    for read in (wire.read_milestones, wire.read_event):
        with pytest.raises(msgspec.DecodeError):
            read(b"\xc1{")
