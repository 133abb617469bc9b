"""Which wire format the bodies of a log are in, where the log does not tell."""

from __future__ import annotations

from typing import Any

from gateway_sessions.dialects.parsing import Json

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
EMBEDDINGS = "/v1/embeddings"

ASKING = ("messages", "input", "prompt", "contents")
"""The fields of which a request has one: what is asked."""

_ANTHROPICS_OWN = ("system", "anthropic_version", "stop_sequences", "thinking")
"""Fields of requests that Anthropic's format has and OpenAI's has not."""


def path_for(request: Json, reply: Any) -> str:
    """Return the path at which a provider takes such a request; empty if there is none."""
    answered = reply if type(reply) is dict else {}
    if "contents" in request:
        return generate_path(request.get("model"))
    if "messages" in request:
        return MESSAGES if _is_anthropics(request, answered) else CHAT
    if "input" in request:
        listed = answered.get("object") == "list" or "embed" in str(request.get("model"))
        return EMBEDDINGS if listed else RESPONSES
    return COMPLETIONS if "prompt" in request else ""


def generate_path(model: Any) -> str:
    """Return the path of Gemini's format, where it is the path that names the model."""
    return f"/v1beta/models/{model or 'unknown'}:generateContent"


def _is_anthropics(request: Json, answered: Json) -> bool:
    if "choices" in answered:
        return False
    if answered.get("type") == "message" or any(name in request for name in _ANTHROPICS_OWN):
        return True
    tools = request.get("tools")
    return type(tools) is list and any(type(t) is dict and "input_schema" in t for t in tools)
