"""The compact table against a dictionary of lists."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.detection.table import FingerprintTable
from tests.property.strategies import quick

SHARD = 5 << 54
"""All keys meet in one small part of the table, where the bytes of one may run into another's."""
KEYS = st.one_of(
    st.integers(SHARD, SHARD + 40),
    st.integers(0, 12).map(lambda n: SHARD + 15 + 720_720 * n),
    st.sampled_from([1, 2**64 - 1]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add", "discard", "die"]), KEYS, st.integers(0, 6)),
    min_size=40,
    max_size=80,
)


@quick
@given(steps=STEPS, most=st.integers(1, 4))
def test_entries_that_all_live(steps: list[tuple[str, int, int]], most: int) -> None:
    table = FingerprintTable(lambda key, number: True, most)
    model: defaultdict[int, list[int]] = defaultdict(list)
    for step, key, number in steps:
        held = model[key]
        if step == "add":
            table.add(key, number)
            if number not in held:
                held.append(number)
                del held[:-most]
        else:
            table.discard(key, number)
            if number in held:
                held.remove(number)
        assert sorted(table.find(key)) == sorted(held)
    for key, held in model.items():
        assert sorted(table.find(key)) == sorted(held)


@quick
@given(steps=STEPS)
def test_entries_that_die(steps: list[tuple[str, int, int]]) -> None:
    dead: set[tuple[int, int]] = set()
    table = FingerprintTable(lambda key, number: (key, number) not in dead, 1000)
    model: defaultdict[int, set[int]] = defaultdict(set)
    for step, key, number in steps:
        if step == "die":
            dead.add((key, number))
        elif step == "discard":
            table.discard(key, number)
            model[key].discard(number)
        elif (key, number) not in dead:
            table.add(key, number)
            model[key].add(number)
    for key, held in model.items():
        found = table.find(key)
        live = {number for number in held if (key, number) not in dead}
        assert live <= set(found) <= held
        assert len(found) == len(set(found))
