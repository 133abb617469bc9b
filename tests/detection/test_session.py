from __future__ import annotations

from random import Random

import pytest

from gateway_sessions.detection.session import EXCHANGES_KEPT, FAILED_KEPT, Session

NOW = 1000.0


def session() -> Session:
    return Session(id="sess_1", scope=7, started=NOW, used=NOW)


def after(*exchanges: tuple[int, int, int, int]) -> Session:
    """Return a session after exchanges of (request, head, anchor, reply alone)."""
    made = session()
    for request, head, anchor, last in exchanges:
        made.take(request, NOW, 1)
        made.answer(request, head, anchor, last, NOW)
    return made


def test_a_new_session_knows_nothing() -> None:
    new = session()
    assert (new.head, new.exchanges) == (0, 0)
    assert not any(new.knows(key) for key in (1, 2, 7))
    assert not new.answered(1)
    assert not new.waits_at(1)
    assert new.head_place(1) == new.anchor_place(1) == -1


class TestAnswer:
    def test_every_key_of_an_exchange_is_known(self) -> None:
        made = after((1, 2, 3, 4))
        assert all(made.knows(key) for key in (1, 2, 3, 4))
        assert not made.knows(5)
        assert made.head == 2
        assert made.exchanges == 1

    def test_what_is_known_is_never_thought_unknown(self) -> None:
        state, head, anchor, last, pending, failed, explicit, other = (
            Random(number).getrandbits(64) for number in range(8)
        )
        made = after((state, head, anchor, last))
        made.take(pending, NOW, 1)
        made.fail(failed, NOW)
        made.explicit_key = explicit
        for key in (state, head, anchor, last, pending, failed, explicit):
            assert made.knows(key)
            assert made.may_know(key)
        assert not made.may_know(other)

    def test_requests_heads_and_anchors_are_told_apart(self) -> None:
        made = after((1, 2, 3, 4))
        assert [made.answered(key) for key in (1, 2, 3)] == [True, False, False]
        assert [made.head_place(key) for key in (1, 2, 3)] == [-1, 0, -1]
        assert [made.anchor_place(key) for key in (1, 2, 3)] == [-1, -1, 0]

    def test_of_equal_states_the_newest_counts(self) -> None:
        made = after((1, 2, 3, 4), (5, 6, 7, 8), (1, 2, 3, 4))
        assert made.head_place(2) == made.anchor_place(3) == 2
        assert made.head_place(6) == 1

    def test_only_the_newest_reply_alone_is_known(self) -> None:
        made = after((1, 2, 3, 4), (5, 6, 7, 8))
        assert not made.knows(4)
        assert made.knows(8)

    def test_another_answer_to_the_newest_request_is_also_the_latest(self) -> None:
        made = after((1, 2, 3, 4), (5, 6, 7, 8), (5, 9, 10, 11))
        assert [made.is_latest(place) for place in range(3)] == [False, True, True]

    def test_a_reply_is_a_message_and_a_use(self) -> None:
        made = session()
        made.take(1, NOW, 3)
        made.answer(1, 2, 3, 4, NOW + 5)
        assert made.messages == 4
        assert made.used == NOW + 5

    def test_several_alternatives_are_one_message_of_the_history(self) -> None:
        made = session()
        made.take(1, NOW, 1)
        made.answer(1, 2, 3, 4, NOW)
        made.answer(1, 5, 6, 7, NOW)
        assert made.messages == 2

    def test_bytes_that_straddle_two_keys_are_no_key(self) -> None:
        made = after((0x1122334455667788, 0x99AABBCCDDEEFF00, 1, 2))
        straddling = int.from_bytes(made.trail[4:12], "little")
        assert not made.knows(straddling)
        assert made.head_place(straddling) == -1

    def test_a_straddling_match_does_not_hide_a_real_one(self) -> None:
        # The bytes of 0x0101… are found at every offset of a row of them.
        ones = 0x0101010101010101
        made = after((ones, ones, ones, 1), (5, 6, 7, 8))
        assert made.head_place(ones) == made.anchor_place(ones) == 0
        assert made.answered(ones)
        assert made.knows(ones)

    def test_like_a_plain_list(self) -> None:
        random = Random(1)
        made, model = session(), list[tuple[int, int, int]]()
        for _ in range(60):
            row = (random.choice((1, 256)), random.choice((2, 512)), random.choice((3, 768)))
            made.take(row[0], NOW, 1)
            made.answer(*row, 0, NOW)
            model.append(row)
        for key in (1, 2, 3, 256, 512, 768, 5):
            columns = [[row[column] for row in model] for column in range(3)]
            places = [len(c) - 1 - c[::-1].index(key) if key in c else -1 for c in columns]
            assert made.answered(key) is (places[0] >= 0)
            assert made.head_place(key) == places[1]
            assert made.anchor_place(key) == places[2]

    def test_a_bounded_number_of_exchanges_is_kept(self) -> None:
        made = session()
        for number in range(1, EXCHANGES_KEPT + 3):
            made.take(10 * number, NOW, 1)
            made.answer(10 * number, 10 * number + 1, 10 * number + 2, 0, NOW)
        assert made.exchanges == EXCHANGES_KEPT
        assert not made.knows(21)
        assert made.knows(31)
        assert made.head == 10 * (EXCHANGES_KEPT + 2) + 1


