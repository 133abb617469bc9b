"""Messages that say only text are read without a dialect as the dialect would read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway_sessions.conversation import Conversation
from gateway_sessions.detection.plain import plain_message, read_all, read_plain, read_plains
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.testing import assistant, tool_call, tool_result, user
from tests.detection.talk import chat, claude

CALL, RESULT = tool_call("call_1", "look", {"a": 1}), tool_result("call_1", "found")
X: dict[str, Any] = {"type": "text", "text": "x"}
EMPTY = X | {"text": ""}
PICTURE = {"role": "user", "content": [X, {"type": "image", "source": {"data": "eA=="}}]}
FOR_CLAUDE: list[Any] = [
    user("hi"), user("a b\n"), user(""), user(" \n"), user("e\u0301"), user("nul\0nul"),
    user('"quoted" \\ and \u00a0'), assistant("hi"), assistant(""), assistant("한국어"),
    {"role": "user", "content": [X, X | {"text": "y"}]}, {"role": "assistant", "content": [X]},
    {"role": "user", "content": [EMPTY, X, EMPTY]}, {"role": "user", "content": []},
    {"role": "user", "content": [X | {"cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "content": [X | {"citations": None}]}, PICTURE,
    {"role": "system", "content": "Be kind."}, {"role": "assistant", "content": None},
    {"role": "user", "content": "hi", "name": "me"},
]  # fmt: skip


@pytest.mark.parametrize("bad", [{"role": "nobody", "content": "x"}, {"content": "x"}, "x", 1])
def test_a_message_of_a_wrong_shape_is_found_out(bad: Any) -> None:
    conversation = chat(user("hi"), bad, user("hi"))
    assert read_plains(conversation, conversation.messages) is None
    assert read_plain(conversation, conversation.messages[1]) is None
    with pytest.raises(UnreadableBody):
        read_all(conversation, conversation.messages)


@pytest.mark.parametrize("make", [chat, claude])
@pytest.mark.parametrize("said", FOR_CLAUDE, ids=json.dumps)
def test_plain_messages_are_read_as_the_dialect_reads_them(make: Any, said: Any) -> None:
    conversation = make(said, user("hi"))
    as_read = [conversation.read(raw) for raw in conversation.messages]
    assert read_all(conversation, conversation.messages)[0] == as_read
    alone = read_plain(conversation, conversation.messages[0])
    if alone is not None:
        assert (plain_message(*alone),) == as_read[0]


@pytest.mark.parametrize(
    "sent",
    [
        b'{"content":"hi","role":"user"}',
        b'{ "role" : "user" , "content" : "h\\u0069" }',
        b'{"role":"assistant","content":"x","role":"user"}',
    ],
)
def test_the_spelling_does_not_matter(sent: bytes) -> None:
    conversation = chat(user("hi"))
    assert read_plain(conversation, Raw(sent)) is not None
    assert read_all(conversation, [Raw(sent)])[0] == [conversation.read(Raw(sent))]


@pytest.mark.parametrize("said", [CALL, RESULT, PICTURE, {**user("x"), "name": "me"}])
def test_other_messages_are_not_plain(said: Any) -> None:
    conversation = chat(user("hi"), said)
    assert read_plains(conversation, conversation.messages[:1]) == (["user"], [["hi"]])
    assert read_plains(conversation, conversation.messages) is None
    assert read_plain(conversation, conversation.messages[1]) is None


def test_a_dialect_without_plain_messages() -> None:
    conversation = chat(user("hi"))
    other = Conversation(conversation.messages, conversation.read)
    assert read_plain(other, other.messages[0]) is None
    assert read_plains(other, other.messages) is None
    assert read_all(other, other.messages)[0] == [conversation.read(conversation.messages[0])]
