"""One event is one line: to bytes, and from bytes that may be half of one, or a newer format's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions.errors import UnreadableLog
from gateway_sessions.events import VERSION, AnyEvent, SessionEvent
from gateway_sessions.recording.jsontext import escaped, is_json, json_line

_VERSIONED = b'{"record_version":%d,' % VERSION
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")

_decoder = msgspec.json.Decoder(AnyEvent)
_tags = frozenset(str(kind.__struct_config__.tag) for kind in AnyEvent.__args__)


class BadLine(msgspec.Struct, frozen=True):
    """A line that can not be read; those around it can."""

    path: Path
    line: int
    """1-based."""
    problem: str
    """A sentence that names the place."""


class _Head(msgspec.Struct):
    """What tells whether a line can be read at all."""

    type: str = ""
    record_version: int = 0


_head = msgspec.json.Decoder(_Head)


class _EventHead(msgspec.Struct):
    """What has to be known of an event to write it."""

    type: str
    session_id: str
    timestamp: str
    relation: str = ""
    record_version: int | None = None


_heads = msgspec.json.Decoder(list[_EventHead])
_texts = msgspec.json.Decoder(list[msgspec.Raw])


class Line(msgspec.Struct, frozen=True):
    """An event as a line, and what has to be known to write it."""

    text: bytes
    """With its end."""
    kind: str
    session_id: str
    timestamp: str
    relation: str
    """Of a start, which tells whether the session is a new one; "" where there is none."""
    source: Any
    """The event; or its place, where a batch was given as JSON."""


def line_of(event: SessionEvent) -> Line:
    """Return an event as a line; raises as `event_line` does."""
    return Line(
        text=event_line(event),
        kind=str(event.__struct_config__.tag),
        session_id=event.session_id,
        timestamp=event.timestamp,
        relation=getattr(event, "relation", ""),
        source=event,
    )


def lines_of(batch: bytes) -> list[Line]:
    """Return the events of a JSON array as lines: they are not made anew, only looked over.

    Raises `msgspec.DecodeError` for what is no array of events, and as `event_line` does.
    """
    plain = batch.isascii() and b"\n" not in batch and b"\r" not in batch
    texts = zip(_texts.decode(batch), _heads.decode(batch), strict=True)
    return [
        Line(
            text=_line(text, head, plain),
            kind=head.type,
            session_id=head.session_id,
            timestamp=head.timestamp,
            relation=head.relation,
            source=place,
        )
        for place, (text, head) in enumerate(texts)
    ]


def _line(text: msgspec.Raw, head: _EventHead, plain: bool) -> bytes:
    if head.record_version is not None:
        return event_line(_decoder.decode(text))
    line = bytes(text)
    if not plain:
        line.decode()  # strings that are passed over are not looked at for this
        line = escaped(line).translate(_ONE_LINE)
    return line + b"\n"


def event_line(event: SessionEvent) -> bytes:
    """Return an event as one line of strict JSON.

    Raises `ValueError` for an event with a part that is no JSON, `TypeError` for one with a
    value that JSON has no form for.
    """
    if getattr(event, "record_version", None) is not None:
        # Of the file that it was read from; its new one has the version already.
        event = msgspec.structs.replace(event, record_version=None)
    line = json_line(event)
    # Parts of events are the bytes of strangers, put in as they are.
    if line.find(b"\n") != len(line) - 1 or b"\r" in line:
        line = line[:-1].translate(_ONE_LINE) + b"\n"
    if not is_json(line):
        raise ValueError(f"an event of {event.session_id[:64]!r} holds what is no JSON")
    return line


def first_line(line: bytes) -> bytes:
    """Return the line as the first one of a file, with ``record_version``."""
    return _VERSIONED + line[1:]


def begins_file(line: bytes) -> bool:
    """Tell whether a file that begins with these bytes is one of ours."""
    return line.startswith(b'{"record_version":')


def parsed(line: bytes, path: Path, number: int) -> AnyEvent | BadLine:
    """Return the event of a line.

    Raises `UnreadableLog` where the line says that the file's format is newer than this program.
    """
    if b'"record_version"' in line:
        _check_version(line, path)
    try:
        event: AnyEvent = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadLine(path, number, _problem(line, f"{path}, line {number}", error))
    return event


def kind_of(line: bytes) -> str:
    """Return the type of a line's event, "" where it is none."""
    try:
        return _head.decode(line).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def is_whole(line: bytes) -> bool:
    """Tell whether bytes without a line end lack nothing else."""
    return line.endswith(b"}") and is_json(line)


def _check_version(line: bytes, path: Path) -> None:
    try:
        version = _head.decode(line).record_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # it is no event either, as will be found
    if version > VERSION:
        raise UnreadableLog(
            f"{path}: its record_version is {version}, and this program reads up to {VERSION};"
            " read it with a newer gateway-sessions."
        )


def _problem(line: bytes, place: str, error: Any) -> str:
    kind = kind_of(line)
    if not kind:
        return f"{place}: not a JSON object with the fields of an event."
    if kind not in _tags:
        return (
            f"{place}: events of type {kind[:40]!r} are not known to this program;"
            " a newer gateway-sessions may read them."
        )
    reason = str(error).replace("`", "")
    return f"{place}: not an event of type {kind}: {reason[:1].lower()}{reason[1:]}."
