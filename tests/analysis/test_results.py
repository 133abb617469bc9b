"""What tool results say about themselves, dialect by dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway_sessions.analysis.results import Outcome, outcomes, read_outcomes, reply_outcomes


def anthropic(**fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", **fields}]}


def gemini(response: Any, key: str = "functionResponse") -> dict[str, Any]:
    return {"role": "user", "parts": [{key: {"name": "f", "response": response}}]}


def converse(**fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"toolResult": {"toolUseId": "t", **fields}}]}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (anthropic(content="42"), Outcome("", True)),
        (anthropic(is_error=True), Outcome("", False)),
        (anthropic(is_error=False), Outcome("", True)),
        (anthropic(content={"type": "web_search_tool_result_error"}), Outcome("", False)),
        (gemini({"output": 4}), Outcome("f", True)),
        (gemini({"error": "no"}), Outcome("f", False)),
        (gemini({"error": ""}, "function_response"), Outcome("f", True)),
        (gemini(5), Outcome("f", True)),
        ({"parts": {"functionResponse": {"name": "f"}}}, Outcome("f", True)),
        (converse(status="success"), Outcome("", True)),
        (converse(status="error"), Outcome("", False)),
        (converse(), Outcome("", None)),
        ({"role": "tool", "tool_call_id": "c", "content": "42"}, Outcome("", None)),
        ({"role": "function", "name": "f", "content": "42"}, Outcome("f", None)),
        ({"role": "tool", "tool_name": "f", "content": "42"}, Outcome("f", None)),
        ({"type": "function_call_output", "call_id": "c", "output": "42"}, Outcome("", None)),
        ({"type": "mcp_call", "name": "f", "output": "4", "error": None}, Outcome("f", True)),
        ({"type": "mcp_call", "name": "f", "output": "", "error": "no"}, Outcome("f", False)),
    ],
)
def test_a_result_says(message: Any, expected: Outcome) -> None:
    assert outcomes(message) == [expected]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "42"},
        {"role": "user", "content": [{"type": "text", "text": "42"}, 5, None]},
        {"type": "mcp_call", "name": "f", "output": None},
        {"parts": [{"text": "hi"}]},
        "hi",
        None,
    ],
)
def test_what_is_no_result_says_nothing(message: Any) -> None:
    assert outcomes(message) == []


def test_outcomes_stand_in_the_order_of_results() -> None:
    blocks = [
        {"type": "tool_result", "tool_use_id": "a", "is_error": True},
        {"type": "text", "text": "so"},
        {"type": "tool_result", "tool_use_id": "b"},
    ]
    found = outcomes({"role": "user", "content": blocks})
    assert [outcome.success for outcome in found] == [False, True]


def test_what_is_no_json_says_nothing() -> None:
    assert read_outcomes(Raw(b'{"role":')) == []
    assert reply_outcomes(b"<html>") == []


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"content": [{"type": "mcp_tool_result", "is_error": True}]}, [Outcome("", False)]),
        (
            {"output": [{"type": "message"}, {"type": "mcp_call", "name": "f", "output": "4"}]},
            [Outcome("f", True)],
        ),
        (
            {
                "candidates": [
                    {"content": {"parts": [{"codeExecutionResult": {"outcome": "OUTCOME_OK"}}]}}
                ]
            },
            [Outcome("code_execution", True)],
        ),
        (
            {
                "response": {
                    "candidates": [
                        {
                            "content": {
                                "parts": [{"codeExecutionResult": {"outcome": "OUTCOME_FAILED"}}]
                            }
                        }
                    ]
                }
            },
            [Outcome("code_execution", False)],
        ),
        ({"candidates": []}, []),
        ([], []),
    ],
)
def test_results_of_the_providers_own_tools(reply: Any, expected: list[Outcome]) -> None:
    assert reply_outcomes(json.dumps(reply).encode()) == expected
