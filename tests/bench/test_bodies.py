"""Bodies to measure with are what they claim to be."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from bench.bodies import (
    CONVERSATIONS,
    REPLY_TEXT,
    STREAM_EVENTS,
    conversation,
    encode,
    plain_reply,
    stream_events,
    text,
    turn,
)
from gateway_sessions.dialects.openai_chat import OpenAIChat


@pytest.mark.parametrize("messages", [1, 2, 9, 10])
def test_a_conversation_ends_with_the_user_and_takes_turns(messages: int) -> None:
    said = conversation(messages, seed=1)["messages"]
    assert len(said) == messages
    assert all(len(message["content"]) == 500 for message in said)
    roles = [message["role"] for message in said]
    assert roles[-1] == "user"
    spoken = roles[1:] if messages % 2 == 0 else roles
    assert all(a != b for a, b in itertools.pairwise(spoken))
    assert roles[0] == ("system" if messages % 2 == 0 else "user")


def test_seeds_give_different_texts_of_equal_length() -> None:
    first, second = text(random.Random(1)), text(random.Random(2))
    assert first != second
    assert len(first) == len(second) == 500


@pytest.mark.parametrize("kilobytes", [2, 10, 100])
@pytest.mark.parametrize("stream", [True, False])
def test_a_turn_has_about_its_size_and_goes_on_from_its_opening(
    kilobytes: int, stream: bool
) -> None:
    made = turn(kilobytes, stream=stream)
    number = 3 * CONVERSATIONS + 7
    newest, opening = json.loads(made.next(number)), json.loads(made.first(7))
    *history, answer, question = newest["messages"]
    assert history == opening["messages"]
    assert answer == {"role": "assistant", "content": REPLY_TEXT}
    assert question == {"role": "user", "content": f"turn {number}"}
    assert newest["stream"] is opening["stream"] is stream
    assert 0.8 < len(made.next(number)) / (kilobytes * 1024) < 1.3


def test_conversations_and_requests_differ() -> None:
    made = turn(2, stream=False)
    assert made.first(1) != made.first(2)
    assert len({made.next(number) for number in range(3)}) == 3


def test_the_stream_says_what_the_plain_reply_says() -> None:
    dialect = OpenAIChat()
    assembler = dialect.assembler()
    for event in stream_events():
        assembler.feed(event)
    streamed, plain = assembler.reply(), dialect.read_reply(plain_reply())
    assert assembler.finished
    assert streamed.messages == plain.messages
    assert len(stream_events()) == STREAM_EVENTS + 3
    assert encode({"content": REPLY_TEXT})[1:-1] in plain_reply()
