"""Which sessions go first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_sessions.index import mapped_order
from gateway_sessions.index.mapped_file import SCOPES, SLOT, MappedFile
from gateway_sessions.index.mapped_keys import NUMBER
from gateway_sessions.index.mapped_order import NEXT, SCOPE, MappedOrder


class Sessions:
    """An order over a file, with uses beside it."""

    def __init__(self, file: MappedFile, most: int) -> None:
        self.file = file
        self.used: dict[int, float] = {}
        self.order = MappedOrder(file, self.used.__getitem__, self._remove, most)

    def add(self, used: float, *, scope: int = 1, since: float = 0.0) -> int:
        """Let a session come; return its place."""
        place = self.file.take(SLOT)
        self.file.words[place + SCOPE] = scope
        self.file.words[place + NUMBER] = self.order.number()
        self.used[place] = used
        self.order.add(place, used, since)
        return place

    def live(self) -> set[float]:
        """Return when those were used that are there."""
        return set(self.used.values())

    def scopes(self) -> int:
        """Return how many scopes there are."""
        count, at = 0, self.file.words[SCOPES]
        while at:
            count += 1
            at = self.file.words[at + NEXT]
        return count

    def _remove(self, place: int) -> None:
        self.file.words[place + NUMBER] = 0
        del self.used[place]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[MappedFile]:
    made = MappedFile(tmp_path / "sessions", 64)
    yield made
    made.close()


def test_the_one_that_came_first_and_was_not_used_since_makes_room(file: MappedFile) -> None:
    sessions = Sessions(file, 3)
    places = [sessions.add(used) for used in (1.0, 2.0, 3.0)]
    sessions.used[places[0]] = 4.0
    sessions.add(5.0)
    assert sessions.live() == {3.0, 4.0, 5.0}
    sessions.add(6.0, scope=2)
    assert sessions.live() == {3.0, 4.0, 5.0, 6.0}


def test_where_all_were_used_since_the_one_used_longest_ago_does(
    file: MappedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_order, "TRIED", 3)
    sessions = Sessions(file, 3)
    places = [sessions.add(used) for used in (1.0, 2.0, 3.0)]
    for place, used in zip(places, (12.0, 10.0, 11.0), strict=True):
        sessions.used[place] = used
    sessions.add(13.0)
    assert sessions.live() == {11.0, 12.0, 13.0}
    for used in (14.0, 15.0, 16.0):
        sessions.add(used)
    assert sessions.live() == {14.0, 15.0, 16.0}


def test_what_was_not_used_for_too_long_goes_when_others_come(file: MappedFile) -> None:
    sessions = Sessions(file, 100)
    places = [sessions.add(float(used)) for used in range(10)]
    sessions.used[places[1]] = 50.0
    for used in range(20, 30):
        sessions.add(float(used), since=15.0)
    assert sessions.live() == {50.0, *map(float, range(20, 30))}


def test_scopes_that_nobody_uses_go_as_well(file: MappedFile) -> None:
    sessions = Sessions(file, 100)
    for scope in range(2, 30):
        sessions.add(1.0, scope=scope)
        sessions.add(2.0, scope=scope)
    for used in range(100):
        sessions.add(100.0 + used, since=50.0)
    assert sessions.live() == {100.0 + used for used in range(100)}
    assert sessions.scopes() == 1
    again = sessions.add(300.0, scope=5, since=50.0)
    assert sessions.scopes() == 2
    assert again in sessions.used
