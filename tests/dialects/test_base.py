"""The contract of every dialect in the table."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.conversation import ASSISTANT, SYSTEM, USER, Conversation, Message, Text
from gateway_sessions.dialects import ROUTES, Dialect
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import FIELDS, HOSTILE, cuts, raw, request, streamed, user

DIALECTS = list({route.dialect.name: route.dialect for route in ROUTES}.values())
every = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)

WORDS = st.sampled_from(
    ["role", "content", "type", "text", "user", "assistant", "tool", "tool_calls", "function",
     "name", "arguments", "id", "index", "input", "source", "data", "url", "image", "image_url",
     "tool_use", "tool_result", "thinking", "choices", "delta", "message", "usage", "messages",
     "content_block", "content_block_start", "content_block_delta", "message_start",
     "message_delta", "stop_reason", "finish_reason", "partial_json", "citation", "metadata",
     "user_id", "error", "logprobs", "refusal", "reasoning", "audio", "parts", "functionCall",
     "functionResponse", "inlineData", "args", "candidates", "finishReason", "output", "item",
     "call_id", "summary", "function_call", "function_call_output", "reasoning_text", "status",
     "response", "response.created", "response.output_item.added", "response.output_text.delta",
     "response.completed", "output_index", "content_index", "done", "images", "toolUse",
     "toolResult", "toolUseId", "json", "contentBlockDelta", "contentBlockStart", "messageStop",
     "contentBlockIndex", "reasoningContent", "message-start", "content-start", "content-delta",
     "message-end", "prompt", "suffix", "action"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.floats(-2, 2) | WORDS
FOREIGN: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
)
"""JSON of the right words in any shape."""


def everything(conversation: Conversation) -> list[Message]:
    return [message for item in conversation.messages for message in conversation.read(item)]


READABLE = {
    "openai_responses": ("messages are a string",),
    "openai_completions": ("messages are a string", "messages are empty"),
}
"""What is hostile elsewhere and well-formed in a dialect."""


@every
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_unreadable_and_nothing_else(dialect: Dialect, name: str) -> None:
    field = FIELDS.get(dialect.name, "messages").encode()
    sent = HOSTILE[name].replace(b'"messages"', b'"anthropic_version": 1, "%b"' % field)
    if name in READABLE.get(dialect.name, ()):
        assert everything(dialect.read_request(sent, "/"))
        return
    with pytest.raises(UnreadableBody) as raised:
        everything(dialect.read_request(sent, "/"))
    assert re.fullmatch(r"[A-Z].*\.", str(raised.value), re.DOTALL)


@every
def test_reply_that_is_no_json_is_unreadable(dialect: Dialect) -> None:
    for sent in (b"<html>", b"", HOSTILE["deep"], b'{"id": NaN}', b'{"id": "\xff"}'):
        with pytest.raises(UnreadableBody):
            dialect.read_reply(sent)


@every
@given(value=FOREIGN)
def test_any_message_is_read_or_unreadable(dialect: Dialect, value: Any) -> None:
    for message in (
        value,
        {"role": "user", "content": value, "parts": value},
        {"role": "assistant", **dict_of(value)},
        {"role": "model", "parts": [value]},
        {"role": "user", **dict_of(value)},
    ):
        try:
            found = dialect.read_request(request(dialect.name, message), "/").read(raw(message))
        except UnreadableBody:
            continue
        assert found
        assert all(item.role in (SYSTEM, USER, ASSISTANT) for item in found)


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"content": [value]}


@every
@given(value=FOREIGN)
def test_any_request_is_read_or_unreadable(dialect: Dialect, value: Any) -> None:
    kept = {FIELDS.get(dialect.name, "messages"), "suffix"}
    fields = {key: item for key, item in dict_of(value).items() if key not in kept}
    body = request(dialect.name, user(dialect.name, "hi"), **fields)
    conversation = dialect.read_request(body, "/")
    assert everything(conversation) == [Message(USER, (Text("hi"),))]


@every
@given(value=FOREIGN)
def test_any_json_is_a_reply(dialect: Dialect, value: Any) -> None:
    reply = dialect.read_reply(json.dumps(value).encode())
    assert all(message.role == ASSISTANT for message in reply.messages)


@every
@given(
    values=st.lists(st.tuples(FOREIGN, WORDS), max_size=6),
    junk=st.binary(max_size=20),
    seed=st.integers(0, 99),
)
def test_assembler_takes_any_stream_however_cut(
    dialect: Dialect, values: list[tuple[Any, str]], junk: bytes, seed: int
) -> None:
    stream = b"".join(streamed(dialect.name, *value) for value in values) + junk
    whole, pieces = dialect.assembler(), dialect.assembler()
    whole.feed(stream)
    for piece in cuts(stream, seed):
        pieces.feed(piece)
    assert whole.reply() == pieces.reply() == whole.reply()
    assert whole.finished == pieces.finished


@every
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529])
def test_errors_are_json_with_the_message_in_it(dialect: Dialect, status: int) -> None:
    text = json.dumps(json.loads(dialect.error_body(status, "bad \ud800 news")))
    assert "bad ? news" in text


@every
def test_names_are_those_of_metrics(dialect: Dialect) -> None:
    assert re.fullmatch(r"[a-z_]+", dialect.name)
    assert re.fullmatch(r"[a-z]+", dialect.provider)


@every
def test_streams_are_known_by_their_content_type(dialect: Dialect) -> None:
    for kind in ("text/event-stream", "Text/Event-Stream; charset=utf-8", "application/x-ndjson"):
        assert dialect.streams(kind, asked=False)
    assert not dialect.streams("application/json", asked=False)
    assert dialect.streams("application/json", asked=True) is (dialect.name == "gemini")
