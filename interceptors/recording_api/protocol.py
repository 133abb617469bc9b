"""What clients of the recording API say, and what they are answered: values and their checks.

An event is a JSON object whose ``type`` names it.  Fields that are not known are passed over, so
that newer clients can talk to older servers.  Times are Unix milliseconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta

SessionId = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", max_length=128, examples=["editor-4711"])
]
"""Letters, digits, ``.``, ``_``, ``:`` and ``-``: it becomes a part of paths and of URLs."""
MessageId = Annotated[str, Meta(min_length=1, max_length=256)]
EventId = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Line = Annotated[str, Meta(max_length=4096)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
"""No more than every JSON reader holds exactly."""
Time = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
"""Unix milliseconds, up to the last year that has four digits."""
Metadata = dict[str, Any]


T_ = TypeVar("T_")


class _Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything here; what does not apply is left out."""


class Event(_Value, frozen=True, kw_only=True, tag_field="type"):
    """Base of what clients report."""

    status: ClassVar[str]
    """What the acknowledgement says."""

    event_id: EventId | None = None
    """Comes back in the answer, and makes sending an event twice the same as once."""
    seq: Count | None = None
    """The event's number within its session; gaps are reported."""


class SessionStart(Event, frozen=True, kw_only=True, tag="session_start"):
    """A session begins; one that is known is taken up again and loses nothing."""

    status: ClassVar[str] = "session_started"

    session_id: SessionId
    provider: Name
    workspace_id: Line | None = None
    workspace_path: Line | None = None
    title: Line | None = None
    model: Line | None = None
    metadata: Metadata | None = None


class SessionEnd(Event, frozen=True, kw_only=True, tag="session_end"):
    """A session is over."""

    status: ClassVar[str] = "session_ended"

    session_id: SessionId
    final_message_count: Count | None = None
    """How many messages the client counts; a difference is reported."""


class MessageAdd(Event, frozen=True, kw_only=True, tag="message_add"):
    """A new message."""

    status: ClassVar[str] = "message_added"

    session_id: SessionId
    message_id: MessageId
    role: Name
    content: str
    model: Line | None = None
    parent_id: MessageId | None = None
    metadata: Metadata | None = None


class MessageUpdate(Event, frozen=True, kw_only=True, tag="message_update"):
    """A message's content is another now."""

    status: ClassVar[str] = "message_updated"

    session_id: SessionId
    message_id: MessageId
    content: str
    is_complete: bool


class MessageAppend(Event, frozen=True, kw_only=True, tag="message_append"):
    """A message grows; until an update says otherwise it counts as incomplete."""

    status: ClassVar[str] = "message_appended"

    session_id: SessionId
    message_id: MessageId
    content_delta: str


class SessionUpdate(Event, frozen=True, kw_only=True, tag="session_update"):
    """Something about a session is another now; ``metadata`` is merged key by key."""

    status: ClassVar[str] = "session_updated"

    session_id: SessionId
    title: Line | None = None
    model: Line | None = None
    metadata: Metadata | None = None


class Heartbeat(Event, frozen=True, kw_only=True, tag="heartbeat"):
    """The client, or one of its sessions, is still there."""

    status: ClassVar[str] = "heartbeat"

    timestamp: Count
    session_id: SessionId | None = None


class Message(_Value, frozen=True, kw_only=True):
    """A message as a whole."""

    message_id: MessageId
    role: Name
    content: str
    created_at: Time
    model: Line | None = None
    parent_id: MessageId | None = None
    metadata: Metadata | None = None
    is_complete: bool = True


class SessionSnapshot(Event, frozen=True, kw_only=True, tag="session_snapshot"):
    """All messages of a session; they replace those known, in this order."""

    status: ClassVar[str] = "snapshot_received"

    session_id: SessionId
    provider: Name
    messages: list[Message]
    workspace_path: Line | None = None
    title: Line | None = None
    metadata: Metadata | None = None


AnyEvent = (
    SessionStart
    | SessionEnd
    | MessageAdd
    | MessageUpdate
    | MessageAppend
    | SessionUpdate
    | Heartbeat
    | SessionSnapshot
)


class Difference(_Value, frozen=True, kw_only=True):
    """Two numbers that should be the same."""

    expected: int
    received: int


