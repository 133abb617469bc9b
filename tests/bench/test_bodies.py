"""Bodies to measure with are what they claim to be."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from bench.bodies import (
    MOST_TURNS,
    REPLY_TEXT,
    STREAM_EVENTS,
    Talk,
    conversation,
    encode,
    plain_reply,
    stream_events,
    talk,
    text,
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


def _round(made: Talk, number: int) -> list[bytes]:
    """Return one request of each conversation."""
    return [
        made.request(number * made.conversations + place) for place in range(made.conversations)
    ]


@pytest.mark.parametrize("kilobytes", [2, 10, 100])
@pytest.mark.parametrize("stream", [True, False])
def test_conversations_have_their_size_in_the_mean(kilobytes: int, stream: bool) -> None:
    made = talk(kilobytes, stream=stream)
    sizes = [len(body) for body in _round(made, made.turns)]
    assert kilobytes * 1024 * 0.8 < sum(sizes) / len(sizes) < kilobytes * 1024 * 1.3
    assert json.loads(made.request(0))["stream"] is stream
    assert made.turns <= MOST_TURNS + 2
    assert made.conversations >= 256  # more than are asked at once


@pytest.mark.parametrize("place", range(4))
def test_each_turn_brings_what_was_said_before_and_the_answer_to_it(place: int) -> None:
    made = talk(2, stream=False)
    asked = [
        json.loads(made.request(place + step * made.conversations))["messages"]
        for step in range(2 * made.turns + 1)
    ]
    lengths = [len(messages) for messages in asked]
    assert lengths[0] == 1
    for before, after in itertools.pairwise(asked):
        if len(after) == 1:
            assert after[0] != before[0]  # another conversation
        else:
            assert after[:-2] == before
            assert after[-2] == {"role": "assistant", "content": REPLY_TEXT}
    whole = [1 + 2 * turn for turn in range(made.turns)]
    assert lengths[made.turns - place :][: made.turns + 1] == [*whole, 1]


def test_no_request_is_sent_twice_and_all_turns_are_met_at_any_time() -> None:
    made = talk(2, stream=False)
    bodies = [body for number in range(10) for body in _round(made, number)]
    assert len(set(bodies)) == len(bodies)
    lengths = [len(json.loads(body)["messages"]) for body in _round(made, 7)]
    assert set(lengths) == {1 + 2 * turn for turn in range(made.turns)}


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
