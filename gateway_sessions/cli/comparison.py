"""What one configuration merges or splits against another, on the same exchanges.

Sessions of the two that hold the same exchanges are equal, whatever their ids.  Equal ones that
are over on both sides are only counted, so memory grows with the sessions that differ and those
that are live, and not with the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from gateway_sessions.conversation import USER, Text
from gateway_sessions.dialects import dialect_for
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.exchange import SessionTag
from gateway_sessions.exchange_log import LoggedExchange

WORDS = 60
"""Characters of a conversation's first message that are kept, to know it by."""
_REASONS = 10_000
"""Different verdicts that are kept once each; there are some dozens as a rule."""

Side = int
"""0 is the first configuration (A), 1 the second (B)."""


class Said(NamedTuple):
    """What a configuration said of the exchange with which a part begins."""

    relation: str
    source: str
    reason: str


class Part(msgspec.Struct):
    """The exchanges that are in one session under A and in one under B."""

    sessions: tuple[str, str]
    exchanges: int
    began: datetime
    """Time of its first exchange."""
    ended: datetime
    """Time of its last one."""
    request_id: str
    """Of its first exchange."""
    words: str
    """How its conversation begins."""
    said: tuple[Said, Said]
    named: bool = False
    """Whether a client named one of the sessions: such a one can come back after its end."""
    over: int = 0
    """A bit for each side on which the session is over."""


class Case(NamedTuple):
    """A session of one side whose exchanges are in several sessions of the other."""

    session_id: str
    parts: list[Part]
    """In the order of time."""

    @property
    def exchanges(self) -> int:
        """Exchanges of the session."""
        return sum(part.exchanges for part in self.parts)


class Comparison:
    """Follows two configurations through a log."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.exchanges = 0
        """Exchanges with a session."""
        self.without_session = 0
        self._settled = 0
        """Equal sessions that are over."""
        self._parts: dict[tuple[str, str], Part] = {}
        self._of: tuple[dict[str, list[Part]], dict[str, list[Part]]] = ({}, {})
        self._reasons: dict[Said, Said] = {}

    def add(
        self, exchange: LoggedExchange, tag_a: SessionTag | None, tag_b: SessionTag | None
    ) -> None:
        """Take the two verdicts on the next exchange."""
        if tag_a is None or tag_b is None:
            self.without_session += 1
            return
        self.exchanges += 1
        names = tag_a.session_id, tag_b.session_id
        part = self._parts.get(names)
        if part is None:
            part = self._begun(names, exchange, tag_a, tag_b)
        part.exchanges += 1
        part.ended = exchange.timestamp
        part.named = part.named or bool(tag_a.external_id or tag_b.external_id)

    def ended(self, side: Side, session_id: str) -> None:
        """Note that a session is over; if it is equal to one that is over too, forget both."""
        parts = self._of[side].get(session_id, ())
        if len(parts) != 1:
            return
        part = parts[0]
        part.over |= 1 << side
        if part.over == 0b11 and not part.named and self._is_equal(part):
            del self._parts[part.sessions]
            for sessions, name in zip(self._of, part.sessions, strict=True):
                del sessions[name]
            self._settled += 1

    def sessions(self, side: Side) -> int:
        """Return how many sessions one side has found."""
        return self._settled + len(self._of[side])

    @property
    def moved(self) -> int:
        """Exchanges that are not with the same others under both."""
        return sum(p.exchanges for p in self._parts.values() if not self._is_equal(p))

    @property
    def merged(self) -> list[Case]:
        """Sessions of B that hold several of A, or parts of several; the largest first."""
        return _cases(self._of[1])

    @property
    def split(self) -> list[Case]:
        """Sessions of A whose exchanges are in several of B; the largest first."""
        return _cases(self._of[0])

    @property
    def partings(self) -> list[tuple[tuple[Said, Said], int]]:
        """What the two said where they went different ways, and how often; most often first."""
        cases = [*self.merged, *self.split]
        later = {part.sessions: part for case in cases for part in case.parts[1:]}
        return Counter(part.said for part in later.values()).most_common()

    def _is_equal(self, part: Part) -> bool:
        return all(
            len(sessions[name]) == 1 for sessions, name in zip(self._of, part.sessions, strict=True)
        )

    def _begun(
        self, names: tuple[str, str], exchange: LoggedExchange, tag_a: SessionTag, tag_b: SessionTag
    ) -> Part:
        part = Part(
            sessions=names,
            exchanges=0,
            began=exchange.timestamp,
            ended=exchange.timestamp,
            request_id=exchange.request_id,
            words=first_words(exchange),
            said=(self._said(tag_a), self._said(tag_b)),
        )
        self._parts[names] = part
        for sessions, name in zip(self._of, names, strict=True):
            sessions.setdefault(name, []).append(part)
        return part

    def _said(self, tag: SessionTag) -> Said:
        said = Said(tag.relation, tag.source, tag.reason)
        if len(self._reasons) >= _REASONS:
            self._reasons.clear()
        return self._reasons.setdefault(said, said)


def _cases(sessions: Mapping[str, list[Part]]) -> list[Case]:
    found = [Case(name, _by_time(parts)) for name, parts in sessions.items() if len(parts) > 1]
    return sorted(found, key=lambda case: (-case.exchanges, _aware(case.parts[0].began)))


def _by_time(parts: Iterable[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: _aware(part.began))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def first_words(exchange: LoggedExchange) -> str:
    """Return how the first user message of a request begins, on one line; empty without one."""
    request = exchange.request
    headers = tuple((name, "") for name in request.headers or ())
    dialect = dialect_for(request.method, request.path, headers)
    if dialect is None:
        return ""
    try:
        conversation = dialect.read_request(bytes(request.body), request.path)
        for raw in conversation.messages:
            for message in conversation.read(raw):
                texts = [part.text for part in message.parts if type(part) is Text]
                words = " ".join("".join(texts)[: 4 * WORDS].split())
                if message.role == USER and words:
                    return words if len(words) <= WORDS else f"{words[: WORDS - 1]}…"
    except UnreadableBody:
        return ""
    return ""
