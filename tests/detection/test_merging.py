from __future__ import annotations

from copy import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.detection.merging import ScopesDiffer, merge
from gateway_sessions.detection.records import (
    Exchanged,
    Quotable,
    Record,
    decode,
    encode,
    packed,
    unpacked,
)
from gateway_sessions.detection.session import Session
from tests.property.strategies import quick

SCOPE, NOW = 0x5EED, 1_700_000_000.0


def record(**fields: Any) -> Record:
    given = {"id": "sess_1", "scope": SCOPE, "started": NOW, "used": NOW, **fields}
    return Record(Session(**given))


def twins(start: Record) -> tuple[Record, Record]:
    """Return two copies, for two processes to change."""
    return decode(encode(start)), decode(encode(start))


def answer(one: Record, request: int, head: int, now: float) -> None:
    one.session.answer(request, head, head + 1, head + 2, now)
    one.keys += packed([head])


def entries(trail: bytes) -> list[bytes]:
    return [trail[place : place + 20] for place in range(0, len(trail), 20)]


@pytest.fixture
def begun() -> Record:
    """Return a session with two exchanges, nothing in flight."""
    start = record()
    for number in (1, 2):
        start.session.take(number * 100, NOW, 2 * number - 1)
        answer(start, number * 100, number * 100 + 1, NOW + number)
    return start


class TestSideBySide:
    """What happened on one side, while on the other something else did."""

    def both(self, ours: Record, theirs: Record) -> Session:
        merged, turned = merge(ours, theirs), merge(theirs, ours)
        assert merged == turned
        assert set(entries(ours.session.trail)) <= set(entries(merged.session.trail))
        assert set(entries(theirs.session.trail)) <= set(entries(merged.session.trail))
        return merged.session

    def test_an_answer_and_a_side_call(self, begun: Record) -> None:
        begun.session.take(300, NOW + 3, 5)
        ours, theirs = twins(begun)
        answer(ours, 300, 301, NOW + 4)
        theirs.session.used = NOW + 5
        theirs.session.know_aside(900, 901)
        merged = self.both(ours, theirs)
        assert (merged.head, merged.last_reply, merged.messages) == (301, 303, 6)
        assert (merged.pending, merged.used) == ((), NOW + 5)
        assert merged.head_place(901) == 0

    def test_a_request_and_a_side_call(self, begun: Record) -> None:
        ours, theirs = twins(begun)
        ours.session.take(300, NOW + 3, 5)
        ours.session.agent = 77
        theirs.session.know_aside(900, 901)
        theirs.session.used = NOW + 4
        merged = self.both(ours, theirs)
        assert (merged.pending, merged.messages, merged.agent) == ((300,), 5, 77)
        assert merged.head == 201

    def test_two_branches(self, begun: Record) -> None:
        ours, theirs = twins(begun)
        for one, request in ((ours, 300), (theirs, 400)):
            one.session.take(request, NOW + 3, 5)
            answer(one, request, request + 1, NOW + request)
        merged = self.both(ours, theirs)
        assert (merged.head, merged.pending) == (401, ())
        assert merged.head_place(301) >= 0

    def test_a_retry_of_what_is_answered_meanwhile(self, begun: Record) -> None:
        begun.session.take(300, NOW + 3, 5)
        ours, theirs = twins(begun)
        answer(ours, 300, 301, NOW + 4)
        ours.session.know(300, 301, 4711)  # the reply's own id
        theirs.session.take(300, NOW + 4, 5)
        assert self.both(ours, theirs).pending == (300,)

    def test_a_failure_and_a_side_call(self, begun: Record) -> None:
        begun.session.take(300, NOW + 3, 5)
        ours, theirs = twins(begun)
        ours.session.fail(300, NOW + 4)
        theirs.session.used = NOW + 5
        merged = self.both(ours, theirs)
        assert (merged.failed, merged.pending) == ((300,), ())

    def test_what_failed_was_answered_on_the_second_try(self, begun: Record) -> None:
        begun.session.take(300, NOW + 3, 5)
        begun.session.fail(300, NOW + 4)
        ours, theirs = twins(begun)
        ours.session.take(300, NOW + 5, 5)
        answer(ours, 300, 301, NOW + 6)
        theirs.session.used = NOW + 7
        merged = self.both(ours, theirs)
        assert (merged.failed, merged.pending, merged.head) == ((), (), 301)

    def test_a_reply_that_broke_off_has_failed_though_some_of_it_is_known(
        self, begun: Record
    ) -> None:
        begun.session.take(300, NOW + 3, 5)
        ours, theirs = twins(begun)
        answer(ours, 300, 301, NOW + 4)
        ours.session.fail(300, NOW + 4)
        assert self.both(ours, theirs).failed == (300,)

    def test_the_same_answer_again_is_the_newest(self, begun: Record) -> None:
        ours, theirs = twins(begun)
        ours.session.take(100, NOW + 5, 1)
        answer(ours, 100, 101, NOW + 6)
        theirs.session.used = NOW + 9
        ours.session.take(500, NOW + 7, 3)
        assert self.both(ours, theirs).pending == (500,)

    def test_names_are_kept_whoever_knows_them(self, begun: Record) -> None:
        ours, theirs = twins(begun)
        ours.session.external, ours.session.explicit_key = "theirs", 5
        theirs.session.parent = theirs.session.root = "sess_0"
        theirs.session.used = NOW + 9
        merged = self.both(ours, theirs)
        assert (merged.external, merged.explicit_key) == ("theirs", 5)
        assert (merged.parent, merged.root) == ("sess_0", "sess_0")


