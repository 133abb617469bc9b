"""Agents that give tasks to others, for the rules that go by quoted text."""

from __future__ import annotations

import json
from typing import Any

from gateway_sessions.testing import ChatClient, Desk, Json, tool_result

TASK = "Find every place where the configuration is read and list them with their line numbers."
OTHER_TASK = "Write a test for the parser that covers nested lists of more than three levels."
CHILD = "You are a worker. Do your task and report."


def agent(desk: Desk, **options: Any) -> ChatClient:
    """Return a client with instructions of its own, as agents have."""
    return desk.client(**{"system": "You are the lead. Give work away.", **options})


def child(desk: Desk, **options: Any) -> ChatClient:
    return desk.client(**{"system": CHILD, **options})


def giving(*given: str, name: str = "task") -> Json:
    """Return an answer that gives tasks away."""
    made = [
        {
            "id": f"call_{n}_{len(text)}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps({"prompt": text, "kind": "worker"})},
        }
        for n, text in enumerate(given)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def offered(*names: str) -> list[Json]:
    return [{"type": "function", "function": {"name": name}} for name in names]


def results(answer: Json, text: str = "Done.") -> list[Json]:
    return [tool_result(call["id"], text) for call in answer["tool_calls"]]
