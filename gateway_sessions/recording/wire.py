"""What gateway and recorder process say to each other over their socket.

To the recorder go frames: a head of kind and length, then the content.  The first one holds the
settings.  Milestones are MessagePack, since their bodies are bytes, as many in a frame as follow
each other: one call encodes all of them.  Events are JSON, since parts of them are JSON already.
Large bodies go in frames of their own, from where they are, so that nobody copies them.  Back
come `Report` values, each as JSON behind its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from typing import IO, TypeVar

import msgspec

from gateway_sessions.analysis.rawjson import encodable
from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.events import AnyEvent
from gateway_sessions.milestones import AnyMilestone, Arrived, Finished, Milestone
from gateway_sessions.recording.following import Passing
from gateway_sessions.recording.jsontext import json_line
from gateway_sessions.recording.recordable import Recordable

HEAD = struct.Struct("!cI")
SETTINGS, MILESTONES, BODY, EVENT, MARK, FLUSH, FOLLOW = b"S", b"M", b"D", b"E", b"B", b"F", b"W"
"""Kinds of frames.  `BODY` holds that of the only milestone of the next frame; `MARK` ends a batch,
and that it is settled will be reported; `FLUSH` holds a number, which the report of its completion
gives back; `FOLLOW` asks for events to come back, or with empty content for none."""
LENGTH = struct.Struct("!I")
NUMBER = struct.Struct("!Q")

LARGE_BYTES = 16 * 1024
"""A body from which on a frame of its own is cheaper than a copy."""

M_ = TypeVar("M_", bound=Milestone)

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
_unpack_one: msgspec.msgpack.Decoder[AnyMilestone] = msgspec.msgpack.Decoder(AnyMilestone)
_split = msgspec.msgpack.Decoder(list[msgspec.Raw])
_unpack: msgspec.msgpack.Decoder[list[AnyMilestone]] = msgspec.msgpack.Decoder(list[AnyMilestone])
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


def item_frames(items: Iterable[Recordable]) -> list[bytes]:
    """Return a batch as frames, in parts that are to be sent one after the other."""
    parts: list[bytes] = []
    together: list[Milestone] = []
    for item in items:
        large = b""
        if isinstance(item, Milestone):
            large = _large_body(item)
            if not large:
                together.append(item)
                continue
        _add(parts, MILESTONES, _packed(together))
        together.clear()
        if isinstance(item, Milestone):
            _add(parts, BODY, large)
            _add(parts, MILESTONES, _packed([_with_body(item, b"")]))
        else:
            _add(parts, EVENT, json_line(item))
    _add(parts, MILESTONES, _packed(together))
    parts.append(HEAD.pack(MARK, 0))
    return parts


def _add(parts: list[bytes], kind: bytes, content: bytes) -> None:
    if content:
        parts += (HEAD.pack(kind, len(content)), content)


def _packed(milestones: Sequence[Milestone]) -> bytes:
    if not milestones:
        return b""
    try:
        return _pack(milestones)
    except UnicodeEncodeError:  # half a character, in a header that is not UTF-8
        return _pack(encodable(msgspec.to_builtins(milestones, builtin_types=(bytes,))))


def _large_body(item: Milestone) -> bytes:
    """Return the body of a milestone if it is worth a frame of its own."""
    if isinstance(item, Arrived):
        body = item.request.body
    else:
        body = item.response.body if isinstance(item, Finished) else b""
    return body if len(body) >= LARGE_BYTES else b""


def _with_body(item: M_, body: bytes) -> M_:
    replace = msgspec.structs.replace
    if isinstance(item, Arrived):
        return replace(item, request=replace(item.request, body=body))
    if isinstance(item, Finished):
        return replace(item, response=replace(item.response, body=body))
    return item


def read_milestones(
    content: bytes, body: bytes = b""
) -> list[AnyMilestone] | list[AnyMilestone | msgspec.DecodeError]:
    """Return the milestones of a frame, the only one with the ``body`` that came before it.

    An error stands for one that can not be read: what a plug-in put into an exchange may be of
    any type.  Raises `msgspec.DecodeError` where the frame as a whole is none.
    """
    try:
        milestones = _unpack.decode(content)
    except msgspec.DecodeError:
        return [_unpacked(raw) for raw in _split.decode(content)]
    return [_with_body(one, body) for one in milestones] if body else milestones


def _unpacked(raw: msgspec.Raw) -> AnyMilestone | msgspec.DecodeError:
    try:
        return _unpack_one.decode(raw)
    except msgspec.DecodeError as error:
        return error


def read_event(content: bytes) -> AnyEvent:
    """Return the event of a frame; raises `msgspec.DecodeError`."""
    return _read_event.decode(content)


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
