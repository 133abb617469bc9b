"""Everything that happens inside, as typed events.

Code that notices something announces an event here and knows nothing of metrics; whoever
counts (the Prometheus interceptor, a test) subscribes.  So there is one place that names
metrics and none that reaches into the core to count.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

logger = logging.getLogger(__name__)


class Event(msgspec.Struct, frozen=True, gc=False):
    """Base of all events."""


class SessionStarted(Event, frozen=True):
    """A new session: ``reason`` is first_request, reset_phrase, count_drop, expired, …"""

    session_id: str
    reason: str


class SessionEnded(Event, frozen=True):
    """A session left the index; ``reason`` is expired or evicted, ``messages`` its length."""

    session_id: str
    reason: str
    messages: int


class Detected(Event, frozen=True):
    """A request got its session; durations in seconds."""

    session_id: str
    relation: str
    source: str
    ambiguous: bool
    seconds: float
    hash_seconds: float


class ExplicitIdRejected(Event, frozen=True):
    """A client's session id was not usable (too long, not printable ASCII)."""

    name: str


class IndexFellBack(Event, frozen=True):
    """A shared index did not answer and the local one was used."""

    backend: str


class InterceptorFailed(Event, frozen=True):
    """A hook of an interceptor raised or was late."""

    interceptor: str
    hook: str
    error: str


class RateLimited(Event, frozen=True):
    """A request was refused: ``limit`` is requests or tokens."""

    session_id: str
    limit: str


class Unpriced(Event, frozen=True):
    """The tokens of an exchange could not be priced, since nobody knows the model's price."""

    model: str


class Written(Event, frozen=True):
    """A writer took a batch of ``count`` exchanges, or session events, in ``seconds``."""

    interceptor: str
    count: int
    seconds: float


class Dropped(Event, frozen=True):
    """``count`` exchanges, or session events, were lost to a writer.

    ``reason`` is queue_full, error, shutdown, or crash of the process that records.
    """

    interceptor: str
    reason: str
    count: int


E_ = TypeVar("E_", bound=Event)


class Telemetry:
    """Hands each event to the listeners of its type, at once, on the caller's thread.

    That is the event loop's, but for `Written` and `Dropped`, which writers' threads emit too:
    who listens to them must stand that.  Listeners are added before there is traffic.
    """

    def __init__(self) -> None:
        self._listeners: dict[type[Event], list[Callable[[Any], None]]] = defaultdict(list)

    def listen(self, kind: type[E_], listener: Callable[[E_], None]) -> None:
        """Call ``listener`` with every event of exactly this type from now on."""
        self._listeners[kind].append(listener)

    def hears(self, kind: type[Event]) -> bool:
        """Whether anybody listens: events of every request are not even made for nobody."""
        return kind in self._listeners

    def emit(self, event: Event) -> None:
        """Announce an event; a listener that fails is logged and never reaches the caller."""
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                logger.exception("a telemetry listener failed on %s", type(event).__name__)
