"""Clients that want detection to work: what a request costs stays within bounds.

Nothing here looks at a wall clock.  Look-ups, reads and calls are counted, which gives the same
number every time; where the work is done inside of one call (a search, a normalisation), CPU time
is compared with that of smaller inputs.  ``GATEWAY_SESSIONS_HOSTILE=50`` makes the crowds 50 times
as large: a hundred thousand sessions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest

from gateway_sessions.conversation import Conversation, Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.plan import OLDER_STATES
from gateway_sessions.detection.session import EXCHANGES_KEPT, Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.turns import TURNS_COMPARED
from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.testing import Desk, assistant, tool_call, tool_result, user
from gateway_sessions.tracker import Tracked
from tests.detection.talk import OPENAI, chat, counted

Json = dict[str, Any]
Work = Callable[[], object]

PER_DOUBLING = 2.2
"""What twice the input may cost; twice the work is 2, the square of it 4."""
ATTEMPTS = 3
"""Measurements of CPU time before a growth is believed: other processes only make it larger."""
MOST_CALLS = 30_000
"""Calls of functions per request of ordinary size, whatever else is in the scope: some 5 ms."""
SESSIONS = 2_000 * int(os.environ.get("GATEWAY_SESSIONS_HOSTILE", "1"))
PATH = "/v1/chat/completions"
SENDER = Sender({"authorization": "Bearer key", "user-agent": "tests/1"}, PATH, "192.0.2.1")
INSTRUCTION: Json = {"role": "system", "content": "Do as you are told."}


class Counting(MemoryIndex):
    """An index that counts what it is asked and how much it answers."""

    def __init__(self) -> None:
        super().__init__(2 * SESSIONS, 3600.0)
        self.asked = self.told = 0

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Count, and return what was found."""
        found = super().candidates(scope, key)
        self.asked += 1
        self.told += len(found)
        return found


class Room:
    """One scope, and what was done in it."""

    def __init__(self) -> None:
        self.index = Counting()
        self.desk = Desk(DetectionSettings(max_sessions=2 * SESSIONS), index=self.index)

    def ask(self, *messages: Any, **fields: Any) -> Tracked:
        """Send a request that stays in flight."""
        return self.send(chat(*messages, **fields))

    def send(self, conversation: Conversation) -> Tracked:
        """Send a request that has been read already."""
        return self.desk.tracker.begin(conversation, SENDER, self.desk.clock())

    def answer(self, tracked: Tracked, message: str | Json) -> None:
        """Let the reply to a request arrive."""
        self.desk.tracker.answered(tracked, reply(message), self.desk.clock())

    def talk(self, *messages: Any, answer: str | Json = "Fine.") -> None:
        """Send a request and let it be answered."""
        self.answer(self.ask(*messages), answer)


def reply(message: str | Json) -> Reply:
    said = assistant(message) if isinstance(message, str) else message
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    return OPENAI.read_reply(json.dumps({"id": "c", "choices": [choice]}).encode())


