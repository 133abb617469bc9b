"""Several trackers over one store, with the face of one tracker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import cycle
from typing import Any, cast

from gateway_sessions.conversation import Conversation, Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.index.base import Index
from gateway_sessions.index.store import Store
from gateway_sessions.testing import Desk
from gateway_sessions.tracker import Tracked, Tracker
from tests.index.stored import StoreInMemory


class Company:
    """Trackers of replicas behind one address: each request reaches the next of them.

    The reply goes to the replica that had the request, as it does in life.
    """

    def __init__(
        self, make: Callable[[Store], Tracker], replicas: int, stores: Callable[[], Store] | None
    ) -> None:
        self.store = StoreInMemory()
        self.loop = asyncio.new_event_loop()
        self.trackers = [make(stores() if stores else self.store) for _ in range(replicas)]
        self._next = cycle(range(replicas))
        self._owners: dict[int, tuple[Tracked, Tracker]] = {}
        self.chosen: int | None = None
        """The replica that gets all requests; None for one after the other."""

    @property
    def index(self) -> Index:
        return self.trackers[0].index

    def close(self) -> None:
        for tracker in self.trackers:
            self.run(tracker.close())

    def __del__(self) -> None:
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def begin(self, conversation: Conversation, sender: Sender, now: float) -> Tracked:
        tracker = self._tracker()

        async def begun() -> Tracked:
            plan = tracker.plan(conversation, sender)
            await tracker.fetch(plan, now)
            tracked = tracker.place(plan, now)
            tracker.remember(tracked, now)
            await _flushed(tracker)
            return tracked

        tracked: Tracked = self.run(begun())
        self._owners[id(tracked)] = (tracked, tracker)
        return tracked

    def answered(self, tracked: Tracked, reply: Reply, now: float) -> None:
        self._settle(tracked, lambda tracker: tracker.answered(tracked, reply, now))

    def failed(self, tracked: Tracked, reply: Reply | None, now: float) -> None:
        self._settle(tracked, lambda tracker: tracker.failed(tracked, reply, now))

    def plan(self, conversation: Conversation, sender: Sender) -> Any:
        return self.trackers[0].plan(conversation, sender)

    def find(self, plan: Any, now: float) -> SessionTag | None:
        tracker = self._tracker()

        async def found() -> SessionTag | None:
            await tracker.fetch(plan, now)
            return tracker.find(plan, now)

        tag: SessionTag | None = self.run(found())
        return tag

    def _tracker(self) -> Tracker:
        return self.trackers[next(self._next) if self.chosen is None else self.chosen]

    def _settle(self, tracked: Tracked, note: Callable[[Tracker], None]) -> None:
        tracker = self._owners[id(tracked)][1]

        async def settled() -> None:
            note(tracker)
            waiting = tracker.settled(tracked)
            if waiting is not None:
                await waiting
            await _flushed(tracker)

        self.run(settled())


async def _flushed(tracker: Tracker) -> None:
    shared: Any = tracker.shared
    await shared.flush()


def shared_desk(
    settings: DetectionSettings | None = None,
    replicas: int = 2,
    stores: Callable[[Callable[[], float]], Store] | None = None,
    **options: Any,
) -> Desk:
    """Return a desk whose requests are answered by several replicas in turn.

    Each has a store of its own where ``stores`` gives it one, made with the desk's clock.
    """
    desk = Desk(settings, **options)
    made = None if stores is None else partial(stores, desk.clock)
    return share(desk, settings, replicas, made, explain=bool(options.get("explain")))


def share(
    desk: Desk,
    settings: DetectionSettings | None,
    replicas: int,
    stores: Callable[[], Store] | None = None,
    *,
    explain: bool = False,
) -> Desk:
    """Put replicas in the place of a desk's tracker."""
    mint = desk.tracker._detector._mint

    def make(store: Store) -> Tracker:
        return Tracker(
            settings or DetectionSettings(),
            b"a secret for tests only",
            desk.telemetry,
            store=store,
            mint=mint,
            explain=explain,
        )

    desk.tracker = Company(make, replicas, stores)  # type: ignore[assignment]
    return desk


def company(desk: Desk) -> Company:
    """Return the replicas behind a desk."""
    found: Any = desk.tracker
    return cast("Company", found)
