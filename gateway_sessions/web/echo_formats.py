"""How the embedded upstream's answers look in each wire format, whole and as a stream.

A new format is one function from `Question` to `Answer` and a row in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway_sessions.dialects.parsing import Json
from gateway_sessions.web.echo_answers import (
    Answer,
    Question,
    compact,
    in_pieces,
    new_id,
    sse_event,
)
from gateway_sessions.web.echo_openai import openai_chat, openai_responses


def anthropic(question: Question) -> Answer:
    """Return a ``message``, or the events from ``message_start`` to ``message_stop``."""
    if question.call:
        name, values = question.call
        block = {"type": "tool_use", "id": new_id("toolu_01", 22), "name": name, "input": values}
        start, pieces = block | {"input": {}}, ("input_json_delta", "partial_json", compact(values))
    else:
        block = {"type": "text", "text": question.texts[0]}
        start, pieces = block | {"text": ""}, ("text_delta", "text", question.texts[0])
    end = {"stop_reason": "tool_use" if question.call else "end_turn", "stop_sequence": None}
    usage = {
        "input_tokens": question.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": question.output_tokens,
    }
    frame = {
        "id": new_id("msg_01", 22),
        "type": "message",
        "role": "assistant",
        "model": question.model,
    }
    opening: Json = {"content": [], "stop_reason": None, "stop_sequence": None}
    kind, key, whole = pieces
    events: list[Json] = [
        {
            "type": "message_start",
            "message": frame | opening | {"usage": usage | {"output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: piece}}
            for piece in in_pieces(whole)
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": question.output_tokens}},
        {"type": "message_stop"},
    ]
    body = frame | {"content": [block]} | end | {"usage": usage}
    return Answer(body, tuple(sse_event(event, event["type"]) for event in events))


def gemini(question: Question) -> Answer:
    """Return a response, or what a stream makes of it: events, or an array without ``alt=sse``."""
    parts: list[Json] = [{"text": piece} for piece in in_pieces(question.texts[0])]
    whole: list[Json] = [{"text": question.texts[0]}]
    if question.call:
        name, values = question.call
        whole = parts = [{"functionCall": {"name": name, "args": values}}]
    frame: Json = {"modelVersion": question.model, "responseId": new_id("", 23)}
    usage = {
        "promptTokenCount": question.input_tokens,
        "candidatesTokenCount": question.output_tokens,
        "totalTokenCount": question.input_tokens + question.output_tokens,
    }
    frame |= {"usageMetadata": usage}
    body: Json = {"candidates": [_candidate(whole, "STOP")]} | frame
    ends = [*("" for _ in parts[1:]), "STOP"]
    chunks: list[Json] = [
        {"candidates": [_candidate([part], end)]} | frame
        for part, end in zip(parts, ends, strict=True)
    ]
    if "request" in question.options:  # the envelope of Code Assist
        body, chunks = {"response": body}, [{"response": chunk} for chunk in chunks]
    if "alt=sse" in question.path:
        return Answer(body, tuple(sse_event(chunk) for chunk in chunks))
    lines = [b",\r\n" + msgspec.json.encode(chunk) for chunk in chunks]
    lines[0] = b"[" + lines[0].removeprefix(b",\r\n")
    lines[-1] += b"]"
    return Answer(body, tuple(lines), "application/json; charset=utf-8")


def _candidate(parts: list[Json], finish: str) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    return candidate | ({"finishReason": finish} if finish else {})


def ollama(question: Question) -> Answer:
    """Return a response to a chat or a prompt, or its lines."""
    frame = {"model": question.model, "created_at": datetime.now(UTC).isoformat()}
    end = {
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": question.input_tokens,
        "eval_count": question.output_tokens,
    }
    text = "" if question.call else question.texts[0]
    if question.path.partition("?")[0].endswith("/generate"):
        whole: Json = {"response": text}
        deltas: list[Json] = [{"response": piece} for piece in in_pieces(text)]
        last: Json = {"response": ""}
    else:
        said = {"role": "assistant", "content": text}
        call = _ollama_call(question.call) if question.call else {}
        whole, last = {"message": said | call}, {"message": said | {"content": ""}}
        deltas = [{"message": said | {"content": piece}} for piece in in_pieces(text)]
        deltas += [{"message": said | call}] if call else []
    lines = [*(frame | delta | {"done": False} for delta in deltas), frame | last | end]
    events = tuple(msgspec.json.encode(line) + b"\n" for line in lines)
    return Answer(frame | whole | end, events, "application/x-ndjson")


def _ollama_call(call: tuple[str, Any]) -> Json:
    name, values = call
    return {"tool_calls": [{"function": {"name": name, "arguments": values}}]}


FORMATS: dict[str, Callable[[Question], Answer]] = {
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "anthropic": anthropic,
    "gemini": gemini,
    "ollama": ollama,
}
"""The formats that the echo speaks, by the name of their dialect."""
