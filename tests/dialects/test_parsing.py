from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.conversation import USER, Media, Message, Text, ToolResult
from gateway_sessions.dialects import parsing
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import HOSTILE

BAD_JSON = [
    b"NaN",
    b"[Infinity]",
    b'"\xff"',
    b'"\\ud800"',
    b'"\\udc00x"',
    b'"\\ud800\\ud800"',
    b"[" * 100_000,
    b"1" * 5000,
    b"1e999",
    b"[1] x",
    b"\xef\xbb\xbf1",
    b"",
]


@pytest.mark.parametrize("data", BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_json_is_unreadable_and_nothing_else(data: bytes) -> None:
    with pytest.raises(UnreadableBody):
        parsing.read(data)


def test_duplicate_keys_and_large_integers_are_read() -> None:
    assert parsing.read(b'{"a": 1, "a": 123456789012345678901234567890}') == {
        "a": 123456789012345678901234567890
    }


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'"text"'])
def test_object_is_wanted(data: bytes) -> None:
    with pytest.raises(UnreadableBody, match="not an object"):
        parsing.read_object(data)


def test_error_says_what_is_wrong() -> None:
    with pytest.raises(UnreadableBody, match="nested too deeply"):
        parsing.read(HOSTILE["deep"])
    with pytest.raises(UnreadableBody, match="trailing characters"):
        parsing.read(HOSTILE["trailing garbage"])


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_canonical_text_does_not_depend_on_key_order(value: Any) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    text = parsing.canonical(value)
    assert parsing.canonical(turned(value)) == text
    assert msgspec.json.decode(text) == value


def test_canonical_text_of_bottomless_value() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnreadableBody):
        parsing.canonical(value)
    while value:  # taken apart by hand: freeing it at once recurses as well
        value = value.pop()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"b": 1, "a": [2]}', {"a": [2], "b": 1}),
        ("", {}),
        (" \n", {}),
        ('{"a": ', '{"a": '),
        ("NaN", "NaN"),
        ("[" * 100_000, "[" * 100_000),
        ("free text", "free text"),
        ({"a": 1}, {"a": 1}),
        (None, None),
    ],
)
def test_arguments(given: Any, expected: Any) -> None:
    assert parsing.arguments(given) == expected


def test_values_of_the_wrong_type_are_as_good_as_missing() -> None:
    assert parsing.text(5) == ""
    assert parsing.mapping([1]) == {}
    assert parsing.count(None, -1, True, "7", 0, 4, 5) == 4
    assert parsing.count("7") == 0
    assert parsing.texts("", None, "a", 3) == (Text("a"),)


def test_data_url_is_its_payload() -> None:
    assert parsing.media("data:image/png;base64,QUJD") == Media("QUJD")
    assert parsing.media("https://example.org/a.png") == Media("https://example.org/a.png")


def test_unknown_blocks_differ_but_for_markers() -> None:
    block = {"type": "new", "b": 1}
    marked = {"b": 1, "cache_control": {"type": "ephemeral"}, "citations": [], "type": "new"}
    assert parsing.unknown(block) == parsing.unknown(marked)
    assert parsing.unknown(block) != parsing.unknown(block | {"b": 2})


def test_results_stand_apart() -> None:
    one, two = ToolResult("1", ()), ToolResult("2", ())
    a, b = Text("a"), Text("b")
    assert parsing.apart((one, a, b, two)) == (
        Message(USER, (one,)),
        Message(USER, (a, b)),
        Message(USER, (two,)),
    )
    assert parsing.apart((a, b)) == (Message(USER, (a, b)),)
    assert parsing.apart(()) == (Message(USER, ()),)


def test_unicode_replaces_lone_surrogates() -> None:
    assert parsing.unicode("a\ud800b ü") == "a?b ü"
