"""What is remembered of one session, in as few bytes as will do.

A hundred thousand of these are alive at once, so the history itself is not kept: only
64-bit states and keys, 20 bytes an exchange.
"""

from __future__ import annotations

from struct import Struct as Packing

import msgspec

EXCHANGES_KEPT = 512
"""Exchanges whose states stay known per session (10 KB); an edit further back than that is
found by its anchors or not at all."""
FAILED_KEPT = 8
"""Failed or unanswered requests that may still be repeated."""

_ENTRY = Packing("<QQI")
_TAKEN = 0x5A5A5A5A
"""Mixed into the key of a call that another session made, which is not found by it."""
_KEY = Packing("<Q")
_LOW = Packing("<I")
_SIZE = _ENTRY.size
_REQUEST, _HEAD, _ANCHOR = 0, 8, 16
"""Where the columns of an entry begin.  Of anchors the low half is enough: it only has to tell
whether an index entry, which has the whole key, is still this session's."""


class Session(msgspec.Struct, gc=False):
    """One thread of history."""

    id: str
    scope: int
    """Seed of the scope it belongs to."""
    started: float
    used: float
    """Time of its last request or reply; unix seconds like all times here."""
    agent: int = 0
    """Digest of the system prompt and tools of its newest request."""
    tools: bool = False
    """Whether its newest request offered tools."""
    model: int = 0
    """Digest of the model's name."""
    client: int = 0
    """Digest of address and user agent of its newest request."""
    trail: bytes = b""
    """Per answered exchange: request state, head state, low half of the anchor."""
    last_reply: int = 0
    """Key of the newest reply alone."""
    last_named: int = 0
    """Key of the newest reply's id, where clients may name it beside the history."""
    seal: int = 0
    """Key of what only the newest reply has, and clients send back with it; 0 if nothing."""
    pending: tuple[int, ...] = ()
    """States of requests that are in flight."""
    failed: tuple[int, ...] = ()
    """States of requests that failed or lost their client."""
    messages: int = 0
    """Messages the next request should bring at least."""
    parent: str | None = None
    root: str | None = None
    """None where the session is its own root."""
    external: str | None = None
    """The id its client gave it, as sent."""
    explicit_key: int = 0
    """Index key of that id."""

    @property
    def exchanges(self) -> int:
        """How many answered exchanges are remembered."""
        return len(self.trail) // _SIZE

    @property
    def head(self) -> int:
        """The state after the newest reply; 0 before the first."""
        return _KEY.unpack_from(self.trail, len(self.trail) - _SIZE + _HEAD)[0] if self.trail else 0

    def waits_at(self, state: int) -> bool:
        """Whether nothing has been answered since the reply that led to a state, or is asked."""
        trail = self.trail
        return (
            not self.pending
            and len(trail) > 0
            and _KEY.unpack_from(trail, len(trail) - _SIZE + _HEAD)[0] == state
        )

    def answered(self, request_state: int) -> bool:
        """Whether a request with this state was answered."""
        return _find(self.trail, _KEY.pack(request_state), _REQUEST) >= 0

    def head_of(self, place: int) -> int:
        """Return the state to which an exchange led."""
        return int(_KEY.unpack_from(self.trail, _SIZE * place + _HEAD)[0])

    def head_place(self, state: int) -> int:
        """Return the number of the newest exchange that led to a state, or -1."""
        return _find(self.trail, _KEY.pack(state), _HEAD)

    def anchor_place(self, key: int) -> int:
        """Return the number of the newest exchange with an anchor, or -1."""
        return _find(self.trail, _LOW.pack(key & 0xFFFFFFFF), _ANCHOR)

    def is_latest(self, place: int) -> bool:
        """Whether an exchange is the newest one, or another answer to the same request."""
        start = _SIZE * place
        return self.trail[start : start + _HEAD] == self.trail[-_SIZE : -_SIZE + _HEAD]

    def knows(self, key: int) -> bool:
        """Whether the index entry of a key still belongs to this session."""
        return (
            self._in_trail(key)
            or key == self.last_reply
            or key == self.last_named
            or key == self.explicit_key
            or key in self.pending
            or key in self.failed
        )

    def may_know(self, key: int) -> bool:
        """Whether `knows` might hold; where it does not, this is wrong about once in a million.

        Any column of the trail may have the key, at the cost of one search for its low half.
        """
        return (
            _LOW.pack(key & 0xFFFFFFFF) in self.trail
            or key == self.last_reply
            or key == self.last_named
            or key == self.explicit_key
            or key in self.pending
            or key in self.failed
        )

    def take(self, request_state: int, now: float, messages: int) -> None:
        """Note a request that begins now."""
        if request_state in self.failed:
            self.failed = tuple(s for s in self.failed if s != request_state)
        self.pending = (*self.pending, request_state)
        self.used = now
        self.messages = messages

    def answer(self, request_state: int, head: int, anchor: int, last: int, now: float) -> None:
        """Note the reply to a request, or one more alternative to the reply."""
        if request_state in self.pending:
            self.done(request_state)
            self.messages += 1
        self.know(request_state, head, anchor)
        self.last_reply = last
        self.used = now

    def know(self, request_state: int, head: int, anchor: int) -> None:
        """Know an exchange by these keys from now on; the oldest ones give way."""
        trail = self.trail + _ENTRY.pack(request_state, head, anchor & 0xFFFFFFFF)
        most = _SIZE * EXCHANGES_KEPT
        self.trail = trail[-most:] if len(trail) > most else trail

    def know_aside(self, request_state: int, head: int) -> None:
        """Know an exchange beside the conversation: it is found, but nobody waits after it."""
        self.trail = (
            _ENTRY.pack(request_state, head, 0) + self.trail[-_SIZE * (EXCHANGES_KEPT - 1) :]
        )

    def adopt(self, state: int) -> None:
        """Know a history by another state: its client tells it differently from now on."""
        self.know(state, state, 0)

    def take_over(self, call: int) -> None:
        """Take a tool call for its own that stands in the history with which it begins."""
        self.know(0, 0, call ^ _TAKEN)

    def made(self, call: int) -> bool:
        """Whether a tool call with this key is its own."""
        return self.anchor_place(call) >= 0 or self.anchor_place(call ^ _TAKEN) >= 0

    def was_retold(self) -> bool:
        """Whether its client has told the history otherwise before, see `adopt`."""
        entries = _ENTRY.iter_unpack(self.trail)
        return any(request == head and not anchor for request, head, anchor in entries)

    def fail(self, request_state: int, now: float) -> None:
        """Note that a request got no complete reply, so that the same again is a retry."""
        self.done(request_state)
        self.failed = (*self.failed, request_state)[-FAILED_KEPT:]
        self.used = now

    def _in_trail(self, key: int) -> bool:
        trail, sought = self.trail, _KEY.pack(key)
        if trail[-_SIZE + _HEAD : -_SIZE + _ANCHOR] == sought:
            return True  # The newest head: what nearly every look-up is about.
        return (
            _find(trail, sought, _HEAD) >= 0
            or _find(trail, sought, _REQUEST) >= 0
            or self.anchor_place(key) >= 0
        )

    def done(self, request_state: int) -> None:
        """Note that a request is no longer in flight."""
        if self.pending == (request_state,):
            self.pending = ()
            return
        left = list(self.pending)
        if request_state in left:
            left.remove(request_state)
        self.pending = tuple(left)


def _find(trail: bytes, sought: bytes, column: int) -> int:
    """Return the number of the last entry of a trail with some bytes in a column, or -1."""
    place = trail.rfind(sought)
    while place >= 0:
        if place % _SIZE == column:
            return place // _SIZE
        # Another column, or bytes that straddle two of them.
        place = trail.rfind(sought, 0, place + len(sought) - 1)
    return -1
