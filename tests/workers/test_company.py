"""What interceptors see of other processes."""

from __future__ import annotations

from typing import Any, cast

from gateway_sessions.workers.channel import Channel
from gateway_sessions.workers.company import Circle


class Line:
    """A channel whose other end answers at once."""

    def __init__(self, peer: str, answer: bytes | None) -> None:
        self.peer = peer
        self.reply = answer
        self.told: list[tuple[str, bytes]] = []

    async def ask(self, topic: str, question: bytes) -> bytes | None:
        self.told.append((topic, question))
        return self.reply

    def tell(self, topic: str, note: bytes) -> None:
        self.told.append((topic, note))


def circle(*lines: Line) -> Circle:
    return Circle(lambda: cast("list[Channel]", list[Any](lines)), is_main=True)


async def test_everybody_is_asked_and_who_has_no_answer_is_missing() -> None:
    lines = Line("a", b"1"), Line("b", None), Line("c", b"")
    company = circle(*lines)
    assert await company.ask("topic", b"why") == {"a": b"1", "c": b""}
    assert all(line.told == [("topic", b"why")] for line in lines)
    assert company.names() == {"a", "b", "c"}


async def test_one_alone_is_asked_as_well() -> None:
    assert await circle(Line("main", b"1")).ask("topic") == {"main": b"1"}
    assert await circle(Line("main", None)).ask("topic") == {}
    assert await circle().ask("topic") == {}


def test_everybody_is_told() -> None:
    lines = Line("a", None), Line("b", None)
    company = circle(*lines)
    company.tell("topic", b"so")
    assert [line.told for line in lines] == [[("topic", b"so")]] * 2


def test_answers_are_given_by_topic() -> None:
    company = circle()
    company.answer("a", lambda who, question: question)
    assert company.answerers["a"]("x", b"1") == b"1"
