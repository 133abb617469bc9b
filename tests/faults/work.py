"""What hostile clients are measured with: a scope, and how much work a request is there.

Nothing here looks at a wall clock.  Look-ups, reads and calls are counted, which gives the same
number every time; where the work is done inside of one call (a search, a normalisation), CPU time
is compared with that of smaller inputs.  ``GATEWAY_SESSIONS_HOSTILE=50`` makes the crowds 50 times
as large: a hundred thousand sessions.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

from gateway_sessions.conversation import Conversation, Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.testing import Desk, assistant, tool_call, user
from gateway_sessions.tracker import Tracked
from tests.detection.talk import OPENAI, chat

Json = dict[str, Any]
Work = Callable[[], object]

PER_DOUBLING = 2.2
"""What twice the input may cost; twice the work is 2, the square of it 4."""
ATTEMPTS = 12
"""Measurements of CPU time before a growth is believed: other processes only make it larger."""
MOST_CALLS = 30_000
"""Calls of functions per request of ordinary size, whatever else is in the scope: some 5 ms."""
CROWD = 2_000 * int(os.environ.get("GATEWAY_SESSIONS_HOSTILE", "1"))
PATH = "/v1/chat/completions"
INSTRUCTION: Json = {"role": "system", "content": "Do as you are told."}


def sender(key: str) -> Sender:
    """Return a client with a credential of its own."""
    return Sender({"authorization": f"Bearer {key}", "user-agent": "tests/1"}, PATH, "192.0.2.1")


SENDER = sender("key")


class Counting(MemoryIndex):
    """An index that counts what it is asked and how much it answers."""

    def __init__(self) -> None:
        super().__init__(2 * CROWD, 3600.0)
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
        self.desk = Desk(DetectionSettings(max_sessions=2 * CROWD), index=self.index)

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
    gc.disable()  # What others left behind is cleared away by calls, too.
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def cpu(work: Work) -> float:
    """Return the seconds of CPU time that some work takes.

    Time of this thread, without collecting what others have left behind.
    """
    gc.collect()
    gc.disable()
    before = time.thread_time()
    try:
        work()
        return time.thread_time() - before
    finally:
        gc.enable()


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
    for attempt in range(ATTEMPTS):
        small = min(small, cpu(make(size)))
        large = min(large, cpu(make(size << doublings)))
        if large <= small * PER_DOUBLING**doublings:
            return
        if attempt > 2 and large > small * 3**doublings:
            break  # No noise, but work that grows with the square.
    pytest.fail(f"{small * 1000:.2f} ms become {large * 1000:.2f} ms in {doublings} doublings")


def asks(room: Room, *messages: Any, **fields: Any) -> Work:
    """Return the work for one request: to read it and to place it, without parsing its body."""
    conversation = chat(*messages, **fields)
    return lambda: room.send(conversation)


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


def tasks(number: int, text: str = "Do the task with the number {}, and nothing else.") -> Json:
    """Return an answer that gives away many tasks."""
    made = [
        {"function": {"name": "agent", "arguments": json.dumps({"task": text.format(place)})}}
        for place in range(number)
    ]
    listed = [{"id": f"call_{n}", "type": "function", **call} for n, call in enumerate(made)]
    return {"role": "assistant", "content": None, "tool_calls": listed}
