"""What one process holds of something that is in a store: its version there, and what is new here.

Both kinds answer the same questions: what is to be stored now (`change`), what if that was stored
(`stored`), and what if somebody else was faster (`met`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway_sessions.detection.asides import Asides
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.merging import merge
from gateway_sessions.detection.records import (
    KEYS_KEPT,
    Record,
    Turns,
    decode,
    encode,
    exported,
    habit_key,
    packed,
    restored,
    unpacked,
)
from gateway_sessions.detection.session import FAILED_KEPT, Session
from gateway_sessions.index.store import Change, StoredSession

IN_FLIGHT_SECONDS = 3600.0
"""How long after its last use a session's requests may still be in flight elsewhere; those of a
process that was killed are then taken for failed."""

HABIT = "habit_"
"""How the names of what instructions serve for begin; sessions' names begin otherwise."""

_FIELDS = Session.__struct_fields__


class Held(Protocol):
    """A session, or what some instructions serve for."""

    version: int
    """In the store, as far as is known; 0 if it is not there yet."""
    dirty: bool
    """Whether something is new that nobody has tried to store."""
    busy: bool
    """Whether a change of it is on its way to the store."""
    waiting: list[asyncio.Future[None]]
    """Those who wait until it is stored, or can not be."""

    @property
    def id(self) -> str:
        """The name in the store."""

    @property
    def scope(self) -> int:
        """The scope's seed."""

    def change(self) -> Change:
        """Return what is to be stored."""

    def stored(self, change: Change) -> None:
        """Note that a change was stored."""

    def met(self, found: StoredSession) -> None:
        """Join what is in the store with what is new here; raises `UnreadableRecord`."""


class HeldSession:
    """A session; memories hold the rest of what is known of it."""

    __slots__ = (
        "_cut",
        "_marks",
        "_marks_sent",
        "_news",
        "_turns",
        "begun_by",
        "busy",
        "dirty",
        "keys",
        "memories",
        "ours",
        "session",
        "version",
        "waiting",
    )

    def __init__(self, session: Session, memories: Memories) -> None:
        self.session = session
        self.memories = memories
        self.version = 0
        self.keys = b""
        """Index keys as they are here, each once, those registered last at the end."""
        self._cut = 0
        """Bytes at their beginning that are too many for the store."""
        self._news: dict[int, bool] = {}
        """Index keys of which the store does not know yet that they were added, or dropped."""
        self._marks = self._marks_sent = b""
        """Keys of other kinds, as the store has them, and as they were sent last."""
        self._turns: Turns = {}
        """Recent turns as they were sent with a request that is in flight."""
        self.begun_by = session.client
        self.dirty = False
        self.busy = False
        self.ours = False
        """Whether the version in the store was made here."""
        self.waiting: list[asyncio.Future[None]] = []

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    @property
    def scope(self) -> int:
        """The scope's seed."""
        return self.session.scope

    def rekey(self, added: Iterable[int], outdated: Sequence[int]) -> None:
        """Note which index keys lead to the session from now on, and which no longer do."""
        for key in outdated:
            place = _place(self.keys, key)
            if place >= 0:
                self.keys = self.keys[:place] + self.keys[place + 8 :]
                if place < self._cut:
                    self._cut -= 8
                else:
                    self._news[key] = False
        for key in added:
            if key and _place(self.keys, key) < 0:
                self.keys += key.to_bytes(8, "little")
                self._news[key] = True
        if len(self.keys) > 16 * KEYS_KEPT:
            had = set(unpacked(self.keys[self._cut :]))
            known = list(filter(self.session.may_know, unpacked(self.keys)))[-KEYS_KEPT:]
            self._news |= _difference(had, set(known))
            self.keys, self._cut = packed(known), 0

    def record(self) -> Record:
        """Return all that is known of the session here."""
        record = exported(self.session, self.keys, self.begun_by, self.memories, self._turns)
        # The reply to a request that is in flight adds one turn to these.
        turns = self.memories.histories.of(self.session) if self.session.pending else ()
        self._turns = {
            id(turn): (turn, made) for turn, made in zip(turns, record.turns, strict=False)
        }
        return record

    def change(self) -> Change:
        """Return what is to be stored: all of it, and how its keys differ from those there."""
        record = self.record()
        cut = len(self.keys) - len(record.keys)
        if cut > self._cut:
            self._news.update(dict.fromkeys(unpacked(self.keys[self._cut : cut]), False))
            self._cut = cut
        self._marks_sent = record.marks
        news = self._news
        if record.marks != self._marks:
            news = news | _difference({*unpacked(self._marks)}, {*unpacked(record.marks)})
        return Change(
            self.id,
            self.version,
            self.session.used,
            encode(record),
            added=tuple([key for key, is_added in news.items() if is_added]),
            outdated=tuple([key for key, is_added in news.items() if not is_added]),
        )

    def stored(self, change: Change) -> None:
        """Note that a change was stored, unless there is news of a later one already."""
        if change.version >= self.version:
            for keys, is_added in ((change.added, True), (change.outdated, False)):
                for key in keys:
                    if self._news.get(key) is is_added:
                        del self._news[key]
            self._marks = self._marks_sent
            self.version = change.version + 1
            self.ours = True

    def met(self, found: StoredSession) -> None:
        """Join what is in the store with what is new here; raises `UnreadableRecord`."""
        assert found.state is not None
        # It was used just now, so what is in flight there is.
        self.learn(decode(found.state), found.version, found.used)

    def learn(self, theirs: Record, version: int, now: float, *, asked: bool = False) -> Record:
        """Join a version that is in the store with what is new here; return both together.

        ``asked`` as in `restored`.
        """
        settle(theirs.session, now)
        record = merge(self.record(), theirs) if self.dirty or self.busy else theirs
        self.version = version
        self.ours = False
        self._marks, self._cut, self._news, self._turns = theirs.marks, 0, {}, {}
        if record is not theirs:
            self._news = _difference({*unpacked(theirs.keys)}, {*unpacked(record.keys)})
        for field in _FIELDS:
            # The very object is in the hands of requests that are under way.
            setattr(self.session, field, getattr(record.session, field))
        self.keys, self.begun_by = record.keys, record.begun_by
        restored(record, self.session, self.memories, asked=asked)
        return record


