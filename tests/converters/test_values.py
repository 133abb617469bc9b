"""Times, JSON within JSON and headers, in all the forms that logs have them in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_sessions.converters.values import (
    NOTHING,
    body,
    first,
    headers,
    mapping,
    milliseconds,
    moment,
    nested,
    text,
)

MOMENT = datetime(2026, 1, 20, 10, 30, 45, 123000, UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-20T10:30:45.123Z",
        "2026-01-20 10:30:45.123",
        " 2026-01-20 10:30:45.123+00 ",
        "2026-01-20T12:30:45.123+02:00",
        1768905045.123,
        "1768905045.123",
        1768905045123,
        1768905045123000,
        "1768905045123000000",
    ],
)
def test_a_time_may_be_written_in_many_ways(value: Any) -> None:
    found = moment(value)
    assert found is not None
    assert abs(found - MOMENT) < timedelta(milliseconds=1)
    assert found.tzinfo is not None


@pytest.mark.parametrize(
    "value", ["", "soon", None, True, [], {}, float("nan"), float("inf"), 1e300]
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment(value) is None


def test_seconds_are_seconds_in_a_far_future_too() -> None:
    assert moment(4_000_000_000) == datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)


def test_durations_are_never_negative() -> None:
    assert milliseconds(MOMENT, MOMENT + timedelta(seconds=2)) == 2000
    assert milliseconds(MOMENT, MOMENT - timedelta(seconds=2)) == 0
    assert milliseconds(MOMENT, None) == 0


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        (" [1]", [1]),
        ("{broken", "{broken"),
        ("words", "words"),
        ("5", "5"),
        (7, 7),
        (None, None),
        ("[" * 200_000, "[" * 200_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_in_a_text_is_read(value: Any, found: Any) -> None:
    assert nested(value) == found


def test_anything_else_than_an_object_is_an_empty_one() -> None:
    assert mapping('{"a": 1}') == {"a": 1}
    assert mapping("[1]") == mapping(None) == mapping(3) == {}
    assert text("a") == "a"
    assert text(3) == text(None) == ""


def test_the_first_field_that_holds_something_counts() -> None:
    assert first({"a": None, "b": "", "c": 0, "d": 4}, ("a", "b", "c", "d")) == 0
    assert first({"a": None}, ("a", "x")) is None


def test_headers_may_be_an_object_or_pairs() -> None:
    assert headers({"X-A": "1", "B": 2}) == {"x-a": "1"}
    assert headers('{"X-A": "1"}') == {"x-a": "1"}
    pairs = [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}, "no pair"]
    assert headers(pairs) == {"x-a": "1"}
    assert headers(None) == headers("words") == {}


def test_no_body_is_null() -> None:
    assert bytes(body({"a": 1})) == b'{"a":1}'
    assert body(None) is NOTHING
