from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway_sessions.conversation import Conversation
from gateway_sessions.dialects.envelope import ABSENT, SESSION_FIELDS, present
from gateway_sessions.dialects.openai_chat import OpenAIChat
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import body


def read(**fields: Any) -> Conversation:
    return OpenAIChat().read_request(body({"role": "user", "content": "hi"}, **fields), "/")


def test_fields_of_a_plain_request() -> None:
    conversation = read(stream=True, tools=[{"type": "function"}])
    assert conversation.model == "m"
    assert conversation.stream
    assert json.loads(conversation.tools) == [{"type": "function"}]
    assert conversation.end_user == ""
    assert conversation.fields == {}


@pytest.mark.parametrize("name", SESSION_FIELDS)
def test_session_field_is_given_as_parsed_json(name: str) -> None:
    assert read(**{name: {"id": ["x"]}}).fields == {name: {"id": ["x"]}}
    assert read(**{name: None}).fields == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": "u", "safety_identifier": "s", "metadata": {"user_id": "m"}}, "u"),
        ({"user": "", "safety_identifier": "s", "metadata": {"user_id": "m"}}, "s"),
        ({"user": None, "metadata": {"user_id": "m"}}, "m"),
        ({"metadata": {"user_id": {"session_id": "x", "id": 1}}}, '{"id":1,"session_id":"x"}'),
        ({"user": 7}, "7"),
        ({"metadata": "m"}, ""),
        ({"metadata": {"user_id": None}}, ""),
    ],
)
def test_end_user(fields: dict[str, Any], expected: str) -> None:
    assert read(**fields).end_user == expected


@pytest.mark.parametrize("value", [None, 0, 1.5, "true", [], {}, [1], {"a": 1}])
def test_wrong_types_of_what_matters_little_do_no_harm(value: Any) -> None:
    others = ("stream", "tools", "n", "stop", *SESSION_FIELDS)
    conversation = read(**dict.fromkeys(others, value))
    assert not conversation.stream
    assert len(conversation.messages) == 1
    assert read(model=5).model == ""


def test_unreadable_field_is_left_out() -> None:
    sent = b'{"messages": [{}], "metadata": {"a": "\xff"}, "session_id": "s", "other": "\xff"}'
    assert OpenAIChat().read_request(sent, "/").fields == {"session_id": "s"}


def test_messages_are_slices_as_sent() -> None:
    sent = b'{"messages": [ {"role" : "user"}\n, "odd" ], "messages_": 1}'
    messages = OpenAIChat().read_request(sent, "/").messages
    assert [bytes(raw) for raw in messages] == [b'{"role" : "user"}', b'"odd"']


def test_request_without_messages_is_none() -> None:
    with pytest.raises(UnreadableBody, match="no messages"):
        OpenAIChat().read_request(b'{"messages": []}', "/")


def test_null_counts_as_missing() -> None:
    assert present(Raw(b"0"))
    assert present(Raw(b'""'))
    assert not present(Raw(b"null"))
    assert not present(ABSENT)
