"""Models and tools in a period."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from gateway_sessions.storage.readers import open_reader
from interceptors.dashboard.figures import PERIODS
from interceptors.dashboard.usage import Use, use
from tests.interceptors.dashboard.served import database
from tests.interceptors.dashboard.test_figures import talks
from tests.storage.recorded import NOW


def read_use(path: Path, period: str) -> Use:
    with closing(open_reader(path)) as connection:
        return use(connection, PERIODS[period], NOW)


def test_models_and_tools(tmp_path: Path) -> None:
    found = read_use(database(tmp_path / "s.db", talks()), "week")
    assert [(one.model, one.requests, one.errors) for one in found.models] == [
        ("gpt-5-mini", 3, 1),
        ("own", 1, 0),
    ]
    assert found.models[0].latency.p50_ms == 1000.0
    (tool,) = found.tools
    assert (tool.key, tool.calls, tool.errors, tool.answered, tool.sessions) == (
        "grep", 2, 1, 2, 1,
    )  # fmt: skip


def test_those_called_most_come_first(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", [talks()[1].call("read", "call_3")])
    assert [tool.key for tool in read_use(path, "day").tools] == ["grep", "read"]


def test_nothing_recorded(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", [])
    assert read_use(path, "day") == Use(period="day", models=(), tools=())