class Ack(_Value, frozen=True, kw_only=True, tag_field="type", tag="ack"):
    """An event is durable: written and flushed."""

    event_id: str | None
    session_id: str | None
    status: str
    """The event's own, or ``duplicate`` where it was known."""
    seq_gap: Difference | None = None
    """Events are missing before this one; the number that was due, and the one that came."""
    message_count: Difference | None = None
    """What the client counted, ``expected``, is not what is here, ``received``."""


class Error(_Value, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """An event, or a request, changed nothing."""

    code: str
    message: str
    event_id: str | None = None


Reply = Ack | Error

STATUS = {
    "invalid_event": 400,
    "parse_error": 400,
    "unauthorized": 401,
    "session_not_found": 404,
    "message_not_found": 404,
    "too_large": 413,
    "unavailable": 503,
}
"""HTTP status of each error code."""


class Recovery(_Value, frozen=True, kw_only=True, tag_field="type", tag="recovery"):
    """All that is known of a session: what a client goes on with after a crash."""

    session_id: str
    message_count: int
    messages: list[Message]
    last_message_id: str | None = None
    last_seq: int | None = None


class Events(_Value, frozen=True, kw_only=True, tag_field="type", tag="events"):
    """Events to record, in order."""

    events: list[msgspec.Raw]


class Subscribe(_Value, frozen=True, kw_only=True, tag_field="type", tag="subscribe"):
    """Ask for the events of a session, or with ``*`` for those of all."""

    session_id: Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._:-]*)\Z", max_length=128)]


class Unsubscribe(Subscribe, frozen=True, kw_only=True, tag="unsubscribe"):
    """Take that back."""


class Ping(_Value, frozen=True, kw_only=True, tag_field="type", tag="ping"):
    """Ask whether the server is there."""

    timestamp: Count


Frame = Events | Subscribe | Unsubscribe | Ping


class Refused(Exception):
    """An event or a request that can not be taken."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def reply(self, event_id: str | None = None) -> Error:
        """Return the answer."""
        return Error(code=self.code, message=str(self), event_id=event_id)


class _EventId(msgspec.Struct):
    event_id: str | None = None


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw]


_events: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_snapshots = msgspec.json.Decoder(SessionSnapshot)
_frames: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
_batches = msgspec.json.Decoder(_Batch)
_event_ids = msgspec.json.Decoder(_EventId)
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.",
    re.DOTALL,
)
"""A surrogate pair, half of one, or the beginning of another escape sequence."""
_PLACE = re.compile(r"(.*) - at `(?:key in )?\$\.?(.*?)`")


def read_event(raw: bytes) -> AnyEvent:
    """Return an event; raises `Refused`."""
    return _read(_events, raw)


def read_snapshot(raw: bytes) -> SessionSnapshot:
    """Return a snapshot, whose ``type`` may be left out; raises `Refused`."""
    return _read(_snapshots, raw)


def read_frame(raw: bytes) -> Frame:
    """Return a frame of a WebSocket client; raises `Refused`."""
    return _read(_frames, raw)


def read_batch(raw: bytes) -> list[msgspec.Raw]:
    """Return the events of a request's body, each still to be read; raises `Refused`."""
    return _read(_batches, raw).events


def event_id_of(raw: bytes) -> str | None:
    """Return the id of an event that can not be read otherwise, if it has one."""
    try:
        found = _event_ids.decode(raw).event_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if found is None else found[:128]


def _read(decoder: msgspec.json.Decoder[T_], raw: bytes) -> T_:
    try:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            mended = _ESCAPES.sub(_whole_character, raw)
            if mended == raw:
                raise
            return decoder.decode(mended)
    except msgspec.ValidationError as error:
        raise Refused("invalid_event", sentence(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("parse_error", f"This is not JSON: {error}.") from None
    except RecursionError:
        raise Refused("invalid_event", "This is nested too deeply.") from None


def _whole_character(match: re.Match[bytes]) -> bytes:
    """Return an escape sequence; what is half a character becomes U+FFFD.

    Editors cut texts in the middle of an emoji, and no file could hold the half.
    """
    found = match.group()
    return b"\\ufffd" if len(found) == 6 else found


def sentence(error: msgspec.ValidationError) -> str:
    """Return what is wrong and where, as a sentence.

    >>> sentence(msgspec.ValidationError("Expected `str`, got `int` - at `$.role`"))
    'role: expected str, got int.'
    """
    text = str(error)
    found = _PLACE.fullmatch(text)
    if found is not None:
        what, place = found.groups()
        what = what[:1].lower() + what[1:]
        text = f"{place}: {what}" if place else what[:1].upper() + what[1:]
    return f"{text.replace('`', '')}."
