"""Numbers as people read them."""

from __future__ import annotations

import pytest

from gateway_sessions.pages import amounts


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (999_700, "1M"),
        (4_500_000, "4.5M"),
        (2_290_000_000, "2.29B"),
        (3e12, "3T"),
    ],
)
def test_short_numbers_have_three_digits(number: float | None, text: str) -> None:
    assert amounts.short(number) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (0.000001, "<$0.00001"),
        (0.00123, "$0.00123"),
        (0.0256, "$0.026"),
        (0.5, "$0.500"),
        (0.9999, "$1.00"),
        (1234.5, "$1,234.50"),
    ],
)
def test_small_costs_have_more_digits(amount: float | None, text: str) -> None:
    assert amounts.dollars(amount) == text


def test_costs_on_an_axis_are_round() -> None:
    assert [amounts.round_dollars(x) for x in (0, 0.5, 20, 1500)] == ["$0", "$0.5", "$20", "$1.5k"]
    assert [amounts.round_dollars(x) for x in (0.00002, 0.0004)] == ["$0.00002", "$0.0004"]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (1.25, "1.2 ms"),
        (85.4, "85 ms"),
        (999.4, "999 ms"),
        (1240, "1.24 s"),
        (12_340, "12.3 s"),
        (59_960, "1 min 0 s"),
        (185_000, "3 min 5 s"),
        (7_800_000, "2 h 10 min"),
        (3 * 86_400_000, "3.0 days"),
    ],
)
def test_times(time: float | None, text: str) -> None:
    assert amounts.milliseconds(time) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "–"), (512, "512 B"), (1400, "1.4 kB"), (2_500_000, "2.5 MB")]
)
def test_sizes(number: int | None, text: str) -> None:
    assert amounts.size(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "–"), (0, 5, "0%"), (1, 8, "12.5%"), (5, 5, "100%"), (9999, 10_000, "100%")],
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert amounts.share(part, whole) == text


def test_units_agree_with_their_numbers() -> None:
    assert amounts.plural(1, "session") == "1 session"
    assert amounts.plural(2000, "session") == "2,000 sessions"
    assert (amounts.counted(12_345), amounts.counted(None)) == ("12,345", "–")
