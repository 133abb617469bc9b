"""JSON of strangers: strict, on one line, and not more than is new."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.facts import DIALECTS

LARGE = "x" * rawjson.REPEATED_BYTES


def cut(
    body: Any, new: int, known: dict[str, int] | None = None, dialect: str = "openai_chat"
) -> Any:
    """Return what `delta` leaves of a body, parsed, and the names of what it left out."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    messages = DIALECTS[dialect].read_request(sent, "/x").messages
    fresh = messages[len(messages) - new :]
    known = {} if known is None else known
    found = rawjson.delta(sent, rawjson.fields_of(sent), len(messages), fresh, known)
    return json.loads(bytes(found.json or b"null")), found.unchanged


HI = {"role": "user", "content": "hi"}
PART = {"role": "user", "parts": [{"text": "hi"}]}


@pytest.mark.parametrize(
    ("dialect", "body", "expected"),
    [
        ("openai_chat", {"messages": [HI, HI, HI]}, {"messages": [HI]}),
        ("anthropic", {"messages": [HI, HI], "max_tokens": 9}, {"messages": [HI], "max_tokens": 9}),
        ("openai_responses", {"input": [HI, HI]}, {"input": [HI]}),
        ("openai_responses", {"input": "hi"}, {"input": "hi"}),
        ("gemini", {"contents": [PART, PART]}, {"contents": [PART]}),
        ("gemini", {"contents": PART}, {"contents": PART}),
        (
            "gemini",
            {"model": "m", "request": {"contents": [PART, PART]}},
            {"model": "m", "request": {"contents": [PART]}},
        ),
        ("openai_completions", {"prompt": "hi"}, {"prompt": "hi"}),
        ("ollama", {"model": "m", "prompt": "hi"}, {"model": "m", "prompt": "hi"}),
    ],
)
def test_known_messages_are_left_out(dialect: str, body: Any, expected: Any) -> None:
    assert cut(body, 1, dialect=dialect) == (expected, ())


def test_a_body_that_is_all_new_is_kept_byte_for_byte() -> None:
    sent = b'{"messages" : [{"role":"user","content":"hi"}],  "temperature":1e0}'
    found = rawjson.delta(sent, rawjson.fields_of(sent), 1, (Raw(b"{}"),), {})
    assert bytes(found.json or b"") == sent


def test_where_it_is_not_clear_which_list_holds_the_messages_both_stay() -> None:
    body = {"messages": [HI, HI], "input": [1, 2]}
    assert cut(body, 1) == (body, ())


def test_large_fields_are_written_when_they_change() -> None:
    known: dict[str, int] = {}
    body = {"messages": [HI], "tools": [LARGE], "model": "m"}
    assert cut(body, 1, known) == (body, ())
    assert cut(body, 1, known) == ({"messages": [HI], "model": "m"}, ("tools",))
    other = body | {"tools": [LARGE, 1]}
    assert cut(other, 1, known) == (other, ())
    assert cut(other, 1, known)[1] == ("tools",)


def test_small_fields_are_written_always() -> None:
    known: dict[str, int] = {}
    body = {"messages": [HI], "tools": ["x"]}
    assert [cut(body, 1, known) for _ in range(2)] == [(body, ())] * 2
    assert known == {}


def test_a_large_field_is_compared_with_the_newest_of_its_name() -> None:
    known: dict[str, int] = {}
    none: dict[str, Any] = {"messages": [HI]}
    large, small = none | {"tools": [LARGE]}, none | {"tools": []}
    names = [cut(body, 1, known)[1] for body in (large, none, large, small, large)]
    assert names == [(), (), ("tools",), (), ()]


def test_few_fields_are_remembered() -> None:
    known: dict[str, int] = {}
    many = {f"field_{number}": LARGE for number in range(2 * rawjson.FIELDS_REMEMBERED)}
    for _ in range(2):
        cut({"messages": [HI]} | many, 1, known)
    assert len(known) == rawjson.FIELDS_REMEMBERED


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b'{"a":', b"[" * 100_000, b'{"request":5}'])
def test_bodies_that_are_no_objects_give_none_or_themselves(body: bytes) -> None:
    found = rawjson.delta(body, rawjson.fields_of(body), 0, (), {})
    assert found.json is None or bytes(found.json) == body


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()), max_size=4),
    st.lists(st.text(), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_what_is_left_with_the_history_is_the_whole(
    fields: dict[str, Any], texts: list[str], new: int
) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    body = {
        key: value
        for key, value in fields.items()
        if key not in ("input", "contents", "request", "generateContentRequest")
    }
    body |= {"messages": messages}
    new = min(new, len(messages))
    left, unchanged = cut(body, new)
    assert unchanged == ()
    assert left.pop("messages") == messages[len(messages) - new :]
    assert left == {key: value for key, value in body.items() if key != "messages"}


@pytest.mark.parametrize(
    ("sent", "strict"),
    [
        (b'{"a":1}', b'{"a":1}'),
        (b'{\n  "a": 1\r\n}', b'{   "a": 1  }'),
        ('"größer"'.encode(), '"größer"'.encode()),
        (b'"\xff"', '"\ufffd"'.encode()),
    ],
)
def test_json_becomes_strict_and_one_line(sent: bytes, strict: bytes) -> None:
    assert bytes(rawjson.strict(Raw(sent))) == strict


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", None),
        (b'{"a":\n1}', b'{"a": 1}'),
        (b"<html>", b'"<html>"'),
        (b"\xff", '"\ufffd"'.encode()),
        (b"[" * 100_000, b'"' + b"[" * 100_000 + b'"'),
    ],
)
def test_any_body_becomes_json(body: bytes, expected: bytes | None) -> None:
    found = rawjson.embedded(body)
    assert (None if found is None else bytes(found)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"a": [1]}, b'{"a":[1]}'), (10**400, str(10**400).encode()), ("\ud800", b"\"'\\\\ud800'\"")],
)
def test_values_from_bodies_become_json(value: Any, expected: bytes) -> None:
    found = rawjson.encoded(value)
    assert found in (expected, b'"' + expected + b'"')
    json.loads(found)


def test_deep_values_become_json() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert isinstance(json.loads(rawjson.encoded(value)), str)


def test_text_without_lone_surrogates_stays() -> None:
    assert rawjson.text("größer") == "größer"
    assert rawjson.text("a\ud800b") == "a?b"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"usage": {"prompt_tokens": 3, "odd": [1]}}, {"prompt_tokens": 3, "odd": [1]}),
        ({"usageMetadata": {"promptTokenCount": 3}}, {"promptTokenCount": 3}),
        ({"response": {"usageMetadata": {"a": 3}}}, {"a": 3}),
        ({"response": "so", "eval_count": 5, "done": True}, {"eval_count": 5}),
        ({"usage": None}, None),
        ({"content": []}, None),
        ([1], None),
    ],
)
def test_the_providers_own_usage_is_found(body: Any, expected: Any) -> None:
    found = rawjson.usage(json.dumps(body).encode())
    assert (None if found is None else json.loads(bytes(found))) == expected
