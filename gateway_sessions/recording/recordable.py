"""What can wait to be recorded: events, and milestones that become events later.

What is dropped first when there is no more room, and how much room a thing takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.events import (
    Completed,
    Gap,
    MessageRecorded,
    RequestCompleted,
    RequestRecorded,
    ResponseRecorded,
    SessionEvent,
    StreamEvent,
)
from gateway_sessions.milestones import Arrived, Chunk, Ended, Finished, FirstByte, Milestone

Recordable = SessionEvent | Milestone
"""Whatever belongs to a session and an exchange."""

OVERHEAD_BYTES = 2048
"""What a recordable is taken to occupy besides its bodies: headers, ids, numbers."""

CHUNK, ORDINARY, TERMINAL = range(3)
"""Classes, in the order in which they are dropped: the pieces of a stream are many and also in
its whole; how an exchange or a session ended, with its counts, is what everybody asks for."""

_CLASSES: dict[type[Any], int] = {
    StreamEvent: CHUNK,
    Chunk: CHUNK,
    ResponseRecorded: TERMINAL,
    RequestCompleted: TERMINAL,
    Completed: TERMINAL,
    Gap: TERMINAL,
    Finished: TERMINAL,
    Ended: TERMINAL,
}

_BECOMES = {
    Arrived: "request_recorded",
    FirstByte: "stream_started",
    Chunk: "stream_event",
    Finished: "response_recorded",
    Ended: "completed",
}
"""The event that readers miss where a milestone was dropped."""

SIZES: dict[type[Any], Callable[[Any], int]] = {
    RequestRecorded: lambda e: OVERHEAD_BYTES + (e.request_size_bytes if e.request_json else 0),
    ResponseRecorded: lambda e: OVERHEAD_BYTES + len(e.response_json or b"") * 2,
    StreamEvent: lambda e: OVERHEAD_BYTES + len(e.data or ""),
    MessageRecorded: lambda e: OVERHEAD_BYTES + len(e.content or "") * 2,
    Arrived: lambda m: OVERHEAD_BYTES + len(m.request.body),
    Chunk: lambda m: OVERHEAD_BYTES + len(m.data),
    Finished: lambda m: OVERHEAD_BYTES + len(m.response.body) + len(m.response.raw_stream),
}
"""Bytes that a recordable occupies, about; of other types `OVERHEAD_BYTES`."""


def class_of(item: Recordable) -> int:
    """Return `CHUNK`, `ORDINARY` or `TERMINAL`."""
    return _CLASSES.get(type(item), ORDINARY)


def size_of(item: Recordable) -> int:
    """Return the bytes that an item occupies, about."""
    size = SIZES.get(type(item))
    return OVERHEAD_BYTES if size is None else size(item)


def kind_of(item: Recordable) -> str:
    """Return the type of the event that is missing where this one was dropped."""
    becomes = _BECOMES.get(cast("Any", type(item)))
    return becomes or str(item.__struct_config__.tag)


def timestamp_of(item: Recordable) -> str:
    """Return when it happened, as events write it."""
    if isinstance(item, Milestone):
        return rfc3339(item.at)
    return item.timestamp
