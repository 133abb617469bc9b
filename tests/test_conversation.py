from __future__ import annotations

import msgspec
import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Conversation,
    Media,
    Message,
    Part,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)

PARTS: list[Part] = [
    Text("a"),
    Thinking("b"),
    Media("AAAA"),
    ToolCall("call_1", "f", {"x": [1, None]}),
    ToolResult("call_1", (Text("a"), Media("AAAA"))),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_parts_are_values_that_can_be_written_down(part: Part) -> None:
    written = msgspec.json.encode(Message(USER, (part,)))
    assert msgspec.json.decode(written, type=Message) == Message(USER, (part,))
    with pytest.raises(AttributeError):
        setattr(part, part.__struct_fields__[0], "x")


def test_parts_with_equal_fields_are_still_of_different_kinds() -> None:
    parts: list[Part] = [Text("a"), Thinking("a"), Media("a")]
    assert len(set(parts)) == len(parts)


def test_a_conversation_needs_no_more_than_messages() -> None:
    conversation = Conversation([], lambda raw: ())
    assert (conversation.system, conversation.tools, conversation.model) == (b"", b"", "")
    assert (conversation.end_user, conversation.stream) == ("", False)
    assert dict(conversation.fields) == {}


def test_a_reply_is_complete_unless_it_says_otherwise() -> None:
    reply = Reply((Message(ASSISTANT, (Text("a"),)),))
    assert reply.complete
    assert not reply.refused
    assert reply.usage is None


def test_counts_that_are_zero_are_left_out() -> None:
    assert msgspec.json.encode(Usage(input_tokens=3)) == b'{"input_tokens":3}'