class TestWaiting:
    def test_at_its_head_until_something_is_asked(self) -> None:
        made = after((1, 2, 3, 4))
        assert made.waits_at(2)
        assert not made.waits_at(1)
        made.take(5, NOW, 3)
        assert not made.waits_at(2)
        made.answer(5, 6, 7, 8, NOW)
        assert made.waits_at(6)
        assert not made.waits_at(2)

    def test_a_failed_request_after_it_changes_nothing(self) -> None:
        made = after((1, 2, 3, 4))
        made.take(5, NOW, 3)
        made.fail(5, NOW)
        assert made.waits_at(2)

    def test_again_after_the_next_reply_whatever_failed_before(self) -> None:
        made = after((1, 2, 3, 4))
        made.take(5, NOW, 3)
        made.fail(5, NOW)
        made.take(6, NOW, 3)
        made.answer(6, 7, 8, 9, NOW)
        assert made.waits_at(7)
        assert made.knows(5)


class TestPending:
    def test_a_request_is_in_flight_until_its_answer(self) -> None:
        made = session()
        made.take(1, NOW + 1, 3)
        assert made.pending == (1,)
        assert made.knows(1)
        assert (made.used, made.messages) == (NOW + 1, 3)
        made.answer(1, 2, 3, 4, NOW)
        assert not made.pending

    def test_requests_in_flight_end_one_by_one(self) -> None:
        made = session()
        for request in (1, 2, 2, 3):
            made.take(request, NOW, 1)
        made.answer(2, 20, 21, 22, NOW)
        assert sorted(made.pending) == [1, 2, 3]
        made.fail(1, NOW)
        assert sorted(made.pending) == [2, 3]

    def test_the_end_of_a_request_that_is_not_in_flight_ends_no_other(self) -> None:
        made = session()
        made.take(1, NOW, 1)
        made.done(2)
        assert made.pending == (1,)

    def test_a_second_alternative_ends_no_other_request(self) -> None:
        made = session()
        made.take(1, NOW, 1)
        made.take(2, NOW, 1)
        made.answer(1, 10, 11, 12, NOW)
        made.answer(1, 13, 14, 15, NOW)
        assert made.pending == (2,)


class TestFailed:
    def test_it_is_known_until_it_is_sent_again(self) -> None:
        made = session()
        made.take(1, NOW, 1)
        made.fail(1, NOW + 2)
        assert (made.pending, made.failed, made.used) == ((), (1,), NOW + 2)
        assert made.knows(1)
        made.take(1, NOW + 3, 1)
        assert (made.pending, made.failed) == ((1,), ())

    def test_the_last_few_are_kept(self) -> None:
        made = session()
        for request in range(1, FAILED_KEPT + 3):
            made.take(request, NOW, 1)
            made.fail(request, NOW)
        assert made.failed == tuple(range(3, FAILED_KEPT + 3))


class TestAdopt:
    def test_the_adopted_state_is_the_head(self) -> None:
        made = after((1, 2, 3, 4))
        made.adopt(9)
        assert made.head == 9
        assert made.knows(9)
        assert made.knows(2)
        assert made.waits_at(9)

    def test_what_is_adopted_is_bounded_too(self) -> None:
        made = session()
        for state in range(1, 2 * EXCHANGES_KEPT):
            made.adopt(state)
        assert made.exchanges <= EXCHANGES_KEPT

    def test_two_adopted_states_are_not_answers_to_one_request(self) -> None:
        made = after((1, 2, 3, 4))
        made.adopt(8)
        made.adopt(9)
        assert made.is_latest(2)
        assert not made.is_latest(1)


@pytest.mark.parametrize("field", ["last_reply", "explicit_key"])
def test_other_keys_that_are_known(field: str) -> None:
    made = session()
    setattr(made, field, 9)
    assert made.knows(9)
