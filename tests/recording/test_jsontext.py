"""Whatever comes in, what goes out is strict JSON on one line."""

from __future__ import annotations

import json

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.recording.jsontext import (
    embedded,
    escaped,
    is_json,
    json_array,
    json_line,
    utc_timestamp,
)

LIMIT = 1000


def through(body: bytes, size: int | None = None, limit: int = LIMIT) -> object:
    """Return what a strict reader finds where a body was embedded."""
    line = json_line({"body": embedded(body, len(body) if size is None else size, limit)})
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    found: dict[str, object] = orjson.loads(line)
    return found["body"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b' {"a": [1, 2.5, true, null, "x"]} ',
        b'{"a":\n  "b",\r\n "c": "\\n"}\n',
        '{"a": "Grüße 😀 \u2028 \u2029 \u0085 \u009b"}'.encode(),
        b'"text"',
        b"123456789012345678901234567890",
        b'{"a": 1, "a": 2}',
        b'"\\ud83d\\ude00"',
        b"[" * 100 + b"]" * 100,
    ],
)
def test_valid_json_is_embedded_as_it_is(body: bytes) -> None:
    assert through(body) == orjson.loads(body)


def test_its_spelling_is_kept() -> None:
    body = b'{"n": 1.0e5, "s": "\\u0041", "z": 0.10}'
    assert bytes(embedded(body, len(body), LIMIT)) == body


@pytest.mark.parametrize(
    "body",
    [
        b"<html>bad gateway</html>",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1',
        b'{"a": "\xff\xfe"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b'{"a": "raw\nbreak"}',
        b"\xef\xbb\xbf{}",
        b"01",
        b'{"a": 1} x',
        b"\x00\x01\x1b[2J",
        b'data: {"x": 1}\n\n',
    ],
)
def test_anything_else_becomes_its_text(body: bytes) -> None:
    assert through(body) == body.decode("utf-8", "replace")


def test_a_mountain_of_brackets_becomes_text() -> None:
    body = b"[" * 100_000 + b"]" * 100_000
    assert through(body, limit=1_000_000) == body.decode()


def test_an_empty_body_is_null() -> None:
    assert through(b"") is None


def test_too_much_is_cut_and_says_so() -> None:
    body = b'{"a": "' + b"x" * 2000 + b'"}'
    assert through(body) == {"truncated": True, "size": len(body), "text": body[:LIMIT].decode()}
    assert through(body[:LIMIT], limit=LIMIT) == body[:LIMIT].decode()


def test_a_cut_through_a_character_is_still_json() -> None:
    found = through("é".encode() * LIMIT, limit=LIMIT - 1)
    assert isinstance(found, dict)
    assert found["truncated"] is True


def test_a_body_that_was_not_kept_says_so() -> None:
    assert through(b"", size=50_000_000) == {"truncated": True, "size": 50_000_000, "text": ""}


def test_lone_surrogates_in_values_do_not_stop_a_line() -> None:
    class Nested(msgspec.Struct):
        names: dict[str, str]
        items: list[str]
        body: msgspec.Raw

    value = Nested({"a\ud800": "b\udfff"}, ["\ud800x"], msgspec.Raw(b"[1]"))
    assert orjson.loads(json_line(value)) == {
        "names": {"a?": "b?"},
        "items": ["?x"],
        "body": [1],
    }


def test_not_a_number_is_null() -> None:
    assert json_line({"a": float("nan")}) == b'{"a":null}\n'


def test_line_breaks_of_unicode_and_terminal_controls_are_escaped() -> None:
    text = "a\u2028b\u2029c\u0085d\u009be\u00e9\u2019"
    line = json_line({"t": text})
    assert orjson.loads(line) == {"t": text}
    assert len(line.decode().splitlines()) == 1
    for code in (0x2028, 0x2029, 0x85, 0x9B):
        assert chr(code).encode() not in line
    assert "é’".encode() in line


def test_text_without_such_characters_is_not_copied() -> None:
    text = b'{"a": 1}'
    assert escaped(text) is text


@given(st.binary(max_size=300))
def test_no_body_makes_a_bad_line(body: bytes) -> None:
    through(body, limit=200)


@given(st.binary(max_size=60))
def test_is_json_agrees_with_a_parser(body: bytes) -> None:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        expected = False
    else:
        expected = True
    # Numbers beyond a double are valid JSON, though not every parser takes them.
    assert is_json(body) == expected or json.loads(body) in (float("inf"), float("-inf"))


@pytest.mark.parametrize(
    ("unix", "expected"),
    [
        (1705746645.123, "2024-01-20T10:30:45.123Z"),
        (1705746645.9999, "2024-01-20T10:30:45.999Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1709164799.5, "2024-02-28T23:59:59.500Z"),
    ],
)
def test_timestamps(unix: float, expected: str) -> None:
    assert utc_timestamp(unix) == expected


def test_an_array_is_made_of_values_of_which_one_may_hold_half_a_character() -> None:
    assert json_array([]) == b"[]"
    assert json_array([{"a": msgspec.Raw(b"1")}, "b"]) == b'[{"a":1},"b"]'
    assert json_array(["\ud83d", {"a": msgspec.Raw(b"[1]")}]) == b'["?",{"a":[1]}]'