def calls(work: Work) -> int:
    """Count the calls of functions, built-in ones included, that some work takes."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def cpu(work: Work) -> float:
    """Return the seconds of CPU time that some work takes."""
    before = time.process_time()
    work()
    return time.process_time() - before


def assert_calls_grow_slowly(make: Callable[[int], Work], *sizes: int) -> None:
    """Check the calls that some work takes at sizes of which each is twice the one before."""
    took = [calls(make(size)) for size in sizes]
    assert took[-1] <= took[0] * PER_DOUBLING ** (len(sizes) - 1), took


def assert_time_grows_slowly(make: Callable[[int], Work], size: int, doublings: int = 3) -> None:
    """Check the CPU time that some work takes over several doublings of its size.

    What is noise over one doubling is little over three: linear work grows to 8 times as much,
    2.2 for each doubling are 10.6, and the square of it would be 64.
    """
    small = large = float("inf")
    for _ in range(ATTEMPTS):
        small = min(small, cpu(make(size)))
        large = min(large, cpu(make(size << doublings)))
        if large <= small * PER_DOUBLING**doublings:
            return
        if large > small * 3**doublings:
            break  # No noise, but work that grows with the square.
    pytest.fail(f"{small * 1000:.2f} ms become {large * 1000:.2f} ms in {doublings} doublings")


def asks(room: Room, *messages: Any, **fields: Any) -> Work:
    """Return the work for one request: to read it and to place it, without parsing its body."""
    conversation = chat(*messages, **fields)
    return lambda: room.send(conversation)


GREETED = [user("hi"), assistant("Hello!")]
SAME_PREFIX: dict[str, list[Json]] = {
    "the same first request": [user("hi")],
    "the next turn": [*GREETED, user("more")],
    "the same turn again": [*GREETED, user("said before")],
    "a fork": [*GREETED, user("said before"), assistant("Invented."), user("more")],
    "an answer of nobody's": [user("hi"), assistant("Invented."), user("more")],
    "another first message": [user("ho"), assistant("Hello!"), user("more")],
    "two prompts": [user("hi"), user("hi again")],
    "a reset": [*GREETED, user("Start over!")],
    "a title": [INSTRUCTION, user("A title for this chat:\nuser: hi\nassistant: Hello!")],
}


class TestManySessions:
    """Everybody says the same."""

    @pytest.fixture(scope="class")
    @classmethod
    def crowds(cls) -> list[Room]:
        """Return scopes of which each has twice as many sessions as the one before."""
        rooms = [Room() for _ in range(3)]
        for room, sessions in zip(rooms, (SESSIONS // 4, SESSIONS // 2, SESSIONS), strict=True):
            for number in range(sessions):
                room.talk(user("hi"), answer="Hello!")
                if number % 8 == 0:
                    room.talk(*GREETED, user("said before"), answer="Yes.")
        return rooms

    @pytest.mark.parametrize("messages", SAME_PREFIX.values(), ids=SAME_PREFIX)
    def test_a_request_costs_the_same_in_any_crowd(
        self, crowds: list[Room], messages: list[Json]
    ) -> None:
        looked_up, told, called = [], [], []
        for room in crowds:
            room.index.asked = room.index.told = 0
            called.append(calls(asks(room, *messages)))
            looked_up.append(room.index.asked)
            told.append(room.index.told)
        assert looked_up[0] == looked_up[1] == looked_up[2] <= 20
        assert max(told) <= CANDIDATES * looked_up[0]
        assert max(called) <= min(1.1 * min(called), MOST_CALLS)

    def test_what_a_crowd_has_to_remember_is_bounded(self, crowds: list[Room]) -> None:
        room = crowds[-1]
        assert room.index.active <= 2 * SESSIONS
        found = room.index.candidates(room.ask(user("hi")).plan.scope.seed, 1)
        assert found == ()


def place(room: Room, conversation: Conversation, placed: list[Tracked]) -> None:
    """Send a request and note where it went."""
    placed.append(room.send(conversation))


def alternating(size: int) -> list[Json]:
    return [user(f"q{n}") if n % 2 == 0 else assistant(f"a{n}") for n in range(size)]


def working(size: int) -> list[Json]:
    made = [user("Go!")]
    for number in range(size // 2):
        made += [tool_call(f"call_{number}", "f", {"n": number}), tool_result(f"call_{number}", "")]
    return made


HISTORIES: dict[str, Callable[[int], list[Json]]] = {
    "taking turns": alternating,
    "running tools": working,
    "prompts only": lambda size: [user(f"q{n}") for n in range(size)],
    "answers only": lambda size: [user("hi"), *(assistant(f"a{n}") for n in range(size))],
    "instructions only": lambda size: [INSTRUCTION for n in range(size)],
    "silent messages": lambda size: [user(""), *(assistant("") for n in range(size))],
    "instructions in between": lambda size: [
        message for said in alternating(size // 2) for message in (said, INSTRUCTION)
    ],
}
LONGEST = 10_000


class TestLongHistories:
    @pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
    def test_an_unknown_one(self, make: Callable[[int], list[Json]]) -> None:
        def work(size: int) -> Work:
            return asks(Room(), *make(size), user("more"))

        assert_calls_grow_slowly(work, 250, 500, 1000)

    @pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
    def test_look_ups_do_not_grow_with_it(self, make: Callable[[int], list[Json]]) -> None:
        looked_up = []
        for size in (2000, 4000):
            room = Room()
            room.ask(*make(size), user("more"))
            looked_up.append(room.index.asked)
        assert looked_up[1] <= max(1.1 * looked_up[0], 20)
        assert looked_up[1] <= 3 * OLDER_STATES

    @pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
    def test_one_of_which_only_the_first_request_failed(
        self, make: Callable[[int], list[Json]]
    ) -> None:
        room = Room()
        history = make(500)
        failed = room.ask(*history[: len(history) // 2])
        room.desk.tracker.failed(failed, None, room.desk.clock())
        assert calls(asks(room, *history, user("more"))) <= 100 * len(history)

    @pytest.mark.parametrize("make", [alternating, working])
    def test_of_a_known_one_only_the_news_is_read(self, make: Callable[[int], list[Json]]) -> None:
        room = Room()
        history = make(LONGEST)
        before, _ = counted(chat(*history, user("more")))
        room.answer(room.send(before), "Fine.")
        following, read = counted(chat(*history, user("more"), assistant("Fine."), user("and")))
        room.index.asked = 0
        assert calls(lambda: room.send(following)) <= 300
        assert len(read) == 2
        assert room.index.asked <= 5

    def test_a_session_that_goes_on_and_on(self) -> None:
        """Every turn costs the same, and the session does not grow without end."""
        room, took, history = Room(), list[int](), list[Json]()
        for turn in range(700):
            history.append(user(f"q{turn}"))
            conversation = chat(*history)
            sent: list[Tracked] = []
            took.append(calls(partial(place, room, conversation, sent)))
            room.answer(sent[0], f"a{turn}")
            history.append(assistant(f"a{turn}"))
            exchanges = sent[0].session.exchanges
            assert exchanges == min(turn + 1, EXCHANGES_KEPT)
        assert max(took[350:]) <= 1.1 * max(took[2:350])


def in_a_wary_scope() -> Room:
    """Return a scope in which every rule has something to look for."""
    room = Room()
    room.talk(user("Summarise all this."), answer="What was said so far, in a few words.")
    task = {"task": "Look for the needle in the haystack over there."}
    room.talk(user("Find it."), answer=tool_call("call_1", "agent", task))
    room.talk(user("Where is the haystack?"), answer="Over there, behind the barn.")
    room.ask(user("And the needle?"))
    return room


def starts_everywhere() -> str:
    """Return two characters that are the start of a fingerprint wherever they stand."""
    return "\u0001\u0004".translate({1: "a", 4: "l"})


LARGE_TEXTS: dict[str, Callable[[int], str]] = {
    "words": lambda size: "word " * (size // 5),
    "one letter": lambda size: "a" * size,
    "a pair": lambda size: starts_everywhere() * (size // 2),
    "white space": lambda size: " \n" * (size // 2),
    "lines": lambda size: "line\n" * (size // 5),
    "empty lines": lambda size: "\n" * size,
    "signs": lambda size: "*" * size,
    "speakers": lambda size: "a: " * (size // 3),
    "tags": lambda size: "<summary>" * (size // 9),
    "half a tag": lambda size: "<" + "summary" * (size // 7),
    "a pasted task": lambda size: "Look for the needle in the haystack over there. " * (size // 48),
    "the newest prompt": lambda size: "And the needle?\n" * (size // 16),
    "other scripts": lambda size: "한국어 " * (size // 4),
    "letters in two pieces": lambda size: "e\u0301" * (size // 2),
    "accents on one letter": lambda size: "a" + "\u0316\u0301" * (size // 2),
    "accents in the wrong order": lambda size: (
        "a" + "\u0301" * (size // 2) + "\u0316" * (size // 2)
    ),
    "letters outside of the basic plane": lambda size: "\U0001f600" * size,
}


class TestLargeMessages:
    @pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
    def test_a_request(self, text: Callable[[int], str]) -> None:
        def work(size: int) -> Work:
            return asks(in_a_wary_scope(), INSTRUCTION, user(text(size)))

        assert_time_grows_slowly(work, 2048)

    @pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
    @pytest.mark.parametrize("asked", ["Summarise all this.", "What else?"])
    def test_a_reply(self, text: Callable[[int], str], asked: str) -> None:
        def work(size: int) -> Work:
            room = Room()
            sent, said = room.ask(user(asked)), reply(text(size))
            return lambda: room.desk.tracker.answered(sent, said, room.desk.clock())

        assert_time_grows_slowly(work, 4096)

    @pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
    def test_what_is_handed_to_a_tool(self, text: Callable[[int], str]) -> None:
        def work(size: int) -> Work:
            room = Room()
            sent, said = room.ask(user("Go!")), reply(tool_call("c", "f", {"x": text(size)}))
            return lambda: room.desk.tracker.answered(sent, said, room.desk.clock())

        assert_time_grows_slowly(work, 4096)

    def test_a_title_for_a_very_long_turn(self) -> None:
        def work(size: int) -> Work:
            room = Room()
            room.talk(user("a" * size), answer="b" * size)
            return asks(room, INSTRUCTION, user("a" * size + "\n" + "b" * size), model="small")

        assert_time_grows_slowly(work, 4096)

    @pytest.mark.parametrize("part", ["a", "a: b\n" * 20])
    def test_a_message_of_many_parts(self, part: str) -> None:
        def work(size: int) -> Work:
            parts = [{"type": "text", "text": part} for _ in range(size)]
            return asks(in_a_wary_scope(), INSTRUCTION, {"role": "user", "content": parts})

        assert_calls_grow_slowly(work, 250, 500, 1000)


def tasks(number: int, text: str = "Do the task with the number {}, and nothing else.") -> Json:
    """Return an answer that gives away many tasks."""
    made = [
        {"function": {"name": "agent", "arguments": json.dumps({"task": text.format(place)})}}
        for place in range(number)
    ]
    listed = [{"id": f"call_{n}", "type": "function", **call} for n, call in enumerate(made)]
    return {"role": "assistant", "content": None, "tool_calls": listed}


SIMILAR = {
    "a pair": starts_everywhere() * 8_000 + "{}",
    "one letter": "a" * 16_000 + "{}",
    "number first": "{} " + "Look for the needle in the haystack over there. " * 300,
    "number last": "Look for the needle in the haystack over there. " * 300 + "{}",
    "tiny": "Do the task with the number {}, and nothing else.",
}


class TestQuotations:
    """Texts that are made to look like what a client might quote."""

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
