"""Filters read from text: one parser for options and URL queries."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.errors import WrongQuery
from gateway_sessions.storage.filters import (
    MAX_PAGE_SIZE,
    MAX_VALUES,
    PARAMETERS,
    SessionFilter,
    parse_filter,
)

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def parsed(*pairs: tuple[str, str]) -> SessionFilter:
    return parse_filter(pairs, now=NOW)


def test_nothing_asked_for_is_everything_newest_first_in_pages_of_50() -> None:
    assert parsed() == SessionFilter()
    assert (SessionFilter().sort, SessionFilter().descending) == ("started", True)
    assert (SessionFilter().page, SessionFilter().page_size) == (1, 50)


def test_every_field_has_a_parameter() -> None:
    fields = {field.name for field in dataclasses.fields(SessionFilter)}
    assert {parameter.field for parameter in PARAMETERS} == fields


def test_everything_at_once() -> None:
    assert parsed(
        ("since", "2026-01-01"),
        ("until", "2026-01-02"),
        ("provider", "openai, anthropic"),
        ("model", "gpt-*"),
        ("model", "claude-*"),
        ("session", "sess_1"),
        ("request", "req_1"),
        ("success", "no"),
        ("streaming", "TRUE"),
        ("min_tokens", "10"),
        ("max_tokens", "20"),
        ("min_duration", "1.5s"),
        ("max_duration", "2m"),
        ("min_cost", "0.01"),
        ("max_cost", "3"),
        ("client_ip", "192.0.2.1"),
        ("finish_reason", "stop"),
        ("text", ' "two words" more '),
        ("parent", "sess_2"),
        ("root", "sess_3"),
        ("sort", "cost"),
        ("order", "asc"),
        ("page", "2"),
        ("page_size", "1000"),
    ) == SessionFilter(
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 1, 3, tzinfo=UTC),
        providers=("openai", "anthropic"),
        models=("gpt-*", "claude-*"),
        session_ids=("sess_1",),
        request_ids=("req_1",),
        success=False,
        streaming=True,
        min_tokens=10,
        max_tokens=20,
        min_duration_ms=1500.0,
        max_duration_ms=120_000.0,
        min_cost_usd=0.01,
        max_cost_usd=3.0,
        client_ips=("192.0.2.1",),
        finish_reasons=("stop",),
        text='"two words" more',
        parent="sess_2",
        root="sess_3",
        sort="cost",
        descending=False,
        page=2,
        page_size=1000,
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", NOW),
        ("24h", NOW - timedelta(days=1)),
        ("90m", NOW - timedelta(minutes=90)),
        ("2w", NOW - timedelta(days=14)),
        ("today", datetime(2026, 1, 31, tzinfo=UTC)),
        ("yesterday", datetime(2026, 1, 30, tzinfo=UTC)),
        ("2026-01-05", datetime(2026, 1, 5, tzinfo=UTC)),
        ("2026-01-05 10:30", datetime(2026, 1, 5, 10, 30, tzinfo=UTC)),
        ("2026-01-05T10:30:00Z", datetime(2026, 1, 5, 10, 30, tzinfo=UTC)),
        ("2026-01-05T10:30:00+02:00", datetime(2026, 1, 5, 8, 30, tzinfo=UTC)),
    ],
)
def test_times(text: str, wanted: datetime) -> None:
    assert parsed(("since", text)).since == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("today", datetime(2026, 2, 1, tzinfo=UTC)),
        ("yesterday", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-05", datetime(2026, 1, 6, tzinfo=UTC)),
        ("2026-01-05T00:00", datetime(2026, 1, 5, tzinfo=UTC)),
        ("1d", NOW - timedelta(days=1)),
    ],
)
def test_until_a_day_is_until_its_end(text: str, wanted: datetime) -> None:
    assert parsed(("until", text)).until == wanted


def test_days_are_those_of_utc_wherever_the_caller_is() -> None:
    early = datetime(2026, 1, 31, 1, 0, tzinfo=timezone(timedelta(hours=5)))
    assert parse_filter([("since", "today")], now=early).since == datetime(2026, 1, 30, tzinfo=UTC)


def test_empty_fields_of_a_form_count_as_not_given() -> None:
    assert parsed(("since", ""), ("model", " "), ("page", "")) == SessionFilter()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "since",
            "soon",
            '2026-01-31T10:30:00Z, today, or 24h for 24 hours ago, not "soon".',
        ),
        ("min_tokens", "-1", 'min_tokens must be a whole number of at least 0, not "-1".'),
        ("min_tokens", "1e9", 'min_tokens must be a whole number of at least 0, not "1e9".'),
        (
            "max_duration",
            "10",
            'max_duration must be a length of time such as 500ms, 30s, 5m or 2h, not "10".',
        ),
        ("min_cost", "$1", 'min_cost must be an amount in dollars such as 0.25, not "$1".'),
        ("success", "maybe", 'success must be yes or no, not "maybe".'),
        (
            "sort",
            "name",
            'sort must be one of started, duration, tokens, cost, requests, not "name".',
        ),
        ("order", "up", 'order must be asc or desc, not "up".'),
        ("page", "0", 'page must be a whole number of at least 1, not "0".'),
        ("page_size", "1001", 'page_size must be a whole number from 1 to 1000, not "1001".'),
        (
            "text",
            "!?",
            'text must be at most 1000 characters with a letter or digit among them, not "!?".',
        ),
        ("model", "a,,b", 'model must be a name, not "".'),
        ("since", "9" * 9 + "w", "since must be a time such as"),
        ("parent", "\udcff", 'parent must be a session id, not "\\udcff".'),
        ("text", "a\udcff", 'among them, not "a\\udcff".'),
        ("parent", "a\0b", 'parent must be a session id, not "a\\u0000b".'),
        ("since", "\x1b[31m" + "x" * 100, "\\u001b[31m" + "x" * 52 + '...".'),
    ],
)
def test_what_can_not_be_understood_is_one_sentence(name: str, text: str, sentence: str) -> None:
    with pytest.raises(WrongQuery) as caught:
        parsed((name, text))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_told_with_all_that_are_known() -> None:
    with pytest.raises(WrongQuery, match=r'^"colour" is nothing that can be asked for; there are'):
        parsed(("colour", "red"))


def test_errors_use_the_words_of_the_caller() -> None:
    with pytest.raises(WrongQuery, match=r"^--min-tokens must be"):
        parse_filter(
            [("min_tokens", "x")], now=NOW, called=lambda name: f"--{name.replace('_', '-')}"
        )


@pytest.mark.parametrize(
    "pairs",
    [
        (("since", "2026-02-01"), ("until", "2026-01-01")),
        (("min_tokens", "5"), ("max_tokens", "4")),
        (("min_duration", "5s"), ("max_duration", "4s")),
        (("min_cost", "5"), ("max_cost", "4")),
    ],
)
def test_ranges_that_hold_nothing_are_a_slip(pairs: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(WrongQuery, match=r"lies above .*; swap them\.$"):
        parsed(*pairs)


def test_what_takes_one_value_is_given_once() -> None:
    with pytest.raises(WrongQuery, match=r"^page is given more than once; give it once\.$"):
        parsed(("page", "1"), ("page", "2"))


def test_the_number_of_values_is_bounded() -> None:
    assert len(parsed(("model", ",".join("m" * MAX_VALUES))).models) == MAX_VALUES
    with pytest.raises(WrongQuery, match="more than 100 times"):
        parsed(("model", ",".join("m" * (MAX_VALUES + 1))))


@given(st.lists(st.tuples(st.sampled_from([p.name for p in PARAMETERS]), st.text()), max_size=4))
def test_any_text_gives_a_filter_or_our_own_error(pairs: list[tuple[str, str]]) -> None:
    try:
        wanted, said = parsed(*pairs), ""
    except WrongQuery as error:
        wanted, said = SessionFilter(), str(error)
    assert said.isprintable()
    assert 1 <= wanted.page_size <= MAX_PAGE_SIZE
