"""Tool calls of a session that wait for their results, and which results have come.

Clients repeat results: with every later request, and with a retry even among what is new.  So
each result is taken once, by the id of its call.  Ids are whatever the provider gives: none at
all, or the same ones in every answer; calls then get an id of ours, and results without ids go
to the oldest waiting call of their name.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from xxhash import xxh3_128_hexdigest

from gateway_sessions.analysis.facts import Call, Result

WAITING_LIMIT = 256
"""Calls of a session that wait at the same time; the oldest is then given up."""
SEEN_LIMIT = 256
"""Ids of calls that are remembered as answered; a repeated result is one of the newest."""
ID_LENGTH = 128
"""Characters above which an id is kept as its digest; real ones have about 30."""


class Waiting(msgspec.Struct, gc=False):
    """A call that waits for its result."""

    id: str
    """Under which it is recorded."""
    name: str
    size: int
    """Bytes of its arguments."""
    at: float | None
    """When the answer with the call had ended; unix seconds.  None where nobody saw it."""


class Made(msgspec.Struct, frozen=True, gc=False):
    """A call of an answer, as it is to be recorded."""

    id: str
    call: Call
    first: bool
    """False where its result was recorded before it, and with it the call."""


class ToolBook:
    """The calls of one session."""

    __slots__ = ("_nameless", "_seen", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._nameless: list[Waiting] = []
        self._seen: dict[str, bool] = {}
        """By id: whether the result came before the call."""

    def made(self, calls: Sequence[Call], at: float, request_id: str) -> list[Made]:
        """Note the calls of an answer that ended now (unix seconds); return them with their ids."""
        found, nameless = [], []
        for number, call in enumerate(calls):
            key = _key(call.id)
            first, identity = True, call.id or f"{request_id}#{number}"
            if key and self._seen.get(key):
                self._seen[key] = first = False
            elif key and (key in self._seen or key in self._waiting):
                identity = f"{call.id}#{request_id}"
            if first:
                waiting = Waiting(identity, call.name, len(call.arguments), at)
                if key:
                    self._wait(key, waiting)
                else:
                    nameless.append(waiting)
            found.append(Made(identity, call, first))
        if nameless:
            # Results without ids answer the newest calls only.
            self._nameless = nameless[-WAITING_LIMIT:]
        return found

    def answered(self, result: Result) -> Waiting | None:
        """Return the call that a result belongs to, once; None for a repeated or unknown one."""
        key = _key(result.call_id)
        if key:
            waiting = self._waiting.pop(key, None)
            if waiting is not None:
                self._see(key, early=False)
            return waiting
        for place, waiting in enumerate(self._nameless):
            if not result.name or waiting.name == result.name:
                return self._nameless.pop(place)
        return None

    def is_known(self, call_id: str) -> bool:
        """Tell whether the result of a call has come before."""
        return _key(call_id) in self._seen

    def unseen(self, call_id: str) -> None:
        """Note a result whose call nobody saw, or has not seen yet."""
        self._see(_key(call_id), early=True)

    def _wait(self, key: str, waiting: Waiting) -> None:
        self._waiting.pop(key, None)
        self._waiting[key] = waiting
        if len(self._waiting) > WAITING_LIMIT:
            del self._waiting[next(iter(self._waiting))]

    def _see(self, key: str, *, early: bool) -> None:
        self._seen.pop(key, None)
        self._seen[key] = early
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]


def _key(call_id: str) -> str:
    """Return what an id is kept as."""
    if len(call_id) <= ID_LENGTH:
        return call_id
    return xxh3_128_hexdigest(call_id.encode("utf-8", "surrogatepass"))
