from __future__ import annotations

import json
from typing import Any

from gateway_sessions.conversation import Text
from gateway_sessions.dialects import sse
from gateway_sessions.dialects.ollama import LineAssembler
from gateway_sessions.dialects.openai_chat import ChatAssembler
from gateway_sessions.dialects.streaming import NEW, Merged
from tests.dialects.wire import event


def merged(*deltas: dict[str, Any], start: dict[str, Any] | None = None) -> dict[str, Any]:
    value = Merged(start)
    for delta in deltas:
        value.merge(delta)
    return value.value()


def chunk(content: str | None, finish: str | None = None) -> bytes:
    delta = {} if content is None else {"content": content}
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def test_texts_are_joined_and_names_are_not() -> None:
    assert merged({"role": "a", "x": "1"}, {"role": "a", "x": "2"}) == {"role": "a", "x": "12"}
    assert merged({"id": "1", "name": "f"}, {"id": "", "name": None}) == {"id": "1", "name": "f"}


def test_text_goes_on_from_its_start() -> None:
    assert merged({"x": "b"}, {"x": "c"}, start={"x": "a", "y": 1}) == {"x": "abc", "y": 1}


def test_null_is_kept_until_there_is_a_value() -> None:
    assert merged({"x": None}) == {"x": None}
    assert merged({"x": None}, {"x": "a"}, {"x": None}) == {"x": "a"}


def test_objects_are_merged() -> None:
    assert merged({"a": {"b": "1", "c": 1}}, {"a": {"b": "2"}}) == {"a": {"b": "12", "c": 1}}
    assert merged({"a": {"b": "2"}}, start={"a": {"b": "1"}}) == {"a": {"b": "12"}}


def test_lists_are_extended() -> None:
    assert merged({"a": [1]}, {"a": [{"b": 2}]}, {"a": []}) == {"a": [1, {"b": 2}]}


def test_entries_with_an_index_are_found_again() -> None:
    deltas = [{"index": 0, "id": "1", "x": "a"}, {"index": 1, "x": "b"}, {"index": 0, "x": "c"}]
    whole = [{"index": 0, "id": "1", "x": "ac"}, {"index": 1, "x": "b"}]
    assert merged(*({"a": [delta]} for delta in deltas)) == {"a": whole}
    assert merged({"a": deltas}) == {"a": whole}


def test_entries_with_the_same_index_and_other_ids_are_two() -> None:
    deltas = [{"index": 0, "id": "1", "x": "a"}, {"index": 0, "id": "2", "x": "b"}]
    more = {"index": 0, "id": "2", "x": "c"}
    assert merged({"a": deltas}, {"a": [more]})["a"] == [deltas[0], deltas[1] | {"x": "bc"}]


def test_a_change_of_type_keeps_the_last() -> None:
    assert merged({"a": "x"}, {"a": [1]}, {"a": {"b": 1}}) == {"a": {"b": 1}}
    assert merged({"a": {"b": 1}}, {"a": "x"}) == {"a": "x"}
    assert merged({"a": "x"}, {"a": 5}) == {"a": 5}


def test_halves_of_a_character_are_kept_as_they_are() -> None:
    assert merged({"x": "a\ud83d"}, {"x": "\ude00é"}) == {"x": "a\ud83d\ude00é"}


def test_weight_counts_text_and_entries_but_no_repeats() -> None:
    value = Merged()
    assert value.merge({"x": "abc"}) == NEW + 3
    assert value.merge({"x": "de"}) == 2
    assert value.merge({"id": "abc"}) >= NEW + 3
    assert value.merge({"id": "abc", "y": {}}) == NEW
    assert value.merge({"list": [{"a": "x" * 1000}]}) > 1000


def test_too_long_a_reply_is_incomplete_but_its_end_is_seen() -> None:
    assembler = ChatAssembler(limit=10_000)
    for _ in range(100):
        assembler.feed(chunk("x" * 1000))
    assembler.feed(chunk(None, "stop") + event("[DONE]"))
    reply = assembler.reply()
    assert assembler.finished
    assert not reply.complete
    assert 5_000 < len(reply.body) < 12_000


def test_same_reply_below_the_limit_is_complete() -> None:
    assembler = ChatAssembler(limit=200_000)
    for _ in range(100):
        assembler.feed(chunk("x" * 1000))
    assembler.feed(chunk(None, "stop") + event("[DONE]"))
    assert assembler.reply().complete
    assert len(json.loads(assembler.reply().body)["choices"][0]["message"]["content"]) == 100_000


def test_event_that_is_no_json_makes_a_reply_incomplete() -> None:
    for data in ("{", '"text"', "5", "null", "[" * 100_000, '{"choices": 5, "error": "x"}'):
        assembler = ChatAssembler()
        assembler.feed(chunk("a") + event(data) + chunk("b", "stop") + event("[DONE]"))
        reply = assembler.reply()
        assert assembler.finished
        assert not reply.complete
        assert json.loads(reply.body)["choices"][0]["message"]["content"] == "ab"


def test_event_over_the_parsers_limit_makes_a_reply_incomplete() -> None:
    assembler = ChatAssembler()
    assembler.feed(b"data: ")
    for _ in range(9):
        assembler.feed(b"x" * (sse.EVENT_LIMIT // 8))
    assembler.feed(b"\n\n" + chunk("a", "stop") + event("[DONE]"))
    assert assembler.finished
    assert not assembler.reply().complete


def test_empty_events_and_comments_mean_nothing() -> None:
    assembler = ChatAssembler()
    assembler.feed(b": ping\n\ndata:\n\n" + chunk("a", "stop") + b"data: \n\n" + event("[DONE]"))
    assert assembler.reply().complete


def test_end_marker_without_its_blank_line_counts() -> None:
    assembler = ChatAssembler()
    assembler.feed(chunk("a") + b"data: [DONE]")
    assert assembler.reply().complete


def test_whole_event_without_its_blank_line_counts_once() -> None:
    assembler = ChatAssembler()
    assembler.feed(chunk("a") + chunk("b", "stop")[:-2])
    first = assembler.reply()
    assembler.feed(b"\n\n")
    assert first == assembler.reply()
    assert first.messages[0].parts[0] == Text("ab")
    assembler.feed(b'data: {"choices": ')
    assert assembler.reply() == first


def test_events_are_read_for_their_end_when_there_is_no_room() -> None:
    assembler = LineAssembler(limit=1)
    assembler.feed(b'{"response": "' + b"x" * 500 + b'"}\n{"response": "y"}\n')
    assert not assembler.finished
    assembler.feed(b'{"done": true}\n')
    assert assembler.finished
    assert b"y" not in assembler.reply().body


def nested(depth: int) -> ChatAssembler:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    assembler = ChatAssembler()
    assembler.feed(event({"choices": [{"index": 0, "delta": value}]}) * 2 + event("[DONE]"))
    return assembler


def test_deeply_nested_deltas_are_merged_or_given_up() -> None:
    assert b'"xx"' in nested(20).reply().body
    assert nested(20).reply().complete
    for depth in (100, 300, 400, 500, 900):
        assembler = nested(depth)
        assert assembler.finished
        assert assembler.reply().complete == (b'"xx"' in assembler.reply().body)
