"""The live feed: who wants to hear of which session, and what they are sent.

A frame is built once and goes to all who want it.  Frames wait for a moment, so that what comes
at the same time takes one system call per subscriber, and they go straight into the transport:
a thousand subscribers need no task and no copy each.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from gateway_sessions import LEFT_OUT, FeedEvent, RecordingHandle
from interceptors.recording_api.recorded import ORIGIN

QUEUE = 1024
"""Events that wait for a subscriber; it is told how many it missed beyond them."""
QUEUE_BYTES = 8 * 1024 * 1024
"""As above: of large events, fewer wait."""
TRANSPORT_BYTES = 64 * 1024
"""A subscriber whose transport holds more than this is slow, and what comes next waits here."""
WRITE_BYTES = 256 * 1024
"""Given to a transport at once."""
SHORTEST_SECONDS, LONGEST_SECONDS = 0.005, 0.02
"""How long the first frame waits for others; longer where writing takes longer."""
MAX_SUBSCRIPTIONS = 1000
"""Of one subscriber."""
EVERYTHING = "*"


class Transport(Protocol):
    """The part of an asyncio transport that is used."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, or keep them until they can be sent."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are kept."""

    def is_closing(self) -> bool:
        """Tell whether nothing more is sent."""


class Subscriber:
    """A connection that may be subscribed to sessions."""

    __slots__ = ("bytes", "missed", "queue", "sessions", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.sessions: set[str] = set()
        self.queue: deque[bytes] = deque()
        self.bytes = 0
        self.missed = 0
        """Events that were left out since the last one that is in the queue."""

    def offer(self, frame: bytes) -> None:
        """Queue a frame, or count it as missed."""
        if self.missed and len(self.queue) < QUEUE - 1 and self.bytes < QUEUE_BYTES:
            self._put(lagged(self.missed))
            self.missed = 0
        full = len(self.queue) >= QUEUE or self.bytes >= QUEUE_BYTES
        if self.missed or full:
            self.missed += 1
        else:
            self._put(frame)

    def write(self) -> bool:
        """Give the transport as much as it takes; True if something is left."""
        transport = self.transport
        if transport.is_closing():
            self.queue.clear()
            self.bytes = self.missed = 0
            return False
        while self.queue and transport.get_write_buffer_size() <= TRANSPORT_BYTES:
            chunk = self._next()
            transport.write(chunk)
        if not self.queue and self.missed:
            self._put(lagged(self.missed))
            self.missed = 0
        return bool(self.queue)

    def _put(self, frame: bytes) -> None:
        self.queue.append(frame)
        self.bytes += len(frame)

    def _next(self) -> bytes:
        queue = self.queue
        if len(queue) == 1 or self.bytes > WRITE_BYTES:
            chunk = queue.popleft()
        else:
            chunk = b"".join(queue)
            queue.clear()
        self.bytes -= len(chunk)
        return chunk


class Feed:
    """Sends events to subscribers.  All methods belong to the event loop's thread."""

    def __init__(self, recording: RecordingHandle | None) -> None:
        """``recording`` is where sessions that the gateway detects are heard of."""
        self._recording = recording
        self._by_session: dict[str, set[Subscriber]] = {}
        self._full: set[Subscriber] = set()
        """Those with something in their queue."""
        self._timer: asyncio.TimerHandle | None = None
        self._spent = 0.0
        self._unfollow: Callable[[], None] | None = None

    def subscribe(self, subscriber: Subscriber, session_id: str) -> bool:
        """Send events of a session, or of all; False where it has too many subscriptions."""
        if session_id in subscriber.sessions:
            return True
        if len(subscriber.sessions) >= MAX_SUBSCRIPTIONS:
            return False
        subscriber.sessions.add(session_id)
        self._by_session.setdefault(session_id, set()).add(subscriber)
        if self._unfollow is None and self._recording is not None:
            self._unfollow = self._recording.follow(self._detected)
        return True

    def unsubscribe(self, subscriber: Subscriber, session_id: str) -> None:
        """Send no more events of a session; with ``*``, none but those asked for by id."""
        subscriber.sessions.discard(session_id)
        found = self._by_session.get(session_id)
        if found is not None:
            found.discard(subscriber)
            if not found:
                del self._by_session[session_id]
        if not self._by_session:
            self.close()

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        for session_id in list(subscriber.sessions):
            self.unsubscribe(subscriber, session_id)
        self._full.discard(subscriber)

    def reported(self, session_id: str, event: bytes, sender: Subscriber | None = None) -> None:
        """Send what a client has reported to all who want it, but not to that client."""
        self._send(self._wanting(session_id), event, sender)

    def close(self) -> None:
        """Stop listening to what the gateway detects."""
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    def _detected(self, event: FeedEvent) -> None:
        if event.type == LEFT_OUT:
            self._lost(msgspec.json.decode(event.json)["count"])
            return
        # What clients report is sent as they have reported it, when that is durable; the
        # recorder tells of it once more.
        if not event.request_id.startswith(ORIGIN):
            self._send(self._wanting(event.session_id), event.json, None)

    def _lost(self, count: int) -> None:
        """Tell all subscribers of events that nobody can say whose they were."""
        self._send_frame({s for found in self._by_session.values() for s in found}, lagged(count))

    def _wanting(self, session_id: str) -> Iterable[Subscriber]:
        some, all_ = self._by_session.get(session_id), self._by_session.get(EVERYTHING)
        if some and all_:
            return some | all_
        return some or all_ or ()

    def _send(
        self, subscribers: Iterable[Subscriber], event: bytes, sender: Subscriber | None
    ) -> None:
        if not subscribers:
            return
        frame = text_frame(b'{"type":"event_broadcast","event":' + event + b"}")
        self._send_frame(subscribers, frame, sender)

    def _send_frame(
        self, subscribers: Iterable[Subscriber], frame: bytes, sender: Subscriber | None = None
    ) -> None:
        for subscriber in subscribers:
            if subscriber is not sender:
                subscriber.offer(frame)
                self._full.add(subscriber)
        if self._timer is None and self._full:
            self._write_soon()

    def _write_soon(self) -> None:
        delay = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, 2 * self._spent))
        self._timer = asyncio.get_running_loop().call_later(delay, self._write)

    def _write(self) -> None:
        began = time.perf_counter()
        self._timer = None
        self._full = {subscriber for subscriber in self._full if subscriber.write()}
        self._spent = time.perf_counter() - began
        if self._full:
            self._write_soon()


def lagged(missed: int) -> bytes:
    """Return the frame that tells a slow subscriber what it missed."""
    return json_frame({"type": "lagged", "missed": missed})


def json_frame(value: Any) -> bytes:
    """Return a WebSocket frame with a value as JSON."""
    return text_frame(msgspec.json.encode(value))


def text_frame(text: bytes) -> bytes:
    """Return text as one WebSocket frame of a server: final, not masked, not compressed."""
    size = len(text)
    if size < 126:
        head = struct.pack("!BB", 0x81, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x81, 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 127, size)
    return head + text


PING = b"\x89\x00"
"""A WebSocket ping without content."""
