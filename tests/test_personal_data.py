"""What counts as personal data, what takes its place, and that nothing else changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.errors import ConfigError
from gateway_sessions.personal_data import Mode, Personal

MASK = Personal()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail john.doe+x@example.co.uk now", "mail [EMAIL] now"),
        ("(jürgen@münchen.de)", "([EMAIL])"),
        ("card 4111 1111 1111 1111.", "card [CARD]."),
        ("5500005555555559", "[CARD]"),
        ("3782-822463-10005", "[CARD]"),
        ("ssn 123-45-6789", "ssn [SSN]"),
        ("from 10.0.0.1, 2001:db8::8a2e:370:7334", "from [IP], [IP]"),
        ("+1 (415) 555-2671", "[PHONE]"),
        ("call 415-555-2671 or (415) 555-2671", "call [PHONE] or [PHONE]"),
        ("+49 89 1234567 / 0049 89 1234567 / 089 1234567", "[PHONE] / [PHONE] / [PHONE]"),
        ("+33 1 23 45 67 89", "[PHONE]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert MASK.text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112",  # wrong check digit
        "0000000000000000",
        "000-12-3456, 666-12-3456, 987-65-4321 and 123-00-4567 are no social security numbers",
        "999.1.1.1 is no address, and neither is 12:30:45",
        "std::vector<abc::def>",
        "2024-01-20T10:30:45.123Z",
        "1705746645.123 sess_0123456789abcdefghjk",
        "3.14159265358979 1234567890",
        "version 1.2.3, @mention, a@b",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert MASK.text(text) == text


def test_modes() -> None:
    text = "j@x.org 4111 1111 1111 1111, +1 (415) 555-2671, 10.1.2.3 123-45-6789 fe80::1"

    def put(mode: Mode) -> str:
        return Personal(mode, key=b"key").text(text)

    assert put("remove") == " , ,   "
    assert put("partial") == (
        "j***@x.org **** **** **** 1111, +* (***) ***-2671, 10.1.*** ***-**-6789 fe80::***"
    )
    tokens = put("tokenize")
    assert tokens == put("tokenize")
    assert tokens.startswith("[EMAIL_")
    assert "x.org" not in tokens


def test_a_token_is_the_same_for_the_same_value_and_depends_on_the_key() -> None:
    one = Personal("tokenize", key=b"one").text("j@x.org and k@x.org and j@x.org").split(" and ")
    other = Personal("tokenize", key=b"other").text("j@x.org")
    assert one[0] == one[2] != one[1]
    assert other != one[0]


def test_own_patterns_come_first_and_kinds_can_be_left_out() -> None:
    personal = Personal(kinds=("email",), patterns={"customer": r"C-\d{4}(?:@x\.org)?"})
    assert personal.text("C-1234@x.org j@x.org 10.0.0.1") == "[CUSTOMER] [EMAIL] 10.0.0.1"
    partial = Personal("partial", patterns={"customer": r"C-\d+"})
    assert partial.text("C-12345 C-1") == "C***5 ***"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ({"x": "(?=a)"}, "pattern 'x' is no valid RE2 expression"),
        ({"x": "a*"}, "matches the empty text"),
        ({"x": "(a)"}, "write its groups as"),
        ({"a b": "a"}, "a name is made of letters"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_reason(pattern: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        Personal(patterns=pattern)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no kind 'name'; it is one of email, card"):
        Personal(kinds=("name",))


def test_json_stays_json() -> None:
    raw = b'{"a": 4111111111111111, "j@x.org": ["\\u006a\\u0040x.org", true, null], "n": 1.5}'
    assert json.loads(MASK.json(raw)) == {
        "a": "[CARD]",
        "[EMAIL]": ["[EMAIL]", True, None],
        "n": 1.5,
    }


def test_json_without_personal_data_keeps_every_byte() -> None:
    for raw in (b'{ "a" :\t1e2, "b": "\\u00e4" }', b"[1,  2]"):
        assert MASK.json(raw) == raw


def test_what_is_no_json_is_cleaned_as_text() -> None:
    assert MASK.json(b'{"a": "j@x.org') == b'{"a": "[EMAIL]'
    assert MASK.json(b"\\u{ j@x.org") == b"\\u{ [EMAIL]"


def test_lone_surrogates_do_no_harm() -> None:
    assert MASK.text("\ud800 j@x.org") == "? [EMAIL]"


@pytest.mark.parametrize("depth", [10, 400, 990, 100_000])
def test_deep_json_is_cleaned_too(depth: int) -> None:
    cleaned = MASK.json(b"[" * depth + b'"j@x.org"' + b"]" * depth)
    assert cleaned == b"[" * depth + b'"[EMAIL]"' + b"]" * depth


WORDS = st.text(st.sampled_from("abcä ,;!?\n"), max_size=40)


@given(WORDS, st.sampled_from(["j@x.org", "4111111111111111", "10.0.0.1", "123-45-6789"]), WORDS)
def test_it_is_found_wherever_it_stands(before: str, value: str, after: str) -> None:
    assert value not in MASK.text(f"{before} {value} {after}")


@given(WORDS, WORDS)
def test_all_else_stays_where_it_is(before: str, after: str) -> None:
    assert MASK.text(f"{before} j@x.org {after}") == f"{before} [EMAIL] {after}"


def test_there_must_be_something_to_look_for() -> None:
    with pytest.raises(ConfigError, match="nothing to look for"):
        Personal(kinds=())
    assert (
        Personal(kinds=(), patterns={"badge": "B-[0-9]+"}).text("B-1 a@b.org") == "[BADGE] a@b.org"
    )
