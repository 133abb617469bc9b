"""Requests as events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.analysis import rawjson, requests
from gateway_sessions.analysis.facts import Asked, asked
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.exchange import Client, Headers
from gateway_sessions.milestones import Arrived
from tests.analysis.exchanges import (
    Event,
    arrived,
    assistant,
    chat,
    finished,
    read,
    tag,
    user,
)


def facts_of(request: Arrived) -> Asked:
    sent = request.request
    return asked(request.dialect, sent.path, sent.body, request.new_messages)


def started(request: Arrived, **options: Any) -> Event:
    (event,) = read([requests.started(request, facts_of(request), ScribeOptions(**options))])
    return event


def recorded(request: Arrived, **options: Any) -> Event:
    found = requests.request_recorded(request, facts_of(request), {}, ScribeOptions(**options))
    (event,) = read([found])
    return event


def metadata(headers: Headers, body: Any = None, path: str = "/v1/chat/completions") -> Event:
    request = arrived("req_1", 0, body or chat("hi"), 1, headers=headers, path=path)
    found: Event = started(request)["metadata"]
    return found


def test_a_session_starts_with_its_place_among_others() -> None:
    place = tag(
        relation="subagent",
        source="echo",
        confidence=0.9,
        root_session_id="sess_root",
        parent_session_id="sess_parent",
        previous_session_id="sess_before",
        external_id="chat-7",
    )
    event = started(arrived("req_1", 0, chat("hi", stream=True), 1, session=place))
    assert event["type"] == "started"
    assert event["timestamp"] == "2026-01-01T12:00:00.000000Z"
    assert (event["root_session_id"], event["parent_session_id"]) == ("sess_root", "sess_parent")
    assert (event["relation"], event["source"], event["confidence"]) == ("subagent", "echo", 0.9)
    assert (event["provider"], event["listener"]) == ("openai", "openai_chat")
    assert (event["model_requested"], event["is_streaming"]) == ("m", True)
    assert event["metadata"]["external_id"] == "chat-7"
    assert event["metadata"]["previous_session_id"] == "sess_before"
    assert event["metadata"]["client_ip"] == "192.0.2.7"


def test_a_session_can_start_with_an_end() -> None:
    end = finished("req_1", 1, {}, streamed=True)
    (event,) = read([requests.started(end, Asked(), ScribeOptions())])
    assert event["is_streaming"] is True
    assert event["metadata"] == {"request_headers": {}}


def test_headers_go_by_lower_case_name_and_repeats_are_joined() -> None:
    found = metadata((("X-A", "1"), ("x-a", "2"), ("Authorization", "***")))
    assert found["request_headers"] == {"x-a": "1, 2", "authorization": "***"}
    # What is not ASCII in a header comes with surrogates.
    assert metadata((("X-A", "a\udcff"),))["request_headers"] == {"x-a": "a?"}


def test_the_user_agent_is_cut_or_left_out() -> None:
    request = arrived("req_1", 0, chat("hi"), 1, headers=(("User-Agent", "agent/1.0 (test)"),))
    cut = started(request, max_user_agent_length=5)["metadata"]
    assert cut["user_agent"] == cut["request_headers"]["user-agent"] == "agent"
    without = started(request, capture_user_agent=False)["metadata"]
    assert "user_agent" not in without
    assert without["request_headers"] == {}
    nobody = arrived("req_1", 0, chat("hi"), 1, client=Client("", ""))
    assert started(nobody)["metadata"] == {"request_headers": {}}


@pytest.mark.parametrize(
    ("headers", "path", "version"),
    [
        ((("Anthropic-Version", "2023-06-01"),), "/v1/messages", "2023-06-01"),
        ((("OpenAI-Version", "2020-10-01"),), "/", "2020-10-01"),
        ((), "/openai/deployments/x/chat/completions?api-version=2024-06-01", "2024-06-01"),
        ((), "/?xapi-version=1", None),
        ((), "/v1/chat/completions", None),
    ],
)
def test_the_version_of_the_api(headers: Headers, path: str, version: str | None) -> None:
    assert metadata(headers, path=path).get("api_version") == version


def test_tags_come_from_headers_and_the_body() -> None:
    headers = (("X-Gateway-Session-Tags", "a, b"), ("x-litellm-tags", "b,,c"))
    body = chat("hi", metadata={"tags": ["d", " a ", 5, "", "x" * 1000]})
    found = metadata(headers, body)["session_tags"]
    assert found == ["a", "b", "c", "d", "x" * requests.TAG_LENGTH]
    many = metadata((("x-litellm-tags", ",".join(map(str, range(1000)))),))
    assert len(many["session_tags"]) == requests.TAGS_LIMIT
    assert "session_tags" not in metadata((), chat("hi", metadata="x"))
    assert "session_tags" not in metadata((), chat("hi", metadata={"tags": "x"}))


TOOLS = [{"type": "function", "function": {"name": "f"}}]


def test_a_request_is_recorded_without_its_history() -> None:
    body = chat({"role": "system", "content": "be"}, "hi", assistant("so"), "more", tools=TOOLS)
    event = recorded(arrived("req_1", 0, body, 1, session=tag(relation="continue")))
    assert (event["message_count"], event["history_messages"]) == (4, 3)
    assert event["request_json"] == body | {"messages": [user("more")]}
    assert event["delta_messages"] == [user("more")]
    assert event["request_text"] == "more"
    assert (event["has_system_prompt"], event["has_tools"], event["tool_count"]) == (True, True, 1)
    assert event["pre_processing_ms"] == 0.5
    size = len(json.dumps(body))
    assert event["request_size_bytes"] == size
    assert event["estimated_tokens"] == -(-size // 4)
    assert event["relation"] == "continue"
    assert (event["is_streaming"], event["model_requested"]) == (False, "m")


def test_large_fields_are_recorded_once() -> None:
    tools = TOOLS * 100
    known: dict[str, int] = {}
    first, again = (
        json.loads(
            bytes(
                requests.request_recorded(
                    request, facts_of(request), known, ScribeOptions()
                ).request_json
                or b""
            )
        )
        for request in [arrived("req_1", 0, chat("hi", tools=tools), 1)] * 2
    )
    assert first["tools"] == tools
    assert "tools" not in again


@pytest.mark.parametrize(
    ("sent", "new", "dialect"),
    [
        (b'{"messages":[{"role":"user",\n"content":"hi"}]}', 1, "openai_chat"),
        (b'{"messages":[{"role":"user"},{"role":"user",\r\n"content":"hi"}]}', 1, "openai_chat"),
        (b'{"prompt":"hi","images":["a",\n"%b"]}' % (b"x" * rawjson.REPEATED_BYTES), 1, "ollama"),
    ],
)
def test_messages_are_recorded_on_one_line(sent: bytes, new: int, dialect: str) -> None:
    known: dict[str, int] = {}
    for number in range(2):
        request = arrived(f"req_{number}", number, sent, new, dialect=dialect)
        event = requests.request_recorded(request, facts_of(request), known, ScribeOptions())
        assert event.delta_messages
        assert not any(b"\n" in bytes(raw) or b"\r" in bytes(raw) for raw in event.delta_messages)
        assert b"\n" not in bytes(event.request_json or b"")


def test_without_content_only_facts_are_recorded() -> None:
    body = chat({"role": "system", "content": "secret"}, "secret", tools=TOOLS)
    full = recorded(arrived("req_1", 0, body, 2))
    facts_only = recorded(arrived("req_1", 0, body, 2), content="metadata")
    assert "secret" not in json.dumps(facts_only)
    content = {"request_text", "request_json", "delta_messages"}
    assert full.keys() - facts_only.keys() == content
    assert facts_only == {key: full[key] for key in full if key not in content}


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_can_not_be_read_is_recorded_without_content(sent: bytes) -> None:
    event = recorded(arrived("req_1", 0, sent, 0))
    assert event["parse_error"]
    assert event["request_size_bytes"] == len(sent)
    assert (event["message_count"], event["history_messages"], event["tool_count"]) == (0, 0, 0)
    assert not {"request_text", "request_json"} & event.keys()


def test_what_detection_could_not_read_says_why() -> None:
    event = recorded(arrived("req_1", 0, b"", 0, parse_error="the body was not inspected"))
    assert event["parse_error"] == "the body was not inspected"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bash=742;Read=9", [("Bash", 742.0), ("Read", 9.0)]),
        (" Bash=742 ; Bash=5", [("Bash", 742.0), ("Bash", 5.0)]),
        ("a=b=3", [("a=b", 3.0)]),
        ("Bash=-1;Read;=4;Edit=²;Grep=99999999999;", [("", 4.0)]),
        ("", []),
    ],
)
def test_measured_times_of_tools(value: str, expected: list[tuple[str, float]]) -> None:
    headers = (("X-Other", "x=1"), ("X-Claude-Code-Prev-Tool-Durations", value))
    assert requests.tool_durations(headers) == expected
