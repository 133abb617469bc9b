"""Whole sessions on the wire, one per dialect, in which everything happens that is recorded.

A question with a system prompt and a tool; an answer that streams and calls the tool; its
result, which failed where the dialect can say so; an answer with cached, thought and spoken
tokens; a request that the provider refuses; another that can not be read; the end.
"""

from __future__ import annotations

from typing import Any

from gateway_sessions.exchange import Headers
from gateway_sessions.milestones import AnyMilestone
from tests.analysis.exchanges import arrived, chunk, ended, finished, first_byte, tag

WORDS = "How tall is the lighthouse?"
ANSWER = "The lighthouse is 38 metres tall."
ARGUMENTS = {"place": "lighthouse"}
LARGE = "The lighthouse keeper. " * 50
HEADERS: Headers = (
    ("User-Agent", "agent/1.0 (test)"),
    ("Anthropic-Version", "2023-06-01"),
    ("X-Gateway-Session-Tags", "coast"),
    ("Authorization", "***"),
)
PLACE = tag(
    "sess_0123456789abcdefghjk",
    relation="subagent",
    source="echo",
    confidence=0.95,
    root_session_id="sess_00000000000000000000",
    parent_session_id="sess_00000000000000000000",
    previous_session_id="sess_11111111111111111111",
    external_id="chat-7",
)
GAPS = (12.0, 20.0, 16.0)
Body = dict[str, Any]


def session(
    dialect: str,
    question: Body,
    calling: Body,
    answered: Body,
    answer: Body,
    error: Body,
    last: Body | None = None,
) -> list[AnyMilestone]:
    """Return the milestones of a session with these bodies; ``last`` lets it end well."""
    known: dict[str, Any] = {"dialect": dialect, "session": PLACE}
    streamed: dict[str, Any] = {"streamed": True, "chunks": 4, "gaps": GAPS, "model": "priced"}
    return [
        arrived("req_1", 0, question, _messages(question), headers=HEADERS, **known),
        first_byte("req_1", 0.3),
        chunk("req_1", 0.31, b"lighthouse"),
        finished("req_1", 1, calling, **known, **streamed),
        arrived("req_2", 3, answered, 1, **known),
        finished("req_2", 4, answer, **known, model="priced"),
        arrived("req_3", 5, answered, 1, **known),
        finished("req_3", 6, error, **known, status=400, model="priced"),
        arrived("req_4", 7, b'{"lighthouse', 0, **known),
        finished("req_4", 8, b"", **known, status=0, error="upstream_timeout", model="unknown"),
        *([finished("req_5", 9, last, **known, model="unknown")] if last else []),
        ended(10),
    ]


def _messages(body: Body) -> int:
    return max(len(body.get(name, ())) for name in ("messages", "input", "contents"))


def _openai_chat() -> list[AnyMilestone]:
    function = {"name": "measure", "arguments": '{"place":"lighthouse"}'}
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    question = {
        "model": "priced",
        "stream": True,
        "messages": [{"role": "system", "content": LARGE}, {"role": "user", "content": WORDS}],
        "tools": [{"type": "function", "function": {"name": "measure", "description": LARGE}}],
    }
    result = {"role": "tool", "tool_call_id": "c1", "content": "38 m to the lighthouse's top"}
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 4, "cache_write_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 5},
    }

    def reply(message: Body, finish: str) -> Body:
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {"id": "x", "model": "priced", "choices": [choice], "usage": usage}

    messages = [*question["messages"], call, result]  # type: ignore[misc]
    error = {"error": {"message": "lighthouse", "type": "invalid", "code": "content_filter"}}
    return session(
        "openai_chat",
        question,
        reply(call, "tool_calls"),
        question | {"messages": messages},
        reply({"role": "assistant", "content": ANSWER}, "stop"),
        error,
    )


