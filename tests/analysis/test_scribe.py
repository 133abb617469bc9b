"""From milestones to events: whole sessions, in the order of the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway_sessions import events
from gateway_sessions.milestones import AnyMilestone
from tests.analysis.exchanges import (
    NOON,
    SESSION,
    Event,
    arrived,
    assistant,
    chat,
    chunk,
    completion,
    ended,
    finished,
    first_byte,
    kinds,
    of,
    read,
    scribe,
    tag,
    told,
    user,
)
from tests.analysis.sessions import FULL_SESSIONS

SAMPLES = Path(__file__).parent / "events.jsonl"
CONTINUE = tag(relation="continue")
EXCHANGE = (arrived("req_1", 0, chat("hi"), 1), finished("req_1", 1, completion("so")))


def test_an_exchange_makes_its_events_in_the_order_of_the_wire() -> None:
    found = told(
        scribe(include_streaming_events=True),
        arrived("req_1", 0, chat("hi"), 1),
        first_byte("req_1", 0.3),
        chunk("req_1", 0.31, "grün".encode()),
        finished("req_1", 1, completion(assistant("so", c1="f")), streamed=True, chunks=1),
        ended(9),
    )
    assert kinds(found) == [
        "started",
        "request_recorded",
        "stream_started",
        "stream_event",
        "response_recorded",
        "tool_call_recorded",
        "request_completed",
        "loop_recorded",
        "loop_recorded",
        "completed",
    ]
    assert {event["session_id"] for event in found} == {SESSION}
    assert {event["request_id"] for event in found} == {"req_1"}
    times = [event["timestamp"] for event in found]
    assert times == sorted(times)
    assert of(found, "stream_started")[0]["time_to_first_token_ms"] == 300.0
    (piece,) = of(found, "stream_event")
    assert (piece["data"], piece["size_bytes"], piece["elapsed_ms"]) == ("grün", 5, 310.0)


def test_chunks_are_recorded_only_where_that_is_asked_for() -> None:
    piece = chunk("req_1", 0.4, b"secret")
    assert told(scribe(), EXCHANGE[0], piece)[2:] == []
    recorder = scribe(include_streaming_events=True, content="metadata")
    (bare,) = told(recorder, EXCHANGE[0], piece)[2:]
    assert "data" not in bare
    assert bare["size_bytes"] == 6


def test_pieces_of_what_nobody_saw_begin_are_left_out() -> None:
    recorder = scribe(include_streaming_events=True)
    assert told(recorder, first_byte("req_1", 0), chunk("req_1", 0.1, b"x")) == []


def test_a_session_starts_once() -> None:
    recorder = scribe()
    found = told(recorder, *EXCHANGE, *EXCHANGE)
    assert kinds(found).count("started") == 1
    assert recorder.live_sessions == 1


def test_a_session_that_goes_on_after_its_end_starts_again() -> None:
    found = told(scribe(), *EXCHANGE, ended(2), *EXCHANGE, ended(4, "reset"))
    assert kinds(found) == 2 * [
        "started",
        "request_recorded",
        "response_recorded",
        "request_completed",
        "loop_recorded",
        "completed",
    ]
    assert {event["session_id"] for event in found} == {SESSION}
    one, two = of(found, "completed")
    trees = [end["final_stats"].pop("tree") for end in (one, two)]
    assert [len(tree["loops"]) for tree in trees] == [1, 1]
    assert one["final_stats"] == two["final_stats"]
    assert (one["reason"], two["reason"]) == ("expired", "reset")


def test_the_end_waits_for_exchanges_that_are_under_way() -> None:
    recorder = scribe()
    found = told(recorder, EXCHANGE[0], ended(0.5, "evicted"), EXCHANGE[1])
    assert kinds(found)[-3:] == ["request_completed", "loop_recorded", "completed"]
    assert found[-1]["reason"] == "evicted"
    assert found[-1]["final_stats"]["request_count"] == 1
    assert recorder.live_sessions == 0


def test_a_session_that_goes_on_before_its_end_has_no_end() -> None:
    more = arrived("req_2", 0.7, chat("hi", assistant("so"), "more"), 1, session=CONTINUE)
    recorder = scribe()
    found = told(recorder, EXCHANGE[0], ended(0.5), more, EXCHANGE[1])
    assert "completed" not in kinds(found)
    assert recorder.live_sessions == 1


def test_the_end_of_a_session_that_nobody_knows_is_nothing() -> None:
    assert told(scribe(), ended(1)) == []


def test_an_end_whose_beginning_is_lost_is_recorded() -> None:
    """The recorder was started again while the exchange was under way."""
    found = told(scribe(), EXCHANGE[1], ended(2))
    assert kinds(found) == [
        "started",
        "response_recorded",
        "request_completed",
        "loop_recorded",
        "completed",
    ]
    assert found[-1]["grand_total"] == 15
    assert found[-1]["final_stats"]["tree"]["usage"]["total_tokens"] == 15


def test_at_shutdown_all_sessions_end() -> None:
    recorder = scribe()
    for number in range(3):
        session = tag(f"sess_{number}")
        told(recorder, arrived("req_1", number, chat("hi"), 1, session=session))
        told(recorder, finished("req_1", number, completion("so"), session=session))
    assert told(recorder, arrived("req_2", 9, chat("hi"), 1, session=tag("sess_0"))) != []
    found = of(read(recorder.shutdown(NOON + 10)), "completed")
    assert [(event["session_id"], event["reason"]) for event in found] == [
        ("sess_1", "shutdown"),
        ("sess_2", "shutdown"),
        ("sess_0", "shutdown"),
    ]
    assert recorder.live_sessions == 0
    assert recorder.shutdown(NOON + 11) == []


def test_an_end_that_waited_keeps_its_reason_at_shutdown() -> None:
    recorder = scribe()
    told(recorder, EXCHANGE[0], ended(0.5))
    (end,) = of(read(recorder.shutdown(NOON + 1)), "completed")
    assert end["reason"] == "expired"


def test_live_sessions_are_bounded_by_least_recent_use() -> None:
    recorder = scribe(max_sessions=2)
    found = told(
        recorder,
        *(arrived("req_1", 0, chat("hi"), 1, session=tag(f"sess_{letter}")) for letter in "aba"),
        arrived("req_1", 1, chat("hi"), 1, session=tag("sess_c")),
    )
    (gone,) = of(found, "completed")
    assert (gone["session_id"], gone["reason"]) == ("sess_b", "evicted")
    assert recorder.live_sessions == 2


def test_a_sub_agents_session_names_its_parent() -> None:
    place = tag("sess_b", relation="subagent", parent_session_id=SESSION, root_session_id=SESSION)
    found = told(scribe(), arrived("req_1", 0, chat("hi"), 1, session=place))
    assert found[0]["parent_session_id"] == found[0]["root_session_id"] == SESSION


RELATIONS = [
    *("first", "continue", "retry", "regenerate", "fork"),
    *("compaction", "subagent", "side_call", "reset"),
]


def test_exchanges_of_every_relation_count() -> None:
    milestones: list[AnyMilestone] = []
    for number, relation in enumerate(RELATIONS):
        name, place = f"req_{number}", tag(relation=relation)
        milestones.append(arrived(name, number, chat("hi"), 1, session=place))
        milestones.append(finished(name, number + 0.5, completion("so"), session=place))
    found = told(scribe(), *milestones, ended(99))
    assert [event["relation"] for event in of(found, "request_recorded")] == RELATIONS
    assert of(found, "completed")[0]["final_stats"]["request_count"] == len(RELATIONS)


def test_a_token_count_does_no_harm() -> None:
    count = arrived(
        "req_2",
        1,
        {"messages": [user("hi")]},
        0,
        dialect="anthropic",
        path="/v1/messages/count_tokens",
        session=CONTINUE,
    )
    found = told(
        scribe(), *EXCHANGE, count, finished("req_2", 2, {"input_tokens": 9}, dialect="anthropic")
    )
    assert kinds(found)[-4:-1] == ["request_recorded", "response_recorded", "request_completed"]
    assert found[-3]["tokens"] is None
    assert found[-4]["request_json"] == {"messages": []}


@pytest.mark.parametrize("error", ["client_closed", "upstream_aborted"])
def test_what_came_of_a_broken_stream_is_recorded(error: str) -> None:
    """Its first event had the counts of the input, and some text had come."""
    partial = {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Once upon"}],
        "usage": {"input_tokens": 25, "output_tokens": 1},
    }
    end = finished("req_1", 1, partial, dialect="anthropic", streamed=True, chunks=3, error=error)
    found = told(scribe(), arrived("req_1", 0, chat("hi"), 1), end, ended(2))
    (response,) = of(found, "response_recorded")
    assert response["response_text"] == "Once upon"
    assert response["tokens"]["input_tokens"] == 25
    assert kinds(found)[-5:-3] == ["error", "request_completed"]
    assert [loop["loop"]["status"] for loop in of(found, "loop_recorded")] == ["running", "aborted"]
    assert (found[-1]["success"], found[-1]["error"]) == (False, error)
    assert found[-1]["total_input"] == 25


def test_a_request_that_is_never_answered_has_an_estimate() -> None:
    found = told(
        scribe(), EXCHANGE[0], finished("req_1", 1, b"", status=0, error="upstream_timeout")
    )
    request, response = of(found, "request_recorded")[0], of(found, "response_recorded")[0]
    assert request["estimated_tokens"] > 0
    assert response["tokens"] is None
    assert of(found, "request_completed")[0]["success"] is False


def test_a_session_does_not_count_its_history_with_every_turn() -> None:
    recorder, messages, size, found = scribe(), [], 0, []
    for number in range(20):
        messages.append(user(f"question {number} " + "x" * 200))
        name = f"req_{number}"
        request = arrived(name, 2 * number, chat(*messages), 1, session=CONTINUE)
        found += told(recorder, request, finished(name, 2 * number + 1, completion("so")))
        messages.append(assistant("so"))
    found += told(recorder, ended(99))
    for event in of(found, "request_recorded"):
        assert len(event["delta_messages"]) == 1
        size = max(size, len(json.dumps(event)))
    assert size < 2000
    assert found[-1]["final_stats"]["total_tokens"]["total_input"] == 20 * 10


def test_recorded_sessions_are_small() -> None:
    """A session of five requests, each with a prompt of 1 kB and an answer of 2 kB."""
    recorder, messages, lines = scribe(), [], []
    for number in range(5):
        messages.append(user("word " * 200))
        name, answer = f"req_{number}", "word " * 400
        milestones = (
            arrived(name, number, chat(*messages, temperature=0.5), 1, session=CONTINUE),
            finished(name, number + 0.5, completion(answer)),
        )
        for milestone in milestones:
            lines += [msgspec.json.encode(event) for event in recorder.take(milestone)]
        messages.append(assistant(answer))
    assert sum(map(len, lines)) < 50_000


NOT_OURS = {
    "started.record_version",  # the file writer's
}


def fields_of(kind: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted names of all fields of a struct, those of structs in it too."""
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}.{field.name}"
        yield name
        for part in _structs_in(field.type):
            yield from fields_of(part, name)


