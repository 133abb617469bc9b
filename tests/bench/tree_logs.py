"""A small log with its truths, as sessionbench builds them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.analysis.exchanges import assistant, chat, completion, result, user
from tests.storage.families import call

TASKS = (
    "Find all callers of the function load and list them by file.",
    "Write a test for the parser of configuration files.",
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def write(folder: Path, *, answers: tuple[str, str] = ("There are three.", "Written.")) -> None:
    """Write the scenario ``small``: an agent with two sub-agents, and a retry."""
    both = call("c1", "task", prompt=TASKS[0])
    both["tool_calls"] += call("c2", "task", prompt=TASKS[1])["tool_calls"]
    results = [result("c1", answers[0]), result("c2", answers[1])]
    history = [user("refactor"), both, *results]
    lines: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []

    def exchange(
        session: str, messages: list[Any], answer: Any, relation: str, parent: str | None = None
    ) -> None:
        number = len(lines)
        body = completion(answer) if answer is not None else None
        lines.append(
            {
                "request_id": f"r{number}",
                "timestamp": (START + timedelta(seconds=10 * number)).isoformat(),
                "request": {
                    "method": "POST",
                    "path": "/v1/chat/completions",
                    "headers": {"Authorization": "Bearer key"},
                    # Sub-agents have instructions of their own.
                    "body": chat(
                        {"role": "system", "content": "Help." if parent else "Lead."}, *messages
                    ),
                },
                "response": {"status": 200 if body else 529, "body": body, "duration_ms": 1000},
            }
        )
        truths.append(
            {
                "request_id": f"r{number}",
                "session": session,
                "parent_session": parent,
                "relation": relation,
                "tenant": "t",
                "ambiguous": False,
            }
        )

    exchange("lead", ["refactor"], both, "first")
    exchange("one", [TASKS[0]], answers[0], "subagent", "lead")
    exchange("two", [TASKS[1]], None, "subagent", "lead")
    exchange("two", [TASKS[1]], answers[1], "retry", "lead")
    exchange("lead", history, "Done.", "continue")
    exchange("lead", [*history, assistant("Done."), "thanks"], "Gladly.", "continue")
    for name, rows in (("exchanges", lines), ("truth", truths)):
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"small.{name}.jsonl").write_text(text, encoding="utf-8")
