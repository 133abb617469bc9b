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


def through(*items: Recordable) -> list[object]:
    """Return what arrives of a batch."""
    *frames, (last, nothing) = wire.read_frames(io.BytesIO(wire.item_frames(items)))
    assert (last, nothing) == (wire.MARK, b"")
    return [wire.read_item(kind, content) for kind, content in frames]


def test_items_arrive_as_they_were_sent() -> None:
    sent: list[Recordable] = [arrived(1), finished(1, error="client_closed"), chunk(2), ended(3)]
    assert through(*sent) == sent


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
    data = wire.item_frames([ended(1), ended(2)])
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
    for kind in (wire.MILESTONE, wire.EVENT):
        with pytest.raises(msgspec.DecodeError):
            wire.read_item(kind, b"\xc1{")