def _structs_in(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _structs_in(argument)


def seen_in(value: Any, kind: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted names of the fields that an event's JSON has."""
    for field in msgspec.structs.fields(kind):
        if field.name not in value:
            continue
        name, inner = f"{prefix}.{field.name}", value[field.name]
        yield name
        for part in _structs_in(field.type):
            items = inner if isinstance(inner, list) else [inner]
            if isinstance(inner, dict) and part in (events.ModelTokens, events.ToolStats):
                items = list(inner.values())
            for item in items:
                if item is not None:
                    yield from seen_in(item, part, name)


OTHERS = ("gap", "session_reported", "message_recorded", "message_removed")
"""Events that are made elsewhere."""
KINDS: dict[str, type[events.SessionEvent]] = {
    str(kind.__struct_config__.tag): kind
    for kind in get_args(events.AnyEvent)
    if kind.__struct_config__.tag not in OTHERS
}


@pytest.mark.parametrize("dialect", FULL_SESSIONS)
def test_sessions_of_every_dialect_make_every_event(dialect: str) -> None:
    options = {"include_streaming_events": True, "snapshot_every_requests": 1}
    found = told(scribe(**options), *FULL_SESSIONS[dialect])
    assert set(kinds(found)) == set(KINDS)
    for event in found:
        msgspec.json.decode(json.dumps(event), type=events.AnyEvent)


def test_every_field_of_every_event_is_produced() -> None:
    options = {"include_streaming_events": True, "snapshot_every_requests": 1}
    seen: set[str] = set()
    for session in FULL_SESSIONS.values():
        for event in told(scribe(**options), *session):
            seen.update(seen_in(event, KINDS[event["type"]], event["type"]))
    wanted = {name for name_, kind in KINDS.items() for name in fields_of(kind, name_)}
    assert wanted - seen - NOT_OURS == set()


@pytest.mark.parametrize("dialect", FULL_SESSIONS)
def test_without_content_no_word_is_recorded(dialect: str) -> None:
    options = {"include_streaming_events": True, "content": "metadata"}
    full = told(scribe(include_streaming_events=True), *FULL_SESSIONS[dialect])
    bare = told(scribe(**options), *FULL_SESSIONS[dialect])
    assert kinds(bare) == kinds(full)
    assert "lighthouse" in json.dumps(full)
    assert "lighthouse" not in json.dumps(bare)


def test_events_are_written_as_they_always_were() -> None:
    """The samples stay as they are: files of this version must be readable for ever."""
    session = FULL_SESSIONS["openai_chat"]
    options = {"include_streaming_events": True, "snapshot_every_requests": 2}
    firsts: dict[str, Event] = {}
    for event in told(scribe(**options), *session):
        firsts.setdefault(event["type"], event)
    samples = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
    assert list(firsts.values()) == samples
