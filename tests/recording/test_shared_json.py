"""JSON of events that several writers share."""

from __future__ import annotations

import json

import pytest

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import shared_json
from gateway_sessions.recording.shared_json import OVERHEAD_BYTES, SharedJson
from tests.recording.session_events import failed


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[SessionEvent]:
    """Return the events of which JSON is made, in order."""
    found: list[SessionEvent] = []
    make = shared_json._encode

    def counted(event: SessionEvent) -> bytes:
        found.append(event)
        return make(event)

    monkeypatch.setattr(shared_json, "_encode", counted)
    return found


def texts(array: bytes) -> list[str]:
    return [event["error_message"] for event in json.loads(array)]


def test_json_is_made_once_for_two_writers(made: list[SessionEvent]) -> None:
    events = [failed(message=text) for text in "abcd"]
    shared = SharedJson(2)
    assert texts(shared.array(events)) == ["a", "b", "c", "d"]
    assert texts(shared.array(events[:1])) == ["a"]
    assert texts(shared.array(events[1:])) == ["b", "c", "d"]
    assert made == events
    assert shared._bytes == 0
    assert not shared._left


def test_what_some_of_a_batch_was_made_into_is_taken_over(made: list[SessionEvent]) -> None:
    events = [failed(message=text) for text in "abcd"]
    shared = SharedJson(2)
    shared.array(events[1:3])
    assert texts(shared.array(events)) == ["a", "b", "c", "d"]
    assert made == [events[1], events[2], events[0], events[3]]
    assert texts(shared.array([events[3], events[0]])) == ["d", "a"]
    assert len(made) == len(events)
    assert shared._bytes == 0


def test_one_writer_leaves_nothing_behind(made: list[SessionEvent]) -> None:
    shared = SharedJson(1)
    assert shared.array([]) == b"[]"
    assert texts(shared.array([failed(message="a")])) == ["a"]
    assert not shared._left
    assert len(made) == 1


def test_a_batch_that_is_given_again_is_the_same() -> None:
    events = [failed(message="a")]
    shared = SharedJson(2)
    assert len({shared.array(events) for _ in range(4)}) == 1


def test_what_nobody_comes_for_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedJson(2)
    monkeypatch.setattr(shared_json, "LEFT_BYTES", 3 * OVERHEAD_BYTES)
    events = [failed(message="x" * 200) for _ in range(10)]
    for event in events:
        shared.array([event])
    assert len(shared._left) == 1
    assert id(events[-1]) in shared._left
    assert 0 < shared._bytes <= 3 * OVERHEAD_BYTES


def test_half_a_character_becomes_a_question_mark() -> None:
    assert texts(SharedJson(2).array([failed(message="\ud83d"), failed(message="b")])) == ["?", "b"]
