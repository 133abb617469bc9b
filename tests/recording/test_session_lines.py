"""An event is one strict line, whatever it holds, and comes back from it as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.errors import UnreadableLog
from gateway_sessions.recording.session_lines import (
    BadLine,
    begins_file,
    event_line,
    first_line,
    is_whole,
    kind_of,
    line_of,
    lines_of,
    parsed,
)
from tests.recording.session_events import failed, requested, started, strictly

FILE = Path("sess_a.jsonl")
TEXTS = st.text(st.characters(exclude_categories=()), max_size=60)
"""With lone surrogates, controls, and all that some program takes for a line's end."""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXTS.filter(lambda key: told(key) == key), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Names with lone surrogates are no JSON here: bodies with such are recorded as texts."""


def told(text: str) -> str:
    """Return a text as UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()


@given(TEXTS, st.dictionaries(TEXTS.filter(lambda key: told(key) == key), TEXTS, max_size=4))
def test_any_text_comes_back(message: str, details: dict[str, str]) -> None:
    event = failed(message=message, **{f"k{key}": value for key, value in details.items()})
    line = first_line(event_line(event))
    assert len(strictly(line)) == 1
    back = parsed(line, FILE, 1)
    expected = failed(message=told(message), **{f"k{k}": told(v) for k, v in details.items()})
    assert back == expected


@given(VALUES, st.sampled_from(["", " ", "\n", "\r\n", "\t"]))
def test_any_body_is_on_one_line_with_the_meaning_it_had(value: Any, space: str) -> None:
    body = json.dumps([value, 1], separators=(f",{space}", f":{space}"), ensure_ascii=True)
    (line,) = strictly(event_line(requested(body=body.encode())))
    assert line["request_json"] == json.loads(body)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"", b'"\xff"', b'{"a":1}}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="'sess_a' holds what is no JSON"):
        event_line(requested(body=body))


@given(TEXTS, VALUES, st.sampled_from(["", "\n", "\r\n"]))
def test_json_becomes_the_lines_that_its_events_would(message: str, value: Any, space: str) -> None:
    body = json.dumps([value, 1], separators=(f",{space}", ":"), ensure_ascii=False)
    body = body.encode("utf-8", "replace").decode()
    events = [started(), failed(message=told(message)), requested(body=body.encode())]
    batch = b"[%b]" % b",".join(map(msgspec.json.encode, events))
    found = lines_of(batch)
    assert [line.text for line in found] == [event_line(event) for event in events]
    assert [line.source for line in found] == [0, 1, 2]
    for line, event in zip(found, events, strict=True):
        assert msgspec.structs.replace(line, source=event) == line_of(event)


def test_json_of_an_event_from_a_file_loses_the_files_version() -> None:
    event = msgspec.structs.replace(started(), record_version=1)
    (line,) = lines_of(msgspec.json.encode([event]))
    assert line.text == event_line(started())


@pytest.mark.parametrize("batch", [b"", b"{}", b"[1]", b'[{"type":"error"}]', b"[" * 9])
def test_json_that_is_no_array_of_events_is_refused(batch: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        lines_of(batch)


def test_json_that_is_not_utf8_is_refused() -> None:
    batch = msgspec.json.encode([failed(message="here")]).replace(b"here", b"h\xffre")
    with pytest.raises(UnicodeDecodeError):
        lines_of(batch)


def test_the_version_is_in_the_first_line_only_and_once() -> None:
    event = msgspec.structs.replace(started(), record_version=1)
    line = event_line(event)
    assert b"record_version" not in line
    assert strictly(first_line(line))[0]["record_version"] == 1
    assert parsed(first_line(line), FILE, 1) == event
    assert begins_file(first_line(line))
    assert not begins_file(line)


def test_a_newer_version_is_refused_with_the_cure() -> None:
    line = event_line(started()).replace(b"{", b'{"record_version":2,', 1)
    with pytest.raises(UnreadableLog, match=r"^sess_a\.jsonl: its record_version is 2, .* newer"):
        parsed(line, FILE, 1)


def test_a_text_about_versions_is_no_version() -> None:
    event = failed(message='{"record_version":99}', record_version=99)
    assert parsed(event_line(event), FILE, 2) == event


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            b'{"type":"dream","session_id":"s"}',
            (
                "sess_a.jsonl, line 7: events of type 'dream' are not known to this program;"
                " a newer gateway-sessions may read them."
            ),
        ),
        (b"[]", "sess_a.jsonl, line 7: not a JSON object with the fields of an event."),
        (b'{"type":', "sess_a.jsonl, line 7: not a JSON object with the fields of an event."),
        (
            b'{"record_version":',
            "sess_a.jsonl, line 7: not a JSON object with the fields of an event.",
        ),
        (b"{}", "sess_a.jsonl, line 7: not a JSON object with the fields of an event."),
        (b"[" * 100_000, "sess_a.jsonl, line 7: not a JSON object with the fields of an event."),
        (
            b'{"type":"error","session_id":1}',
            (
                "sess_a.jsonl, line 7: not an event of type error: expected str, got int -"
                " at $.session_id."
            ),
        ),
    ],
    ids=["unknown", "no object", "half", "half version", "empty", "deep", "wrong"],
)
def test_a_line_that_can_not_be_read_is_a_sentence(line: bytes, problem: str) -> None:
    assert parsed(line, FILE, 7) == BadLine(FILE, 7, problem)


def test_whole_and_half_lines_are_told_apart() -> None:
    line = event_line(failed(message="{}"))[:-1]
    assert is_whole(line)
    assert not any(is_whole(line[:cut]) for cut in range(len(line)))


def test_the_type_of_a_line_is_read_alone() -> None:
    assert kind_of(b'{"a":{"type":"x"},"type":"completed"}') == "completed"
    assert kind_of(b"completed") == ""
