"""Texts that are made to look like what a client might quote, and requests to quote them."""

from __future__ import annotations

import pytest

from gateway_sessions.detection.turns import TURNS_COMPARED, TURNS_KEPT
from gateway_sessions.testing import tool_result, user
from tests.faults.work import (
    INSTRUCTION,
    MOST_CALLS,
    Room,
    Work,
    asks,
    assert_calls_grow_slowly,
    assert_time_grows_slowly,
    calls,
    reply,
    starts_everywhere,
    tasks,
)

SIMILAR = {
    "a pair": starts_everywhere() * 8_000 + "{}",
    "one letter": "a" * 16_000 + "{}",
    "number first": "{} " + "Look for the needle in the haystack over there. " * 300,
    "number last": "Look for the needle in the haystack over there. " * 300 + "{}",
    "tiny": "Do the task with the number {}, and nothing else.",
}


class TestTasksAndSummaries:
    def test_ten_thousand_tasks_are_noted_one_by_one(self) -> None:
        def work(size: int) -> Work:
            room = Room()
            sent, said = room.ask(user("Go!")), reply(tasks(size))
            return lambda: room.desk.tracker.answered(sent, said, room.desk.clock())

        assert_calls_grow_slowly(work, 2500, 5000, 10_000)
        assert_time_grows_slowly(work, 1250)

    @pytest.mark.parametrize("text", SIMILAR.values(), ids=SIMILAR)
    def test_a_request_among_many_tasks(self, text: str) -> None:
        def work(size: int) -> Work:
            room = Room()
            room.talk(user("Go!"), answer=tasks(size, text))
            return asks(room, user("\n".join(text.format(n) for n in range(2000))[: 64 * 1024]))

        assert calls(work(1000)) <= MOST_CALLS
        assert_time_grows_slowly(work, 125)

    @pytest.mark.parametrize("text", SIMILAR.values(), ids=SIMILAR)
    def test_a_request_among_many_summaries(self, text: str) -> None:
        def work(size: int) -> Work:
            room = Room()
            for number in range(size):
                room.talk(user(f"Summarise {number}."), answer=text.format(number))
            return asks(room, user("\n".join(text.format(n) for n in range(2000))[: 64 * 1024]))

        assert calls(work(128)) <= MOST_CALLS
        assert_time_grows_slowly(work, 16)

    def test_all_tasks_are_settled_at_once(self) -> None:
        def work(size: int) -> Work:
            room = Room()
            given = tasks(size)
            room.talk(user("Go!"), answer=given)
            results = [tool_result(f"call_{number}", "done") for number in range(size)]
            return asks(room, user("Go!"), given, *results)

        assert_calls_grow_slowly(work, 2500, 5000, 10_000)


class TestAsides:
    @pytest.mark.parametrize("text", ["a" * 30, "a" * 3000, "a: b", "hi"])
    @pytest.mark.parametrize("pieces", ["lines", "parts"])
    def test_an_aside_among_many_turns(self, text: str, pieces: str) -> None:
        """Everybody says the same, and a request says nearly that, over and over."""

        def work(size: int) -> Work:
            room = Room()
            for _ in range(size):
                room.talk(user(text), answer=text + "c")
            lines = [text + "b"] * size
            parts = [{"type": "text", "text": line} for line in lines]
            said = "\n".join(lines) if pieces == "lines" else parts
            return asks(room, INSTRUCTION, {"role": "user", "content": said}, model="small")

        assert calls(work(TURNS_COMPARED)) <= MOST_CALLS
        assert_calls_grow_slowly(work, 32, 64, 128, 256, 512)
        assert_time_grows_slowly(work, 32)

    @pytest.mark.parametrize("text", ["{} said", "The very same beginning of a text, then {}"])
    def test_a_first_request_costs_the_same_among_any_number_of_turns(self, text: str) -> None:
        def work(size: int) -> Work:
            room = Room()
            for number in range(size):
                room.talk(user(text.format(number)), answer=f"{number} answered")
            return asks(room, INSTRUCTION, user(text.format("nobody")))

        few, many = calls(work(TURNS_COMPARED)), calls(work(TURNS_KEPT))
        assert many <= 1.2 * few  # Where there is no room left, one turn gives way.

    def test_a_first_request_is_not_compared_with_what_opens_otherwise(self) -> None:
        def work(size: int) -> Work:
            room = Room()
            for number in range(size):
                room.talk(user(f"{number} asked"), answer=f"{number} answered")
            return asks(room, INSTRUCTION, user("Hello!"))

        assert calls(work(TURNS_COMPARED)) <= 1.1 * calls(work(1))
