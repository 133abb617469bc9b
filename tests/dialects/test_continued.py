from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway_sessions.conversation import Continued, Conversation
from gateway_sessions.dialects import continued
from gateway_sessions.dialects.continued import Reader
from gateway_sessions.errors import UnreadableBody

Json = dict[str, Any]

PROMPT = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
BEGUN = [PROMPT, ANSWER, {"role": "user", "content": "and then?"}]
GOES_ON = [*BEGUN, {"role": "assistant", "content": "that"}, {"role": "user", "content": "why?"}]


class Body(msgspec.Struct):
    messages: list[Raw]
    model: Raw = Raw()
    metadata: Raw = Raw()


def written(messages: Sequence[Json], **fields: Any) -> bytes:
    """Write a body as most SDKs do, the messages first."""
    body = {"messages": messages, **fields}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def reader() -> Reader[Body]:
    return Reader(Body, long=0)


def assert_reads_as_ever(reading: Reader[Body], body: bytes) -> Sequence[Raw]:
    """Check that what was read before makes no difference; return the messages."""
    request, messages = reading.read(body)
    whole = msgspec.json.decode(body, type=Body)
    assert len(messages) == len(whole.messages)
    assert list(map(bytes, messages)) == list(map(bytes, whole.messages))
    for place in range(-len(messages), len(messages)):
        assert bytes(messages[place]) == bytes(whole.messages[place])
    assert (bytes(request.model), bytes(request.metadata)) == (
        bytes(whole.model),
        bytes(whole.metadata),
    )
    return messages


def test_body_that_goes_on_is_read_from_where_the_one_before_ended() -> None:
    reading = reader()
    assert type(assert_reads_as_ever(reading, written(BEGUN, model="m"))) is list
    assert type(assert_reads_as_ever(reading, written(GOES_ON, model="n"))) is Continued
    further = [*GOES_ON, ANSWER, PROMPT]
    assert type(assert_reads_as_ever(reading, written(further, model="m"))) is Continued


def test_messages_may_follow_other_fields() -> None:
    reading = reader()
    begun, goes_on = (
        b'{"model":"m",' + written(messages, metadata={"a": [1]})[1:]
        for messages in (BEGUN, GOES_ON)
    )
    assert_reads_as_ever(reading, begun)
    assert type(assert_reads_as_ever(reading, goes_on)) is Continued


def test_short_bodies_are_not_remembered() -> None:
    reading = Reader(Body)
    reading.read(written(BEGUN))
    assert type(reading.read(written(GOES_ON))[1]) is list


def test_other_beginnings_are_not_taken_for_known_ones() -> None:
    reading = reader()
    reading.read(written(BEGUN))
    other = [{"role": "user", "content": "ho"}, *GOES_ON[1:]]
    assert type(assert_reads_as_ever(reading, written(other))) is list


ODD = {
    "a second list of messages": written(GOES_ON)[:-1] + b',"messages":[{"role":"user"}]}',
    "one that begins the same": written(GOES_ON)[:-1] + b"," + written(GOES_ON[3:])[1:],
    "one with escapes in its key": written(GOES_ON)[:-1] + b',"mess\\u0061ges":[{"a":1}]}',
    "blanks before the newest": written(BEGUN)[:-2] + b' ,{"role":"assistant","content":""}]}',
    "blanks after it": written(BEGUN)[:-2] + b',{"role":"assistant","content":""} ]}',
    "an answer in another field": written(BEGUN, metadata=[1, ANSWER]),
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_unusual_bodies_are_read_from_the_beginning(body: bytes) -> None:
    reading = reader()
    reading.read(written(BEGUN))
    assert type(assert_reads_as_ever(reading, body)) is list


@pytest.mark.parametrize(
    "first",
    [
        b'{"metadata":{"messages":[{"a":1}]},"messages":[{"a":1}]}',
        b'{"metadata":"\\"messages\\":[","messages":[{"a":1}]}',
        b'{"messages":[{"a":1}],"messages":[{"b":1}]}',
        b'{"messages": [{"a":1}]}',
        b'{"messages":[{"a":1}, {"b":1}]}',
        b'{"messages":[]}',
    ],
)
def test_nothing_wrong_is_learnt_from_unusual_bodies(first: bytes) -> None:
    reading = reader()
    assert_reads_as_ever(reading, first)
    for end in (b"]}", b"]},", b'],"messages":[{"a":1}'):
        head = first[: first.rfind(end[:1])]
        body = head + b',{"role":"assistant","content":"x"},{"role":"user"}]}'
        try:
            msgspec.json.decode(body, type=Body)
        except msgspec.DecodeError:
            continue
        assert_reads_as_ever(reading, body)


def test_fault_is_told_as_ever() -> None:
    body = written(GOES_ON)[:-1]
    with pytest.raises(UnreadableBody) as unknown:
        reader().read(body)
    reading = reader()
    reading.read(written(BEGUN))
    with pytest.raises(UnreadableBody) as known:
        reading.read(body)
    assert str(known.value) == str(unknown.value)


def test_what_is_not_used_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continued, "KEPT", 4)
    reading = reader()
    reading.read(written(BEGUN))
    for number in range(4):
        reading.read(written([{"role": "user", "content": str(number)}]))
    assert type(reading.read(written(GOES_ON))[1]) is list


@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("end", [3, 4, 5])
def test_bytes_of_messages_are_those_of_a_list(start: int, end: int) -> None:
    reading = reader()
    reading.read(written(BEGUN))
    _, messages = reading.read(written(GOES_ON))
    assert type(messages) is Continued
    in_part = Conversation(messages, read=lambda raw: ())
    in_full = Conversation(list(messages), read=lambda raw: ())
    assert bytes(in_part.sent(start, end)) == bytes(in_full.sent(start, end))


@given(
    st.lists(st.sampled_from([PROMPT, ANSWER, SYSTEM]), min_size=1, max_size=9),
    st.lists(st.integers(1, 9), max_size=4),
    st.booleans(),
)
def test_any_history_in_any_order(said: list[Json], ends: list[int], spaced: bool) -> None:
    reading = reader()
    for end in (*ends, 9):
        body = written(said[:end], model="m")
        if spaced:
            body = json.dumps(json.loads(body)).encode()
        messages = assert_reads_as_ever(reading, body)
        assert bytes(messages[-1:][0]) == bytes(messages[len(messages) - 1])
