"""How the embedded upstream's answers look in OpenAI's wire formats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gateway_sessions.dialects.parsing import Json, mapping
from gateway_sessions.web.echo_answers import (
    Answer,
    Question,
    compact,
    in_pieces,
    new_id,
    sse_event,
)


def openai_chat(question: Question) -> Answer:
    """Return a ``chat.completion``, with ``n`` choices, or its chunks."""
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    if question.call:
        name, values = question.call
        function = {"name": name, "arguments": compact(values)}
        call = {"id": new_id("call_", 24), "type": "function", "function": function}
        messages = [message | {"tool_calls": [call]}]
    else:
        messages = [message | {"content": text} for text in question.texts]
    finish = "tool_calls" if question.call else "stop"
    frame = {
        "id": new_id("chatcmpl-", 29),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": question.model,
        "system_fingerprint": "fp_echo",
    }
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
        for index, message in enumerate(messages)
    ]
    usage = {
        "prompt_tokens": question.input_tokens,
        "completion_tokens": question.output_tokens,
        "total_tokens": question.input_tokens + question.output_tokens,
    }
    chunk = frame | {"object": "chat.completion.chunk"}
    deltas = [
        {"index": index, "delta": delta, "logprobs": None, "finish_reason": end}
        for index, message in enumerate(messages)
        for delta, end in [*((delta, None) for delta in _chat_deltas(message)), ({}, finish)]
    ]
    events = [sse_event(chunk | {"choices": [delta]}) for delta in deltas]
    if mapping(question.options.get("stream_options")).get("include_usage"):
        events.append(sse_event(chunk | {"choices": [], "usage": usage}))
    body = frame | {"choices": choices, "usage": usage}
    return Answer(body, (*events, b"data: [DONE]\n\n"))


def _chat_deltas(message: Json) -> Iterator[Json]:
    """Return what a stream of chunks says of a message, bit by bit."""
    content = message["content"]
    yield {"role": "assistant", "content": content and "", "refusal": None}
    for piece in in_pieces(content or ""):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [call | {"index": index, "function": function | {"arguments": ""}}]}
        for piece in in_pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def openai_responses(question: Question) -> Answer:
    """Return a ``response``, or the events from ``response.created`` to its completion."""
    item, deltas = _output_item(question)
    options = question.options
    frame = {
        "id": new_id("resp_", 48),
        "object": "response",
        "created_at": int(time.time()),
        "error": None,
        "incomplete_details": None,
        "instructions": options.get("instructions"),
        "metadata": options.get("metadata") or {},
        "model": question.model,
        "parallel_tool_calls": True,
        "previous_response_id": options.get("previous_response_id"),
        "conversation": _conversation(options.get("conversation")),
        "temperature": options.get("temperature"),
        "tool_choice": options.get("tool_choice") or "auto",
        "tools": options.get("tools") or [],
        "top_p": options.get("top_p"),
    }
    usage = {
        "input_tokens": question.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": question.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": question.input_tokens + question.output_tokens,
    }
    begun = frame | {"status": "in_progress", "output": [], "usage": None}
    body = frame | {"status": "completed", "output": [item], "usage": usage}
    empty: Json = {"arguments": ""} if question.call else {"content": []}
    opened = item | empty | {"status": "in_progress"}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        *(delta | {"output_index": 0, "item_id": item["id"]} for delta in deltas),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": body},
    ]
    numbered = (data | {"sequence_number": number} for number, data in enumerate(events))
    return Answer(body, tuple(sse_event(data, data["type"]) for data in numbered))


def _output_item(question: Question) -> tuple[Json, list[Json]]:
    """Return the one item of an output, and the events that tell it bit by bit."""
    if question.call:
        name, values = question.call
        arguments = compact(values)
        item = {"type": "function_call", "id": new_id("fc_", 48), "status": "completed"}
        item |= {"call_id": new_id("call_", 24), "name": name, "arguments": arguments}
        kind = "response.function_call_arguments"
        deltas = [{"type": f"{kind}.delta", "delta": piece} for piece in in_pieces(arguments)]
        return item, [*deltas, {"type": f"{kind}.done", "name": name, "arguments": arguments}]
    text = question.texts[0]
    part: Json = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": new_id("msg_", 48), "role": "assistant"}
    kind, place = "response.output_text", {"content_index": 0}
    events: list[Json] = [
        {"type": "response.content_part.added", "part": part | {"text": ""}},
        *({"type": f"{kind}.delta", "delta": piece, "logprobs": []} for piece in in_pieces(text)),
        {"type": f"{kind}.done", "text": text, "logprobs": []},
        {"type": "response.content_part.done", "part": part},
    ]
    whole = message | {"status": "completed", "content": [part]}
    return whole, [data | place for data in events]


def _conversation(sent: Any) -> Json | None:
    """Return the conversation that a request names, by its id or as an object."""
    return {"id": sent} if isinstance(sent, str) else sent
