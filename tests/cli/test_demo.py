"""``demo``: a table of sessions, and a gateway to try."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
import requests

from gateway_sessions.cli.demo import Found, _counted, _start, found, is_right
from gateway_sessions.config import Config, Loaded, Server
from gateway_sessions.samples import SampleExchange
from tests.cli.helpers import run, run_watched, service


def exchange(thread: str, session_id: str, relation: str = "first") -> SampleExchange:
    return SampleExchange(
        conversation=thread.partition(",")[0],
        thread=thread,
        step="asks",
        dialect="openai_chat",
        status=200,
        session_id=session_id,
        relation=relation,
        source="new" if relation == "first" else "prefix",
        confidence=1.0,
    )


def test_sessions_stand_in_the_order_in_which_they_began() -> None:
    exchanges = [
        exchange("a", "sess_1"),
        exchange("b", "sess_2"),
        exchange("a", "sess_1", "continue"),
    ]
    assert found(exchanges) == [
        Found("sess_1", ("a",), 2, ("first", "continue"), ("new", "prefix")),
        Found("sess_2", ("b",), 1, ("first",), ("new",)),
    ]


@pytest.mark.parametrize(
    ("pairs", "right"),
    [
        ([("a", "sess_1"), ("b", "sess_2"), ("a", "sess_1")], True),
        ([("a", "sess_1"), ("b", "sess_1")], False),
        ([("a", "sess_1"), ("a", "sess_2")], False),
        ([("a", "")], False),
    ],
)
def test_it_is_right_if_sessions_and_conversations_are_one_to_one(
    pairs: list[tuple[str, str]], right: bool
) -> None:
    assert is_right([exchange(*pair) for pair in pairs]) is right


def test_repeats_are_counted() -> None:
    assert _counted(["new", "prefix", "prefix", "anchor"]) == "new, prefix ×2, anchor"
    assert _counted([""]) == "(none)"


def test_once_shows_the_table_and_ends(tmp_path: Path) -> None:
    done = run("demo", "--once", "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Sessions found in sample conversations" in done.stdout
    assert "conversations: each of them is one session.\n" in done.stdout


def test_at_the_end_it_draws_what_an_agent_and_its_sub_agents_did(tmp_path: Path) -> None:
    done = run("demo", "--once", "--port", "0", cwd=tmp_path)
    tree = done.stdout.partition("as recorded:\n\n")[2].splitlines()
    assert tree[0].split()[1:5] == ["main", "·", "4", "requests"]
    assert len([line for line in tree if "✓ task ≤" in line and "→ sess_" in line]) == 2
    assert not any("✗" in line for line in tree)


def test_without_a_database_it_draws_nothing(tmp_path: Path) -> None:
    off = ("--set", "session_recording.sqlite.enabled=false")
    done = run("demo", "--once", "--port", "0", *off, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith("each of them is one session.")


def test_what_it_found_can_be_json_and_is_what_it_wrote_down(tmp_path: Path) -> None:
    done = run("demo", "--once", "--json", "--port", "0", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert summary["right"] is True
    traces = [json.loads(path.read_text()) for path in (tmp_path / "traces").glob("*.json")]
    assert len(traces) == summary["requests"] == sum(s["requests"] for s in summary["sessions"])
    assert {t["session_id"] for t in traces} == {s["session_id"] for s in summary["sessions"]}
    lines = (tmp_path / "logs" / "gateway.log").read_text().splitlines()
    assert len([line for line in lines if "session=sess_" in line]) == summary["requests"]


def test_somebody_who_watches_sees_a_bar_and_gets_the_same(tmp_path: Path) -> None:
    code, output = run_watched("demo", "--once", "--json", "--port", "0", cwd=tmp_path)
    assert (code, json.loads(output)["right"]) == (0, True)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_it_leaves_the_gateway_to_be_tried(form: tuple[str, ...], tmp_path: Path) -> None:
    with service("demo", *form, "--port", "0", cwd=tmp_path) as gateway:
        assert requests.get(f"{gateway.url}/health", timeout=30).status_code == 200
        assert gateway.stop(signal.SIGTERM) == (0, "")


def test_its_last_line_leads_to_the_dashboard(tmp_path: Path) -> None:
    with service("demo", "--port", "0", cwd=tmp_path) as gateway:
        assert gateway.process.stdout is not None
        line = next(line for line in gateway.process.stdout if line.startswith("See them"))
        page = requests.get(line.split()[-1], timeout=30)
        assert gateway.stop(signal.SIGTERM) == (0, "")
    assert page.status_code == 200
    assert "How requests found their session" in page.text


async def test_a_taken_port_is_told_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = Config(
            server=Server(port=port), interceptors=(), state_directory=str(tmp_path / "state")
        )
        running = await _start(Loaded(config, {}))
        await running.stop()
    assert running.url != f"http://127.0.0.1:{port}"
    assert capsys.readouterr().err == (
        f"Note: port {port} of 127.0.0.1 is in use by another program; stop that, or set"
        " server.port to another. A free port is taken for now.\n"
    )


def test_a_taken_port_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("demo", "--once", "--port", str(port), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: port {port} of 127.0.0.1 is in use by another program; stop that, or set"
        " server.port to another.\n"
    )
