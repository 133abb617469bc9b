"""The documented queries, run by jq, sqlite3 and pandas on what a real gateway has recorded."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import run, service
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "recording.md"
THINKING = 12_000
"""Tokens that the model of one session thinks: more than the queries look for."""
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4",
    "content": [{"type": "text", "text": "Forty-two."}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 20,
        "output_tokens": THINKING + 5,
        "output_tokens_details": {"thinking_tokens": THINKING},
    },
}


class _Thinker(BaseHTTPRequestHandler):
    """An upstream that thinks for long."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def thinker() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Thinker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home in which the demo and one session that thinks are recorded."""
    home = tmp_path_factory.mktemp("recorded")
    done = run("demo", "--once", "--port", "0", cwd=home)
    assert done.returncode == 0, done.stderr
    with thinker() as url, service("serve", "--upstream", url, "--port", "0", cwd=home) as gateway:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{gateway.url}/v1/messages",
            data=json.dumps(
                {
                    "model": "claude-sonnet-4",
                    "max_tokens": 20_000,
                    "messages": [{"role": "user", "content": "What is the answer?"}],
                }
            ).encode(),
            headers={"x-api-key": "sk-test", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310
            assert response.status == 200
            response.read()  # Who leaves before the end gets no usage recorded.
        code, errors = gateway.stop(signal.SIGINT)
        assert code == 0, errors
    return home


def sessions_folder(home: Path) -> Path:
    return home / ".gateway-sessions" / "sessions"


def database(home: Path) -> str:
    return str(home / ".gateway-sessions" / "sessions.db")


def shell(command: str, home: Path) -> str:
    """Run a documented command on all days, whichever day its text names."""
    everything = f"{sessions_folder(home)}/*/*.jsonl"
    text = re.sub(r"(?<= )(?:DIR/2025-10-01/)?\*\.jsonl", everything, command)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, check=True
    )
    return done.stdout


