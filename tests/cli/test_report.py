"""Reports as users make them."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.root import run as run_here
from tests.cli.helpers import COMMAND, run
from tests.storage.recorded import START, Talk, record

TALKS = (
    Talk("sess_1").ask("first", cost_usd=0.01).call("read_file", "call_1").ask("second"),
    Talk("sess_2", started=START + timedelta(days=1), provider="anthropic").ask(
        "third", model_name="claude-haiku-4-5", cost_usd=0.3, success=0
    ),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(record(tmp_path_factory.mktemp("report") / "sessions.db", TALKS))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], database: str) -> Any:
    def run(*arguments: str, code: int = 0) -> str:
        assert run_here(["report", *arguments, "--database", database]) == code
        done = capsys.readouterr()
        return done.out if code == 0 else done.err

    return run


def tables(shown: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table by the name of its first column."""
    found = {}
    for part in shown.split("\n\n")[1:]:
        heading, *rows = (line.split() for line in part.splitlines())
        found[heading[0]] = rows
    return found


def test_a_report_has_every_table(said: Any) -> None:
    shown = said()
    assert shown.startswith("2 sessions, 3 requests (1 failed), 450 tokens, $0.311;")
    found = tables(shown)
    assert list(found) == ["Day", "Model", "Provider", "Tool", "Session"]
    assert [row[0] for row in found["Day"]] == ["2026-01-01", "2026-01-02"]
    assert [row[:2] for row in found["Model"]] == [
        ["claude-haiku-4-5", "$0.300"],
        ["gpt-5-mini", "$0.011"],
    ]
    assert [row[0] for row in found["Provider"]] == ["anthropic", "openai"]
    assert found["Tool"][0][:3] == ["read_file", "1", "0"]
    assert [(row[0], row[-1]) for row in found["Session"]] == [
        ("sess_2", "third"),
        ("sess_1", "first"),
    ]


@pytest.mark.parametrize("by", ["session", "model", "provider", "tool", "day"])
def test_by_one_thing_is_one_table(said: Any, by: str) -> None:
    assert list(tables(said("--by", by))) == [by.capitalize()]
    made = json.loads(said("--by", by, "--json"))
    assert list(made) == ["generated_at", "first_at", "last_at", "total", f"{by}s"]
    assert made[f"{by}s"]


def test_filters_choose_sessions(said: Any) -> None:
    found = tables(said("--provider", "anthropic"))
    assert [row[0] for row in found["Model"]] == ["claude-haiku-4-5"]
    assert "Tool" not in found
    assert len(tables(said("--limit", "1"))["Session"]) == 1


def test_json_has_everything(said: Any) -> None:
    made = json.loads(said("--json"))
    assert made["total"]["cost_usd"] == pytest.approx(0.311)
    assert made["tools"][0]["key"] == "read_file"
    assert made["first_at"] == "2026-01-01T08:00:00.000000Z"
    assert {"days", "models", "providers", "sessions", "slots", "latencies"} <= made.keys()


def test_nothing_found_is_one_line(said: Any) -> None:
    shown = said("--until", "2020-01-01")
    assert shown.startswith("0 sessions, 0 requests")
    assert shown.count("\n") == 1


def test_html_is_written_to_a_private_file(said: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert said("--html", str(file), "--since", "2026-01-01", "--model", "claude-*") == ""
    text = file.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "<li>since: <b>2026-01-01</b></li>" in text
    assert "<li>model: <b>claude-*</b></li>" in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_several_values_of_a_filter_are_all_shown(said: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    said("--html", str(file), "--model", "gpt-*", "--model", "claude-*")
    assert "<li>model: <b>gpt-*, claude-*</b></li>" in file.read_text()


def test_html_has_all_tables_and_goes_alone(said: Any) -> None:
    for other in (["--by", "day"], ["--json"]):
        assert "--html goes without" in said("--html", "x.html", *other, code=2)


def test_templates_are_only_read_for_a_page(database: str, tmp_path: Path) -> None:
    code = (
        "import sys; from gateway_sessions.cli.root import run;"
        f" run(['report', '--database', {database!r}]); print(*sys.modules)"
    )
    done = run("-c", code, cwd=tmp_path, command=COMMAND[:1])
    assert {"jinja2", "aiohttp", "pyarrow"}.isdisjoint(done.stdout.split())
