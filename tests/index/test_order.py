"""The rings of slots agree with plain lists, whatever is done to them."""

from __future__ import annotations

import random

from gateway_sessions.index.order import ScopedOrder


def drained(order: ScopedOrder, scope: int, slots: int) -> list[int]:
    """Take all slots of a scope away, the oldest first."""
    gone = []
    for _ in range(slots):
        gone.append(order.oldest(scope))
        order.remove(scope, gone[-1])
    return gone


def test_the_oldest_is_the_one_unused_for_longest() -> None:
    order = ScopedOrder()
    for slot in range(4):
        order.add(7, slot)
    order.use(7, 1)
    order.use(7, 0)
    order.use(7, 0)
    assert drained(order, 7, 4) == [2, 3, 1, 0]


def test_scopes_are_apart() -> None:
    order = ScopedOrder()
    for slot in range(6):
        order.add(slot % 2, slot)
    order.use(1, 1)
    assert drained(order, 0, 3) == [0, 2, 4]
    assert drained(order, 1, 3) == [3, 5, 1]


def test_a_slot_may_go_from_one_scope_to_another() -> None:
    order = ScopedOrder()
    order.add(1, 0)
    order.remove(1, 0)
    order.add(2, 1)
    order.add(2, 0)
    assert drained(order, 2, 2) == [1, 0]


def test_what_is_cleared_is_forgotten() -> None:
    order = ScopedOrder()
    order.add(1, 0)
    order.add(1, 1)
    order.clear()
    order.add(1, 0)
    assert drained(order, 1, 1) == [0]


def test_it_agrees_with_plain_lists() -> None:
    rng, order = random.Random(2), ScopedOrder()
    lists: dict[int, list[int]] = {1: [], 2: [], 3: []}
    free = list(range(12))
    for _ in range(5000):
        scope = rng.choice(list(lists))
        slots = lists[scope]
        action = rng.random()
        if action < 0.3 and free:
            slots.append(free.pop(rng.randrange(len(free))))
            order.add(scope, slots[-1])
        elif action < 0.8 and slots:
            slot = rng.choice(slots)
            slots.remove(slot)
            slots.append(slot)
            order.use(scope, slot)
        elif slots:
            slot = rng.choice(slots)
            slots.remove(slot)
            order.remove(scope, slot)
            free.append(slot)
        assert all(order.oldest(scope) == slots[0] for scope, slots in lists.items() if slots)