def sql(query: str, home: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["sqlite3", "-readonly", "-json", database(home), query],
        capture_output=True,
        text=True,
        check=True,
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return rows


JQ = {
    "flat": """jq 'select(.type == "completed" and .total_thinking > 10000)'"""
    " DIR/2025-10-01/*.jsonl",
    "nested": """jq 'select(.type == "completed" and"""
    """ .final_stats.total_tokens.thinking > 10000)' *.jsonl""",
    "ids": "jq -r '.session_id' DIR/2025-10-01/*.jsonl | sort -u",
    "types": "jq -r '.type' DIR/2025-10-01/*.jsonl | sort | uniq -c",
    "tools": "jq '.final_stats.tool_summary.by_tool' *.jsonl | jq -s 'add'",
    "cost": "jq '.final_stats.estimated_cost.total_cost_usd' *.jsonl | jq -s 'add'",
}

needs_jq = pytest.mark.needs("jq", "apt-get install jq")
needs_sqlite = pytest.mark.needs("sqlite3", "apt-get install sqlite3")


@needs_jq
@pytest.mark.parametrize("form", ["flat", "nested"])
def test_sessions_that_thought_long(form: str, home: Path) -> None:
    event = json.loads(shell(JQ[form], home))
    assert event["total_thinking"] == THINKING
    assert event["final_stats"]["total_tokens"]["thinking"] == THINKING


@needs_jq
def test_ids_and_types(home: Path) -> None:
    ids = shell(JQ["ids"], home).split()
    assert len(ids) == 19
    assert all(name.startswith("sess_") for name in ids)
    lines = map(str.split, shell(JQ["types"], home).splitlines())
    counts = {word: int(number) for number, word in lines}
    assert counts["started"] == counts["completed"] == 19
    assert counts["request_recorded"] == counts["response_recorded"] == 47
    assert counts["request_completed"] == 47


@needs_jq
def test_tools_and_costs(home: Path) -> None:
    tools = json.loads(shell(JQ["tools"], home))
    assert {name: tool["call_count"] for name, tool in tools.items()} == {
        "run_tests": 1,  # of several sessions, jq's add keeps the last one's
        "get_weather": 1,
        "task": 2,
    }
    assert float(shell(JQ["cost"], home)) > 0


@needs_jq
@needs_sqlite
def test_files_and_database_agree_on_the_cost(home: Path) -> None:
    (row,) = sql("SELECT SUM(cost_usd) AS cost FROM sessions", home)
    assert float(shell(JQ["cost"], home)) == pytest.approx(row["cost"])


SQL = {
    "thinking": "SELECT session_id, model_used, thinking_tokens, response_text FROM sessions"
    " WHERE thinking_tokens > 10000 ORDER BY thinking_tokens DESC;",
    "days": "SELECT DATE(started_at) AS date, model_used, COUNT(*) AS requests,"
    " SUM(input_tokens) AS total_input, SUM(output_tokens) AS total_output\n"
    "  FROM sessions WHERE started_at > datetime('now', '-7 days')"
    " GROUP BY DATE(started_at), model_used;",
    "speed": "SELECT s.session_id, s.request_id, s.model_used, st.tokens_per_second,"
    " st.thinking_percentage\n"
    "  FROM sessions s JOIN session_stats st ON s.session_id = st.session_id"
    " WHERE st.model_name = 'claude-sonnet-4' ORDER BY st.tokens_per_second DESC;",
    "overhead": "SELECT session_id, provider_latency_ms, proxy_overhead_ms,"
    " (proxy_overhead_ms * 100.0 / total_duration_ms) AS overhead_pct\n"
    "  FROM sessions WHERE started_at > datetime('now', '-1 day') ORDER BY overhead_pct DESC;",
    "tools": "SELECT tool_name, SUM(call_count) AS total_calls FROM tool_calls"
    " GROUP BY tool_name ORDER BY total_calls DESC;",
}


@needs_sqlite
def test_queries_on_the_database(home: Path) -> None:
    (thought,) = sql(SQL["thinking"], home)
    assert (thought["model_used"], thought["thinking_tokens"]) == ("claude-sonnet-4", THINKING)
    assert thought["response_text"] == "Forty-two."
    assert sum(row["requests"] for row in sql(SQL["days"], home)) == 19
    (speed,) = sql(SQL["speed"], home)
    assert speed["tokens_per_second"] > 0
    assert speed["thinking_percentage"] == pytest.approx(100, abs=0.1)
    overhead = sql(SQL["overhead"], home)
    assert len(overhead) == 19
    assert all(0 < row["overhead_pct"] <= 100 for row in overhead)
    assert {row["tool_name"]: row["total_calls"] for row in sql(SQL["tools"], home)} == {
        "get_weather": 1,
        "run_tests": 3,
        "task": 2,
    }


PROGRAM = """\
df = pd.read_json('session.jsonl', lines=True); completed = df[df['type'] == 'completed']
stats = pd.json_normalize(completed['final_stats'])
print(stats['total_tokens.thinking'].mean(), stats['estimated_cost.total_cost_usd'].sum())
"""


def test_a_program_with_pandas(home: Path, tmp_path: Path) -> None:
    (file,) = (
        path
        for path in sessions_folder(home).glob("*/*.jsonl")
        if "Forty-two" in path.read_text(encoding="utf-8")
    )
    (tmp_path / "session.jsonl").write_bytes(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import pandas as pd\n{PROGRAM}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    thinking, cost = map(float, done.stdout.split())
    assert thinking == THINKING
    assert cost > 0.1


def test_the_page_prints_these_queries() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for command in JQ.values():
        assert re.sub(r"(?<= )(?:DIR/2025-10-01/)?\*\.jsonl", "$DIR/*.jsonl", command) in page
    for query in SQL.values():
        assert query in page
    assert PROGRAM in page


@needs_sqlite
def test_every_query_of_the_page_runs(home: Path) -> None:
    queries = [
        query.strip()
        for block in blocks(PAGE)
        if block.language == "sql"
        for query in block.text.split(";\n")
        if query.strip()
    ]
    assert len(queries) == 6
    assert all(sql(query, home) for query in queries)
