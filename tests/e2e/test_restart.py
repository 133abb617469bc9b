"""Conversations go on after the gateway was killed, in the same sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from gateway_sessions.testing import Json, assistant, user
from tests.cli.helpers import INSTALLED, service

CHAT = "/v1/chat/completions"


class Answer(NamedTuple):
    """What a response says."""

    session: str
    relation: str
    text: str


def ask(url: str, messages: list[Json]) -> Answer:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer key"}
    with urlopen(Request(url + CHAT, body, headers)) as response:  # noqa: S310 - our own
        said = json.loads(response.read())["choices"][0]["message"]["content"]
        found = response.headers
    return Answer(found["x-gateway-session-id"], found["x-gateway-session-relation"], said)


def status(url: str, path: str) -> int:
    with urlopen(url + path) as response:  # noqa: S310 - our own
        return int(response.status)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    config = {
        "server": {"port": 0},
        "interceptors": [],
        "logging": {"file": None},
        "session_recording": {"enabled": False},
        "state_directory": str(tmp_path / "state"),
        "session": {"persistence": {"enabled": True, "backend": "file"}},
    }
    (tmp_path / "gateway.yaml").write_text(json.dumps(config))
    return tmp_path


def test_a_conversation_outlives_a_kill(home: Path) -> None:
    history: list[Json] = []
    sessions, relations = set(), []
    for number in range(4):
        with service("serve", "--config", "gateway.yaml", cwd=home, command=INSTALLED) as running:
            for part in range(2):
                history.append(user(f"Question {number}.{part}, if you please?"))
                answer = ask(running.url, history)
                history.append(assistant(answer.text))
                sessions.add(answer.session)
                relations.append(answer.relation)
            other = ask(running.url, [user("Question 0.0, if you please?")])
            assert other.session not in sessions
            assert status(running.url, "/readyz") == 200
            running.process.kill()
            running.process.wait()
    assert len(sessions) == 1
    assert relations == ["first"] + ["continue"] * 7
    assert {each.stat().st_mode & 0o777 for each in (home / "state").iterdir()} == {0o600}


def test_a_file_that_was_damaged_meanwhile_is_put_aside(home: Path) -> None:
    with service("serve", "--config", "gateway.yaml", cwd=home, command=INSTALLED) as running:
        first = ask(running.url, [user("hi")])
        running.process.terminate()
        assert running.process.wait() == 0
    path = home / "state" / "live.db"
    content = path.read_bytes()
    path.write_bytes(content[:1024] + b"\xff" * (len(content) - 1024))
    with service("serve", "--config", "gateway.yaml", cwd=home, command=INSTALLED) as running:
        later = ask(running.url, [user("hi"), assistant(first.text), user("more")])
        running.process.terminate()
        assert running.process.stderr is not None
        said = [line for line in running.process.stderr.read().splitlines() if "damaged" in line]
    assert later.session != first.session
    assert len(said) == 1
    assert "sessions begin anew" in said[0]
    assert len(list(path.parent.glob("live.db.corrupt-*Z"))) == 1


def test_a_place_that_can_not_be_used_is_one_sentence(home: Path) -> None:
    config = json.loads((home / "gateway.yaml").read_text())
    config["session"]["persistence"]["connection"] = "/dev/null/live.db"
    config["state_directory"] = str(home / "elsewhere")
    (home / "gateway.yaml").write_text(json.dumps(config))
    with (home / "errors").open("w+b") as errors:
        with (
            pytest.raises(AssertionError),
            service(
                "serve", "--config", "gateway.yaml", cwd=home, errors=errors, command=INSTALLED
            ),
        ):
            pass
        errors.seek(0)
        said = errors.read().decode()
    assert said == "Error: /dev/null: can not be made (file exists); name another file\n"
