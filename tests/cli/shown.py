"""Recorded sessions to show, and how they look."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, RenderableType

from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.reading import following
from gateway_sessions.storage.results import Detail, Page
from gateway_sessions.storage.search import Search
from tests.storage.recorded import Talk

EVIL = "a\x1b]0;owned\x07\x1b[2Jb\r\x9b31m\u202ec[bold]d"
TALKS = (
    Talk("sess_egg")
    .ask("How long do I boil an egg?\nA big one.", "Seven minutes.", thinking_tokens=7)
    .ask("Soft?", "Five.", cost_usd=None, success=0, error_message="client_closed", status=None),
    Talk("sess_agent")
    .ask("Repair what fails.", "x" * 3000)
    .call("run_tests", "call_1")
    .call("read_file", "call_2", output_size_bytes=None, success=None, execution_time_ms=None)
    .call("bash", "call_3", success=0, tool_arguments='{"c":"' + "y" * 300 + '"}'),
    Talk("sess_child", parent="sess_agent", root="sess_agent").ask(),
    Talk("sess_live", completed=False).ask(
        "Wait", None, success=None, status=None, finish_reason=None
    ),
    Talk(f"sess_{EVIL}", provider=EVIL, client_ip=EVIL, user_agent=EVIL)
    .ask(EVIL, EVIL, model_name=EVIL, error_message=EVIL, finish_reason=EVIL, success=0)
    .call(EVIL, EVIL, tool_arguments=EVIL),
)


def printed(parts: Iterable[RenderableType], width: int = 140) -> str:
    out = io.StringIO()
    screen = Console(file=out, width=width, markup=False, emoji=False, highlight=False)
    for part in parts:
        screen.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def page_of(database: Path, wanted: SessionFilter) -> Page:
    with following(database) as connection:
        return Search(connection).page(wanted)


def detail_of(database: Path, session_id: str) -> Detail:
    with following(database) as connection:
        return Search(connection).detail(session_id)
