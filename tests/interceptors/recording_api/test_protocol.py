"""Reading what clients send: whatever it is, there is a value or one sentence."""

from __future__ import annotations

import doctest
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interceptors.recording_api import protocol
from interceptors.recording_api.protocol import (
    STATUS,
    Events,
    MessageAdd,
    Refused,
    event_id_of,
    read_batch,
    read_event,
    read_frame,
    read_snapshot,
)


def test_the_examples_hold() -> None:
    assert doctest.testmod(protocol).attempted == 1
    assert not doctest.testmod(protocol).failed


@pytest.mark.parametrize(
    ("raw", "code", "sentence"),
    [
        (b"", "parse_error", "This is not JSON: Input data was truncated."),
        (b"{", "parse_error", "This is not JSON: Input data was truncated."),
        (b"\xff", "parse_error", "This is not JSON"),
        (b'{"type":"heartbeat","timestamp":1,"session_id":"\xff"}', "parse_error", "not JSON"),
        (b"[]", "invalid_event", "Expected object, got array."),
        (b"{}", "invalid_event", "Object missing required field type."),
        (b'{"type":"message_add"}', "invalid_event", "Object missing required field session_id."),
        (b'{"type":"heartbeat","timestamp":1.5}', "invalid_event", "timestamp: expected int"),
        (b'{"type":"heartbeat","timestamp":1e999}', "invalid_event", "timestamp"),
    ],
)
def test_what_is_no_event_is_told_in_one_sentence(raw: bytes, code: str, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        read_event(raw)
    assert refused.value.code == code
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")


def test_too_deep_a_value_is_refused() -> None:
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    with pytest.raises(Refused, match="nested too deeply"):
        read_event(b'{"type":"session_update","session_id":"s","metadata":' + deep + b"}")


def test_half_characters_are_replaced_and_whole_ones_are_not() -> None:
    raw = (
        rb'{"type":"message_add","session_id":"s","message_id":"m","role":"user",'
        rb'"content":"a\ud83dz \ud83d\ude00 \udc00 \\ud800 \u00e9"}'
    )
    event = read_event(raw)
    assert isinstance(event, MessageAdd)
    assert event.content == "a\ufffdz \U0001f600 \ufffd \\ud800 é"
    assert read_event(bytes(read_batch(b'{"events":[' + raw + b"]}")[0])) == event


def test_a_snapshot_needs_no_type() -> None:
    snapshot = read_snapshot(b'{"session_id":"s","provider":"p","messages":[]}')
    assert snapshot.messages == []
    with pytest.raises(Refused, match="type"):
        read_snapshot(b'{"type":"session_end","session_id":"s"}')


def test_the_id_of_an_event_that_can_not_be_read() -> None:
    assert event_id_of(b'{"event_id":"e","session_id":4}') == "e"
    assert event_id_of(b'{"event_id":4}') is None
    assert event_id_of(b"nonsense") is None


def test_frames_of_a_websocket() -> None:
    frame = read_frame(b'{"type":"events","events":[{},4]}')
    assert isinstance(frame, Events)
    assert [bytes(event) for event in frame.events] == [b"{}", b"4"]
    with pytest.raises(Refused, match="session_id"):
        read_frame(b'{"type":"subscribe","session_id":"a b"}')


def test_every_code_has_a_status() -> None:
    assert STATUS == {
        "invalid_event": 400, "parse_error": 400, "unauthorized": 401, "session_not_found": 404,
        "message_not_found": 404, "too_large": 413, "unavailable": 503,
    }  # fmt: skip


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
kinds = st.sampled_from(
    ["session_start", "message_add", "message_update", "session_snapshot", "heartbeat", "x"]
)
fields = st.sampled_from(
    ["session_id", "message_id", "role", "content", "messages", "timestamp", "metadata", "seq"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # it may share the machine
@given(kinds, st.dictionaries(fields, values | st.just("s"), max_size=8))
def test_anything_is_an_event_or_refused(kind: str, given_: dict[str, Any]) -> None:
    raw = json.dumps({"type": kind} | given_).encode()
    try:
        event = read_event(raw)
    except Refused as refused:
        known = refused.code in STATUS
        sentence_ends = str(refused).endswith(".")
    else:
        known = sentence_ends = read_event(msgspec.json.encode(event)) == event
    assert known
    assert sentence_ends
