from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway_sessions.detection.table import FingerprintTable

MOST = 4
SHARD = 7 << 54
"""Keys with the same top bits meet in one small part of the table."""


def key(number: int) -> int:
    """Return a key of that part that looks like a hash."""
    return SHARD | (number * 0x9E3779B97F4A7C15 % 2**54)


def table(alive: Callable[[int, int], bool] = lambda key, number: True) -> FingerprintTable:
    return FingerprintTable(alive, MOST)


def test_an_empty_table() -> None:
    assert table().find(1) == []
    assert table().find(2**64 - 1) == []


@pytest.mark.parametrize("edge", [1, 2**54 - 1, 2**54, 2**63, 2**64 - 1])
@pytest.mark.parametrize("number", [0, 1, 2**32 - 1])
def test_the_whole_range_of_keys_and_numbers(edge: int, number: int) -> None:
    filled = table()
    filled.add(edge, number)
    assert filled.find(edge) == [number]


def test_the_key_that_stands_for_none_leads_nowhere() -> None:
    filled = table()
    filled.add(0, 7)
    assert filled.find(0) == []


def test_several_numbers_under_a_key() -> None:
    filled = table()
    for number in (1, 2, 1, 3):
        filled.add(SHARD + 1, number)
    assert sorted(filled.find(SHARD + 1)) == [1, 2, 3]


def test_the_oldest_number_gives_way() -> None:
    filled = table()
    for number in range(1, MOST + 3):
        filled.add(SHARD + 1, number)
    assert sorted(filled.find(SHARD + 1)) == list(range(3, MOST + 3))


def test_the_oldest_gives_way_where_the_key_stands_across_entries_too() -> None:
    shared = 0x4242424242424242
    for before in range(MOST):
        filled = table()
        for number in range(1, MOST + 1):
            if number == before:
                filled.add(shared + 1, 0x42424242)
            # The numbers are written as the key is, so it begins in each of them as well.
            filled.add(shared, 0x42424200 + number)
        filled.add(shared, 7)
        kept = [0x42424200 + number for number in range(2, MOST + 1)]
        assert sorted(filled.find(shared)) == [7, *kept]


def test_keys_that_look_much_alike() -> None:
    filled = table()
    keys = [SHARD + 5040 * number for number in range(12)]
    for number, each in enumerate(keys):
        filled.add(each, number)
    assert [filled.find(each) for each in keys] == [[number] for number in range(12)]


def test_it_grows_as_it_fills() -> None:
    filled = table()
    for number in range(1, 5000):
        filled.add(key(number), number)
    assert all(filled.find(key(number)) == [number] for number in range(1, 5000))


def test_dead_entries_are_dropped_and_live_ones_stay() -> None:
    alive = set(range(4900, 5000))
    filled = table(lambda key, number: number in alive)
    for number in range(1, 5000):
        filled.add(key(number), number)
    assert all(filled.find(key(number)) == [number] for number in alive)
    left = sum(len(filled.find(key(number))) for number in range(1, 5000))
    assert left < 400


def test_who_is_oldest_is_remembered_when_it_grows() -> None:
    for start in range(32):
        filled = table()
        shared = SHARD + start
        for number in (1, 2, 3, 4):
            filled.add(shared, number)
        for other in range(1, 40):
            filled.add(SHARD + 32 + start + 7 * other, 99)
        filled.add(shared, 5)
        assert sorted(filled.find(shared)) == [2, 3, 4, 5], f"its entries begin at {start}"


class TestDiscard:
    def test_only_that_entry_goes(self) -> None:
        filled = table()
        for number in (1, 2, 3):
            filled.add(SHARD + 1, number)
            filled.add(SHARD + 2, number)
        filled.discard(SHARD + 1, 2)
        assert sorted(filled.find(SHARD + 1)) == [1, 3]
        assert sorted(filled.find(SHARD + 2)) == [1, 2, 3]

    def test_what_is_not_there(self) -> None:
        filled = table()
        filled.discard(SHARD + 1, 1)
        filled.add(SHARD + 1, 1)
        filled.discard(SHARD + 1, 2)
        filled.discard(SHARD + 2, 1)
        assert filled.find(SHARD + 1) == [1]

    def test_neighbours_are_still_found(self) -> None:
        for start in range(24):
            filled = table()
            keys = [SHARD + start + 5040 * number for number in range(4)]
            keys += [SHARD + start + number for number in range(1, 8)]
            for each in keys:
                filled.add(each, 1)
            for place, gone in enumerate(keys):
                filled.discard(gone, 1)
                assert filled.find(gone) == []
                assert all(filled.find(left) == [1] for left in keys[place + 1 :])

    def test_room_is_free_again(self) -> None:
        asked: list[int] = []

        def alive(key: int, number: int) -> bool:
            asked.append(key)
            return True

        filled = table(alive)
        for number in range(1, 2000):
            filled.add(key(number), number)
            filled.discard(key(number), number)
        assert asked == []
