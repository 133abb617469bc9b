"""Requests on their way into sessions, those of one turn of the event loop in a row.

A request that is put into its session as soon as it is read finds the processor's caches full of
what reads and sends requests, and leaves them full of detection.  So requests wait for the end of
the turn that brought them, microseconds where there are few, and are placed one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.plan import Plan
from gateway_sessions.dialects import Dialect
from gateway_sessions.exchange import SessionTag
from gateway_sessions.later import Later
from gateway_sessions.tracker import Tracked, Tracker

OFF_LOOP_BYTES = 256 * 1024
"""Bodies larger than this are read on a thread, so that other clients do not wait for them."""


class Arrival(NamedTuple):
    """A request that is to be put into a session."""

    dialect: Dialect
    body: bytes
    sender: Sender
    now: float
    """When it came; unix seconds."""


class Placement(NamedTuple):
    """A request in its session, and the seconds that took, waiting for others left out."""

    tracked: Tracked
    seconds: float
    hash_seconds: float
    """Of these, for reading the request."""


class Placing:
    """Puts requests into sessions; all methods belong to the event loop's thread."""

    def __init__(self, tracker: Tracker, later: Later, monotonic: Callable[[], float]) -> None:
        """Place with a tracker, after whatever ``later`` still has to tell it."""
        self._tracker = tracker
        self._later = later
        self._monotonic = monotonic
        self._waiting: list[tuple[Arrival, asyncio.Future[Placement | Exception]]] = []

    async def place(self, arrival: Arrival) -> Placement:
        """Put a request into a session.

        Raises:
            UnreadableBody: a message is not what the dialect says.
        """
        if self._tracker.shared is not None or len(arrival.body) > OFF_LOOP_BYTES:
            return await self._place_alone(arrival)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Placement | Exception] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._place_waiting)
        self._waiting.append((arrival, answer))
        try:
            placed = await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and isinstance(placed := answer.result(), Placement):
                self.give_up(placed.tracked, arrival.now)
            raise
        if isinstance(placed, Exception):
            raise placed
        return placed

    async def find(self, arrival: Arrival) -> tuple[Plan, SessionTag | None]:
        """Return a request as read, and the session that it would go on in; nothing changes.

        Raises:
            UnreadableBody: a message is not what the dialect says.
        """
        plan = await self._planned(arrival)
        await self._tracker.fetch(plan, arrival.now)
        self._later.catch_up()
        return plan, self._tracker.find(plan, arrival.now)

    def give_up(self, tracked: Tracked, now: float) -> None:
        """Note that a request will not be sent, since its client has left."""
        self._tracker.failed(tracked, None, now)

    def _place_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for arrival, answer in waiting:
            if answer.cancelled():
                continue
            try:
                began = self._monotonic()
                plan = self._plan(arrival)
                answer.set_result(self._placed(plan, arrival.now, began, self._monotonic()))
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                answer.set_result(error)

    async def _place_alone(self, arrival: Arrival) -> Placement:
        began = self._monotonic()
        plan = await self._planned(arrival)
        planned = self._monotonic()
        await self._tracker.fetch(plan, arrival.now)
        return self._placed(plan, arrival.now, began, planned)

    def _placed(self, plan: Plan, now: float, began: float, planned: float) -> Placement:
        tracker = self._tracker
        self._later.catch_up()
        tracked = tracker.place(plan, now)
        placed = self._monotonic()
        if tracker.shared is None:
            self._later.add(tracker.remember, tracked, now)
        else:  # Other processes can not be told to catch up first.
            tracker.remember(tracked, now)
        return Placement(tracked, placed - began, planned - began)

    async def _planned(self, arrival: Arrival) -> Plan:
        if len(arrival.body) > OFF_LOOP_BYTES:
            return await asyncio.to_thread(self._plan, arrival)
        return self._plan(arrival)

    def _plan(self, arrival: Arrival) -> Plan:
        read = arrival.dialect.read_request(arrival.body, arrival.sender.path)
        return self._tracker.plan(read, arrival.sender)
