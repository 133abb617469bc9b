"""Bodies tell which wire format they are in."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.converters.shapes import generate_path, path_for
from gateway_sessions.dialects import dialect_for

ASKED = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("request_body", "reply", "dialect"),
    [
        ({"messages": ASKED}, None, "openai_chat"),
        ({"messages": ASKED, "tools": [{"type": "function"}]}, "text", "openai_chat"),
        ({"messages": ASKED}, {"type": "message", "content": []}, "anthropic"),
        ({"messages": ASKED, "system": "Be brief."}, None, "anthropic"),
        ({"messages": ASKED, "system": "Be brief."}, {"choices": []}, "openai_chat"),
        ({"messages": ASKED, "tools": [{"name": "x", "input_schema": {}}]}, None, "anthropic"),
        ({"input": "hi"}, {"output": []}, "openai_responses"),
        ({"prompt": "Once"}, None, "openai_completions"),
        ({"contents": [], "model": "gemini-3"}, None, "gemini"),
    ],
)
def test_a_request_is_known_by_its_fields(
    request_body: dict[str, Any], reply: Any, dialect: str
) -> None:
    found = dialect_for("POST", path_for(request_body, reply), ())
    assert found is not None
    assert found.name == dialect


@pytest.mark.parametrize(
    ("request_body", "reply"),
    [
        ({"input": "hi", "model": "text-embedding-3-small"}, None),
        ({"input": ["a", "b"]}, {"object": "list", "data": []}),
        ({"file": "x"}, None),
    ],
)
def test_what_is_no_conversation_has_no_dialect(request_body: dict[str, Any], reply: Any) -> None:
    assert dialect_for("POST", path_for(request_body, reply), ()) is None


def test_the_path_names_geminis_model() -> None:
    assert generate_path("gemini-3") == "/v1beta/models/gemini-3:generateContent"
    assert generate_path(None) == "/v1beta/models/unknown:generateContent"