def _openai_responses() -> list[AnyMilestone]:
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "measure",
        "arguments": '{"place":"lighthouse"}',
    }
    asked = {"role": "user", "content": WORDS}
    question = {
        "model": "priced",
        "instructions": LARGE,
        "input": [asked],
        "tools": [{"type": "function", "name": "measure"}],
    }
    result = {"type": "function_call_output", "call_id": "c1", "output": "38 m"}
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "input_tokens_details": {"cached_tokens": 60},
        "output_tokens_details": {"reasoning_tokens": 20},
    }
    said = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": ANSWER}],
    }

    def reply(item: Body) -> Body:
        return {
            "id": "resp_1",
            "model": "priced",
            "status": "completed",
            "output": [item],
            "usage": usage,
        }

    return session(
        "openai_responses",
        question,
        reply(call),
        question | {"input": [asked, call, result]},
        reply(said),
        {"error": {"message": "lighthouse", "type": "invalid"}},
    )


def _anthropic() -> list[AnyMilestone]:
    question = {
        "model": "priced",
        "max_tokens": 99,
        "system": LARGE,
        "messages": [{"role": "user", "content": WORDS}],
        "tools": [{"name": "measure", "input_schema": {}, "description": LARGE}],
    }
    use = {"type": "tool_use", "id": "toolu_1", "name": "measure", "input": ARGUMENTS}
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": "no lighthouse",
        "is_error": True,
    }
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    }

    def reply(block: Body, reason: str) -> Body:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "priced",
            "content": [block],
            "stop_reason": reason,
            "usage": usage,
        }

    messages = [
        *question["messages"],  # type: ignore[misc]
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    return session(
        "anthropic",
        question,
        reply(use, "tool_use"),
        question | {"messages": messages},
        reply({"type": "text", "text": ANSWER}, "end_turn"),
        {"type": "error", "error": {"type": "invalid_request_error", "message": "lighthouse"}},
    )


def _gemini() -> list[AnyMilestone]:
    asked = {"role": "user", "parts": [{"text": WORDS}]}
    call = {"role": "model", "parts": [{"functionCall": {"name": "measure", "args": ARGUMENTS}}]}
    response = {"name": "measure", "response": {"error": "no lighthouse"}}
    question = {
        "systemInstruction": {"parts": [{"text": LARGE}]},
        "contents": [asked],
        "tools": [{"functionDeclarations": [{"name": "measure"}]}],
    }
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "cachedContentTokenCount": 60,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
    }

    def reply(content: Body) -> Body:
        candidate = {"content": content, "finishReason": "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "priced"}

    return session(
        "gemini",
        question,
        reply(call),
        question
        | {"contents": [asked, call, {"role": "user", "parts": [{"functionResponse": response}]}]},
        reply({"role": "model", "parts": [{"text": ANSWER}]}),
        {"error": {"code": 400, "message": "lighthouse", "status": "INVALID_ARGUMENT"}},
        reply({"role": "model", "parts": [{"text": ANSWER}]}) | {"modelVersion": "unknown"},
    )


def _ollama() -> list[AnyMilestone]:
    call = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "measure", "arguments": ARGUMENTS}}],
    }
    asked = [{"role": "system", "content": LARGE}, {"role": "user", "content": WORDS}]
    question = {
        "model": "priced",
        "messages": asked,
        "tools": [{"type": "function", "function": {"name": "measure"}}],
    }
    result = {"role": "tool", "tool_name": "measure", "content": "38 m"}

    def reply(message: Body) -> Body:
        return {
            "model": "priced",
            "message": message,
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 100,
            "eval_count": 50,
        }

    return session(
        "ollama",
        question,
        reply(call),
        question | {"messages": [*asked, call, result]},
        reply({"role": "assistant", "content": ANSWER}),
        {"error": "lighthouse"},
    )


FULL_SESSIONS = {
    "openai_chat": _openai_chat(),
    "openai_responses": _openai_responses(),
    "anthropic": _anthropic(),
    "gemini": _gemini(),
    "ollama": _ollama(),
}
"""By dialect."""
