"""Values of filters read from text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from gateway_sessions.storage import filter_values as values

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000), ("1w", 604_800_000)],
)
def test_lengths_of_time_have_a_unit(text: str, milliseconds: float) -> None:
    assert values.milliseconds(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1e3s", "5m30s", "٣s"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        values.milliseconds(text)


def test_times_before_the_calendar_overflow() -> None:
    with pytest.raises(OverflowError):
        values.moment("999999999w", NOW)


def test_a_span_is_so_long_ago() -> None:
    assert values.moment("36h", NOW) == NOW - timedelta(hours=36)
    assert values.end("36h", NOW) == NOW - timedelta(hours=36)


def test_yes_and_no_have_many_forms() -> None:
    assert [values.yes(text, NOW) for text in ("yes", "True", "1")] == [True] * 3
    assert [values.yes(text, NOW) for text in ("no", "FALSE", "0")] == [False] * 3


def test_numbers_have_bounds() -> None:
    read = values.whole(1, 10)
    assert [read("1", NOW), read("10", NOW)] == [1, 10]
    for text in ("0", "11", "", "٣", "1.0", "1" * 30):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            read(text, NOW)


def test_dollars_have_no_sign() -> None:
    assert (values.dollars("3", NOW), values.dollars(".25", NOW)) == (3.0, 0.25)
    for text in ("-1", "1,5", "nan", "1e5"):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            values.dollars(text, NOW)


def test_texts_have_words_and_an_end() -> None:
    assert values.text("a\0b", NOW) == "a b"
    for text in ("?!", "a" * (values.MAX_TEXT + 1)):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            values.text(text, NOW)
