"""What gateway and recorder process say to each other over their socket.

To the recorder go frames: a head of kind and length, then the content.  The first one holds the
settings.  Milestones are MessagePack, since their bodies are bytes; events are JSON, since parts
of them are JSON already.  Back come `Report` values, each as JSON behind its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import IO

import msgspec

from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.events import AnyEvent
from gateway_sessions.milestones import AnyMilestone, Milestone
from gateway_sessions.recording.following import Passing
from gateway_sessions.recording.jsontext import encodable, json_line
from gateway_sessions.recording.recordable import Recordable

HEAD = struct.Struct("!cI")
SETTINGS, MILESTONE, EVENT, MARK, FLUSH, FOLLOW = b"S", b"M", b"E", b"B", b"F", b"W"
"""Kinds of frames.  `MARK` ends a batch, and that it is settled will be reported; `FLUSH` holds a
number, which the report of its completion gives back; `FOLLOW` asks for events to come back,
or with empty content for none."""
LENGTH = struct.Struct("!I")
NUMBER = struct.Struct("!Q")


Incoming = IO[bytes] | BufferedReader
"""Reads as many bytes as are asked for, unless the end comes first."""


class Settings(msgspec.Struct, frozen=True):
    """How the recorder process is to work."""

    recording: SessionRecording
    first: int
    """The number of the first item that will come."""
    secret: bytes = b""
    """Key of the hashes that redaction puts in place of personal data."""
    idle_seconds: float = 0.0
    """After which the gateway takes a session for over."""


class WriterState(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a writer is at present."""

    queued: int
    problem: str | None = None


class Report(msgspec.Struct, omit_defaults=True):
    """What happened in the recorder process since the last report."""

    ready: bool = False
    """The writers are open; said once."""
    refusal: str = ""
    """Why they are not, one sentence; the process ends."""
    misconfigured: bool = False
    """Whether the configuration is at fault."""
    settled: int = 0
    """Items below this number are with every writer that did not drop them."""
    flushed: int = 0
    """The number of the newest flush that is done."""
    writers: dict[str, WriterState] = {}
    written: list[tuple[str, int, float]] = []
    """Writer, events, seconds of each batch."""
    dropped: list[tuple[str, str, int]] = []
    """Writer, reason, events."""
    logs: list[tuple[int, str, str]] = []
    """Level, logger, text of what the process logged."""
    followed: list[Passing] = []
    """Events, where somebody follows."""
    left_out: int = 0
    """Events that are missing before these."""


_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_unpack_milestone: msgspec.msgpack.Decoder[AnyMilestone] = msgspec.msgpack.Decoder(AnyMilestone)
_read_event: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_read_settings = msgspec.msgpack.Decoder(Settings)
_read_report = msgspec.json.Decoder(Report)


def settings_frame(settings: Settings) -> bytes:
    """Return the first frame."""
    return _frame(SETTINGS, _pack(settings))


def read_settings(incoming: Incoming) -> Settings | None:
    """Read the first frame; None where there is none."""
    frame = next(read_frames(incoming), None)
    return None if frame is None else _read_settings.decode(frame[1])


def item_frames(items: Iterable[Recordable]) -> bytes:
    """Return a batch as frames, one per item and a mark at the end."""
    parts: list[bytes] = []
    for item in items:
        kind, content = _content(item)
        parts += (HEAD.pack(kind, len(content)), content)
    parts.append(HEAD.pack(MARK, 0))
    return b"".join(parts)


def _content(item: Recordable) -> tuple[bytes, bytes]:
    if not isinstance(item, Milestone):
        return EVENT, json_line(item)
    try:
        return MILESTONE, _pack(item)
    except UnicodeEncodeError:  # half a character, in a header that is not UTF-8
        return MILESTONE, _pack(encodable(msgspec.to_builtins(item, builtin_types=(bytes,))))


def read_item(kind: bytes, content: bytes) -> AnyMilestone | AnyEvent:
    """Return the item of a frame; raises `msgspec.DecodeError`."""
    return _unpack_milestone.decode(content) if kind == MILESTONE else _read_event.decode(content)


def flush_frame(number: int) -> bytes:
    """Return the frame that asks for a flush."""
    return _frame(FLUSH, NUMBER.pack(number))


def follow_frame(wanted: bool) -> bytes:
    """Return the frame that asks for events, or for no more."""
    return _frame(FOLLOW, b"1" if wanted else b"")


def read_frames(incoming: Incoming) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of frames until the input ends; half a frame at its end is none."""
    size = HEAD.size
    while len(head := incoming.read(size)) == size:
        kind, length = HEAD.unpack(head)
        content = incoming.read(length)
        if len(content) < length:
            return
        yield kind, content


def report_bytes(report: Report) -> bytes:
    """Return a report as it is sent."""
    text = _json(report)
    return LENGTH.pack(len(text)) + text


def read_report(incoming: Incoming) -> Report | None:
    """Read the next report; None at the end."""
    head = incoming.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    text = incoming.read(length)
    return _read_report.decode(text) if len(text) == length else None


def _frame(kind: bytes, content: bytes) -> bytes:
    return HEAD.pack(kind, len(content)) + content