class HeldHabit:
    """What some instructions of a scope serve for, see `gateway_sessions.detection.asides`."""

    __slots__ = (
        "_agent",
        "_asides",
        "_known",
        "_scope",
        "busy",
        "dirty",
        "used",
        "version",
        "waiting",
    )

    def __init__(self, scope: int, agent: int, asides: Asides) -> None:
        self._scope = scope
        self._agent = agent
        self._asides = asides
        self._known: bool | None = None
        self.version = 0
        self.used = 0.0
        self.dirty = self.busy = False
        self.waiting: list[asyncio.Future[None]] = []

    @property
    def id(self) -> str:
        """The name in the store."""
        return f"{HABIT}{self._agent:016x}"

    @property
    def scope(self) -> int:
        """The scope's seed."""
        return self._scope

    @property
    def is_news(self) -> bool:
        """Whether something is known here that is not in the store."""
        return self._asides.of(self._scope, self._agent) not in (None, self._known)

    def change(self) -> Change:
        """Return what is to be stored."""
        added = () if self.version else (habit_key(self._scope, self._agent),)
        return Change(self.id, self.version, self.used, _habit(self._alone()), added)

    def stored(self, change: Change) -> None:
        """Note that a change was stored."""
        self.version = change.version + 1
        self._known = change.state == _habit(True)

    def met(self, found: StoredSession) -> None:
        """Learn what is in the store."""
        self.version = found.version
        self._known = found.state == _habit(True)
        self._asides.put(self._scope, self._agent, alone=self._known)

    def _alone(self) -> bool:
        return self._asides.of(self._scope, self._agent) is not False


def _place(keys: bytes, key: int) -> int:
    """Return where a key is among others, or -1."""
    sought = key.to_bytes(8, "little")
    place = keys.rfind(sought)
    while place >= 0 and place % 8:
        place = keys.rfind(sought, 0, place + 7)  # These were parts of two keys.
    return place


def _difference(had: set[int], has: set[int]) -> dict[int, bool]:
    """Return the keys that only one of two sets has, and whether it is the second."""
    return dict.fromkeys(has - had, True) | dict.fromkeys(had - has, False)


def _habit(alone: bool) -> bytes:
    return b"alone" if alone else b"shared"


def settle(session: Session, now: float) -> None:
    """Take requests for failed that were in flight when their process was killed."""
    if session.pending and now - session.used > IN_FLIGHT_SECONDS:
        session.failed = (*session.failed, *session.pending)[-FAILED_KEPT:]
        session.pending = ()
