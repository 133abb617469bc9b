"""Those who follow along while sessions are recorded, and what they are told.

Events come back from the recorder process, cleaned as they are recorded.  Whoever is too slow, on
the way or at its end, makes events be left out, and never makes recording wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from gateway_sessions.events import SessionEvent
from gateway_sessions.hooks import LEFT_OUT, FeedEvent
from gateway_sessions.recording.jsontext import json_line
from gateway_sessions.recording.quiet import Quiet

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
"""On their way, in either process."""
MAX_BYTES = 32 * 1024 * 1024

Listener = Callable[[FeedEvent], None]


class Passing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event on its way from the recorder process."""

    session_id: str
    request_id: str
    type: str
    json: msgspec.Raw


class Outbox:
    """The recorder process's end: events until they are sent.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Passing] = deque()
        self._bytes = 0
        self._left_out = 0

    def put(self, event: SessionEvent) -> None:
        """Take an event, or leave it out and count it."""
        tag = str(event.__struct_config__.tag)
        raw = msgspec.Raw(json_line(event)[:-1])
        size = len(bytes(raw))
        with self._lock:
            if len(self._waiting) >= MAX_EVENTS or self._bytes + size > MAX_BYTES:
                self._left_out += 1
                return
            self._waiting.append(Passing(event.session_id, event.request_id, tag, raw))
            self._bytes += size

    def take(self) -> tuple[list[Passing], int]:
        """Return what waits, and how many events were left out since the last time."""
        with self._lock:
            events, left_out = list(self._waiting), self._left_out
            self._waiting.clear()
            self._bytes = self._left_out = 0
        return events, left_out


class Followers:
    """The gateway's end.  `heard` is thread-safe, the rest belongs to the event loop."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._pending = 0
        self._left_out = 0
        self._quiet = Quiet()

    def __bool__(self) -> bool:
        """Tell whether anybody follows."""
        return bool(self._listeners)

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell a listener of every event from now on; return what ends that."""
        self._loop = asyncio.get_running_loop()
        key = object()
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    def heard(self, events: Sequence[Passing], left_out: int = 0) -> None:
        """Pass events on to the event loop, as many as it keeps up with."""
        loop = self._loop
        if loop is None or not self._listeners:
            return
        with self._lock:
            taken = events[: max(0, MAX_EVENTS - self._pending)]
            self._pending += len(taken)
            self._left_out += left_out + len(events) - len(taken)
            missing, self._left_out = (self._left_out, 0) if taken else (0, self._left_out)
        if taken:
            try:
                loop.call_soon_threadsafe(self._tell, taken, missing)
            except RuntimeError:  # the loop has ended, and those who listened with it
                self._listeners.clear()

    def _tell(self, events: Sequence[Passing], missing: int) -> None:
        with self._lock:
            self._pending -= len(events)
        if missing:
            text = b'{"type":"%s","count":%d}' % (LEFT_OUT.encode(), missing)
            self._tell_all(FeedEvent("", "", LEFT_OUT, text))
        for each in events:
            self._tell_all(FeedEvent(each.session_id, each.request_id, each.type, bytes(each.json)))

    def _tell_all(self, event: FeedEvent) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:  # a plug-in may raise anything
                if count := self._quiet.count():
                    logger.exception("a follower of the recording failed %d times", count)
