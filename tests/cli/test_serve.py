"""``serve``: starting, serving, stopping."""

from __future__ import annotations

import json
import signal
import socket
import stat
from pathlib import Path

import pytest
import requests

from tests.cli.helpers import run, service

PORT = ("--port", "0")


def ask(url: str, **headers: str) -> requests.Response:
    """Send a chat request and return the response."""
    return requests.post(
        f"{url}/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        headers={"Authorization": "Bearer canary", **headers},
        timeout=30,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_stop(number: int, tmp_path: Path) -> None:
    with service("serve", *PORT, cwd=tmp_path) as gateway:
        assert gateway.first_line == f"Ready on {gateway.url}, forwarding to builtin://echo.\n"
        session = ask(gateway.url).headers["X-Gateway-Session-Id"]
        code, errors = gateway.stop(number)
    assert code == 0
    assert session in errors
    (trace,) = (tmp_path / "traces").glob("trace-*.json")
    assert json.loads(trace.read_text())["session_id"] == session


def test_each_request_is_a_line_in_the_log(tmp_path: Path) -> None:
    with service("serve", *PORT, cwd=tmp_path) as gateway:
        session = ask(gateway.url).headers["X-Gateway-Session-Id"]
        gateway.stop(signal.SIGTERM)
    lines = (tmp_path / "logs" / "gateway.log").read_text().splitlines()
    (line,) = [line for line in lines if "session=" in line]
    assert f"POST /v1/chat/completions 200 session={session} relation=first source=new" in line
    assert "canary" not in "".join(lines)


def test_everything_it_writes_is_private(tmp_path: Path) -> None:
    with service("serve", *PORT, cwd=tmp_path) as gateway:
        ask(gateway.url)
        gateway.stop(signal.SIGTERM)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert {"logs", "traces", ".gateway-sessions", ".gateway-sessions/secret"} <= set(modes)
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes


def test_the_secret_outlives_the_process_and_is_shown_nowhere(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        with service("serve", *PORT, cwd=tmp_path) as gateway:
            answer = ask(gateway.url, **{"x-litellm-session-id": "ticket-1"})
            ids.add(answer.headers["X-Gateway-Session-Id"])
            gateway.stop(signal.SIGTERM)
    secret = (tmp_path / ".gateway-sessions" / "secret").read_text().strip()
    assert len(ids) == 1
    others = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "secret"]
    assert others
    assert not any(secret.encode() in path.read_bytes() for path in others)


def test_a_port_in_use_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"Error: port {port} of 127.0.0.1 is in use by another program; stop that, or set"
        " server.port to another."
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--upstream", "nowhere"),
            (
                "option --upstream: upstream must be a URL that begins with http:// or https://,"
                ' or builtin://echo, not "nowhere".'
            ),
        ),
        (
            ("--port", "many"),
            ('option --port: server.port must be a whole number from 0 to 65535, not "many".'),
        ),
        (
            ("--config", "none.yaml"),
            "none.yaml: the configuration file can not be read: no such file or directory.",
        ),
        (
            ("--set", "admin.listen=0.0.0.0:0", *PORT),
            (
                "admin.listen 0.0.0.0:0 can be reached from other machines; set admin.token, or"
                " listen on 127.0.0.1."
            ),
        ),
        (
            ("--set", "logging.file=/dev/null/x.log", *PORT),
            (
                "logging.file /dev/null/x.log can not be written: not a directory;"
                " name another file, or null for none."
            ),
        ),
    ],
)
def test_what_prevents_the_start_is_a_sentence_and_exit_code_2(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = run("serve", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"Error: {sentence}"
    assert "Traceback" not in done.stderr


def test_a_trace_folder_that_can_not_be_written_prevents_the_start(tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("a file where the folder should be")
    done = run("serve", *PORT, cwd=tmp_path)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith(f"Error: interceptor trace: {tmp_path}/traces: can not write there (")


def test_upstreams_are_announced_without_their_passwords(tmp_path: Path) -> None:
    upstream = ("--upstream", "http://u:canary@127.0.0.1:9/v1")
    with service("serve", *PORT, *upstream, cwd=tmp_path) as gateway:
        gateway.stop(signal.SIGTERM)
    assert gateway.first_line.endswith(", forwarding to http://***@127.0.0.1:9/v1.\n")


def test_own_endpoints_elsewhere_are_announced(tmp_path: Path) -> None:
    listen = ("--set", "admin.listen=127.0.0.1:0")
    with service("serve", *PORT, *listen, cwd=tmp_path) as gateway:
        assert gateway.process.stdout is not None
        second = gateway.process.stdout.readline()
        gateway.stop(signal.SIGTERM)
    assert second.startswith("Own endpoints (/health, /metrics, ...) on http://127.0.0.1:")


def test_the_dashboard_is_announced(tmp_path: Path) -> None:
    with service("serve", *PORT, cwd=tmp_path) as gateway:
        assert gateway.process.stdout is not None
        second = gateway.process.stdout.readline()
        gateway.stop(signal.SIGTERM)
    assert second == f"Dashboard: {gateway.url}/sessions\n"
