"""Chains of keys in a mapped file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index import mapped_keys
from gateway_sessions.index.mapped_file import ENTRY, SLOT, TABLES, MappedFile
from gateway_sessions.index.mapped_keys import KEPT, NUMBER

HEADS = 4


@pytest.fixture
def file(tmp_path: Path) -> Iterator[MappedFile]:
    made = MappedFile(tmp_path / "sessions", HEADS)
    yield made
    made.close()


def place(file: MappedFile, number: int) -> int:
    block = file.take(SLOT)
    file.words[block + NUMBER] = number
    return block


def entries(file: MappedFile) -> int:
    """Return how many entries all chains have."""
    count = 0
    for head in range(TABLES, TABLES + HEADS):
        at = file.words[head]
        while at:
            count += 1
            at = file.words[at + 3]
    return count


def test_keys_of_one_chain_lead_each_to_its_own(file: MappedFile) -> None:
    places = [place(file, number) for number in range(1, 6)]
    for key, each in enumerate(places):
        mapped_keys.add(file, (key * HEADS + 1, 2), each)
    for key, each in enumerate(places):
        assert mapped_keys.found(file, key * HEADS + 1) == [each]
    assert mapped_keys.found(file, 2) == places[::-1]  # the newest first
    assert mapped_keys.found(file, 3) == []


def test_what_is_discarded_is_gone_however_often_it_was_added(file: MappedFile) -> None:
    first, second = place(file, 1), place(file, 2)
    for each in (first, second, first):
        mapped_keys.add(file, (7,), each)
    mapped_keys.discard(file, (7, 8), 1)
    assert mapped_keys.found(file, 7) == [second]
    assert entries(file) == 1


def test_who_has_gone_is_not_found_even_if_another_takes_the_place(file: MappedFile) -> None:
    gone = place(file, 1)
    mapped_keys.add(file, (7,), gone)
    file.words[gone + NUMBER] = 0
    assert mapped_keys.found(file, 7) == []
    file.give(gone, SLOT)
    assert place(file, 2) == gone
    assert mapped_keys.found(file, 7) == []


def test_sweeping_leaves_those_who_are_there(file: MappedFile) -> None:
    places = [place(file, number) for number in range(1, 9)]
    for key, each in enumerate(places):
        mapped_keys.add(file, (key,), each)
    for each in places[::2]:
        file.words[each + NUMBER] = 0
    mapped_keys.sweep(file)
    assert entries(file) == 4
    assert [mapped_keys.found(file, key) for key in (1, 3, 5, 7)] == [[p] for p in places[1::2]]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8])
def test_a_key_of_very_many_is_kept_short_and_the_newest_stay(file: MappedFile, step: int) -> None:
    places = [place(file, number) for number in range(1, 1000, step)]
    for each in places:
        mapped_keys.add(file, (7,), each)
        assert entries(file) <= KEPT + 16
    assert mapped_keys.found(file, 7)[:CANDIDATES] == places[: -CANDIDATES - 1 : -1]


def test_entries_are_used_again(file: MappedFile) -> None:
    block = place(file, 1)
    mapped_keys.add(file, (7,), block)
    mapped_keys.discard(file, (7,), 1)
    free = file.take(ENTRY)
    file.give(free, ENTRY)
    mapped_keys.add(file, (8,), block)
    assert file.words[TABLES + 8 % HEADS] == free