class TestTexts:
    def test_a_task_that_a_child_took(self, begun: Record) -> None:
        begun.texts = (Quotable("a", b"task", NOW, 0), Quotable("b", b"other", NOW, 0))
        ours, theirs = twins(begun)
        ours.texts = (Quotable("a", b"task", NOW, 1, taker=5), ours.texts[1])
        theirs.texts = (theirs.texts[0], Quotable("b", b"other", NOW, 1, taker=6))
        merged = merge(ours, theirs).texts
        assert [(text.taken, text.taker) for text in merged] == [(1, 5), (1, 6)]

    def test_tasks_that_were_done_stay_done(self, begun: Record) -> None:
        begun.texts = (Quotable("a", b"task", NOW, 0),)
        ours, theirs = twins(begun)
        ours.session.take(300, NOW + 3, 5)
        ours.texts = ()
        theirs.session.used = NOW + 9
        assert merge(ours, theirs).texts == ()

    def test_the_newest_summary_and_turn_count(self, begun: Record) -> None:
        ours, theirs = twins(begun)
        ours.texts, theirs.texts = (
            (Quotable("", b"old", NOW, 0),),
            (Quotable("", b"n", NOW + 1, 0),),
        )
        ours.prompt, ours.said_at, theirs.prompt, theirs.said_at = b"new", NOW + 5, b"old", NOW
        merged = merge(ours, theirs)
        assert [text.folded for text in merged.texts] == [b"n"]
        assert (merged.prompt, merged.said_at) == (b"new", NOW + 5)

    def test_turns_of_both_are_remembered(self, begun: Record) -> None:
        begun.turns = tuple(Exchanged(n, b"", n, b"", n) for n in range(7))
        ours, theirs = twins(begun)
        ours.turns += (Exchanged(10, b"", 10, b"", 10),)
        theirs.turns += (Exchanged(11, b"", 11, b"", 11),)
        marks = [turn.mark for turn in merge(ours, theirs).turns]
        assert len(marks) == 8
        assert {10, 11} <= set(marks)

    def test_keys_of_both_lead_to_it(self, begun: Record) -> None:
        ours, theirs = twins(begun)
        ours.keys += packed([1001])
        theirs.keys += packed([1002])
        ours.marks, theirs.marks = packed([2001]), packed([2002])
        merged = merge(ours, theirs)
        assert {101, 201, 1001, 1002} == set(unpacked(merged.keys))
        assert set(unpacked(merged.marks)) == {2001, 2002}


@pytest.mark.parametrize("other", [{"scope": SCOPE + 1}, {"id": "sess_2"}])
def test_two_sessions_are_never_joined(other: dict[str, Any]) -> None:
    with pytest.raises(ScopesDiffer):
        merge(record(), record(**other))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "answer", "fail", "aside", "use"]),
        st.integers(1, 4),
        st.integers(0, 9),
    ),
    max_size=6,
)


def changed(start: Record, steps: list[tuple[str, int, int]]) -> Record:
    one = decode(encode(start))
    session = one.session
    for step, number, passed in steps:
        now = NOW + passed
        if step == "take":
            session.take(number, now, number)
        elif step == "answer" and number in session.pending:
            answer(one, number, 100 + 10 * number + passed, now)
        elif step == "fail" and number in session.pending:
            session.fail(number, now)
        elif step == "aside":
            session.know_aside(1000 + number, 2000 + number)
        session.used = max(session.used, now)
    return one


@quick
@given(before=STEPS, left=STEPS, right=STEPS)
def test_whatever_two_do_nothing_is_lost_and_the_order_does_not_matter(
    before: list[Any], left: list[Any], right: list[Any]
) -> None:
    start = changed(record(), before)
    ours, theirs = changed(start, left), changed(start, right)
    saved = copy(ours.session), copy(theirs.session)
    merged = merge(ours, theirs)
    assert encode(merged) == encode(merge(theirs, ours))
    assert (ours.session, theirs.session) == saved  # neither is touched
    both = {*entries(ours.session.trail), *entries(theirs.session.trail)}
    assert set(entries(merged.session.trail)) == both
    assert merged.session.used == max(ours.session.used, theirs.session.used)
    known = {*ours.session.pending, *theirs.session.pending}
    known |= {*ours.session.failed, *theirs.session.failed}
    assert {*merged.session.pending, *merged.session.failed} <= known
    again = merge(merged, msgspec.structs.replace(theirs))
    assert set(entries(again.session.trail)) == both


@quick
@given(steps=STEPS, more=STEPS)
def test_where_only_one_went_on_its_word_counts(steps: list[Any], more: list[Any]) -> None:
    start = changed(record(), steps)
    ours = changed(start, [step for step in more if step[0] != "aside"])
    merged = merge(ours, start).session
    if ours.session.trail != start.session.trail:
        assert (merged.head, merged.messages) == (ours.session.head, ours.session.messages)
    assert {*merged.pending} <= {*ours.session.pending}
