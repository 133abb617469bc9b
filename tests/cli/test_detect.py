"""``detect``: a log in, verdicts out."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.root import run as run_here
from tests.cli.helpers import run

Json = dict[str, Any]


def exchange(number: int, *texts: str, path: str = "/v1/chat/completions", **more: Any) -> Json:
    """Return a logged exchange: texts alternate between user and assistant, the last one is
    the answer."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts[:-1])]
    answer = {"role": "assistant", "content": texts[-1]}
    return {
        "request_id": f"r{number}",
        "timestamp": f"2026-01-01T00:{number:02}:00.000Z",
        "request": {
            "method": "POST",
            "path": path,
            "headers": {"authorization": "Bearer sk-1"},
            "body": {"model": "m", "messages": messages},
        },
        "response": {
            "status": 200,
            "headers": {},
            "body": {"id": f"c{number}", "choices": [{"index": 0, "message": answer}]},
            "duration_ms": 10,
        },
    } | more


EGG = "An egg of medium size takes about nine minutes until it is hard."
FIRST = exchange(1, "How long do I boil an egg?", EGG)
SECOND = exchange(2, "How long do I boil an egg?", EGG, "And a soft one?", "Five minutes.")
OTHER = exchange(3, "What is the capital of Peru?", "Lima.")
MODELS = {
    "request_id": "r4",
    "timestamp": "2026-01-01T00:04:00Z",
    "request": {"path": "/v1/models"},
}


def log(*exchanges: Json) -> str:
    return "".join(json.dumps(one) + "\n" for one in exchanges)


def verdicts(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_exchange_gets_a_verdict_in_the_order_of_the_log(tmp_path: Path) -> None:
    done = run("detect", cwd=tmp_path, stdin=log(FIRST, SECOND, OTHER))
    first, second, other = verdicts(done.stdout)
    assert list(first) == [
        "request_id",
        "session_id",
        "parent_session_id",
        "source",
        "relation",
        "confidence",
    ]
    assert [v["request_id"] for v in (first, second, other)] == ["r1", "r2", "r3"]
    assert first["session_id"] == second["session_id"] != other["session_id"]
    assert (second["relation"], second["source"]) == ("continue", "prefix")
    assert (done.returncode, done.stderr) == (0, "")


def test_several_files_are_one_log(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(log(FIRST))
    (tmp_path / "b.json").write_text(json.dumps(SECOND))
    done = run("detect", "a.jsonl", "b.json", "-", cwd=tmp_path, stdin=log(OTHER))
    first, second, _ = verdicts(done.stdout)
    assert first["session_id"] == second["session_id"]


def test_what_is_no_conversation_has_no_session(tmp_path: Path) -> None:
    done = run("detect", cwd=tmp_path, stdin=log(MODELS))
    assert verdicts(done.stdout) == [
        {
            "request_id": "r4",
            "session_id": None,
            "parent_session_id": None,
            "source": None,
            "relation": None,
            "confidence": None,
        }
    ]


def test_the_clock_is_the_logs_own(tmp_path: Path) -> None:
    arguments = ("detect", "--set", "session.session_ttl_seconds=30")
    done = run(*arguments, cwd=tmp_path, stdin=log(FIRST, SECOND))
    first, second = verdicts(done.stdout)
    assert first["session_id"] != second["session_id"]


def test_exchanges_without_an_id_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n" + log(FIRST | {"request_id": ""}))
    done = run("detect", "a.jsonl", cwd=tmp_path)
    assert verdicts(done.stdout)[0]["request_id"] == "a.jsonl:2"


def test_explanations_are_in_words(tmp_path: Path) -> None:
    done = run("detect", "--explain", cwd=tmp_path, stdin=log(FIRST, SECOND, MODELS))
    lines = done.stdout.splitlines()
    assert lines[0].startswith("r1  sess_")
    assert lines[0].endswith("  first (by new, confidence 0.9)")
    assert lines[1].startswith("    decided by the rule new: a first request")
    assert lines[2] == "    asked before it:"
    second = next(number for number, line in enumerate(lines) if line.startswith("r2  sess_"))
    assert lines[second + 1].startswith("    decided by the rule prefix: the history ends with")
    assert "      explicit     the client names no session" in lines[second:]
    assert lines[-1] == (
        "r4  no session: not a request for a conversation, or its body can not be read"
    )


def test_single_sessions_and_requests_can_be_looked_at(tmp_path: Path) -> None:
    stdin = log(FIRST, SECOND, OTHER)
    session = verdicts(run("detect", cwd=tmp_path, stdin=stdin).stdout)[0]["session_id"]
    by_session = run("detect", "--only", session, cwd=tmp_path, stdin=stdin)
    assert [v["request_id"] for v in verdicts(by_session.stdout)] == ["r1", "r2"]
    by_request = run("detect", "--explain", "--only", "r3", cwd=tmp_path, stdin=stdin)
    assert [line[:2] for line in by_request.stdout.splitlines() if line[0] != " "] == ["r3"]
    assert (by_session.returncode, by_request.returncode) == (0, 0)


def test_an_id_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("detect", "--only", "r1", "--only", "r9", cwd=tmp_path, stdin=log(FIRST))
    assert [v["request_id"] for v in verdicts(done.stdout)] == ["r1"]
    assert done.stderr == "No session and no request of the log has the id r9.\n"
    assert done.returncode == 1


def test_explanations_can_be_json(tmp_path: Path) -> None:
    done = run("detect", "--explain", "--json", cwd=tmp_path, stdin=log(FIRST, MODELS))
    first, models = verdicts(done.stdout)
    assert first["reason"]
    assert first["explain"][-1] == {"rule": "new", "answers": True, "because": first["reason"]}
    assert models["explain"] == []


def test_nobody_can_forge_a_line_of_an_explanation(tmp_path: Path) -> None:
    hostile = FIRST | {"request_id": "a\nforged\x1b[31m"}
    done = run("detect", "--explain", cwd=tmp_path, stdin=log(hostile))
    assert done.stdout.startswith("a\\nforged\\u001b[31m  sess_")
    assert all(line.startswith("    ") for line in done.stdout.splitlines()[1:])


def test_ids_that_clients_give_lead_to_the_sessions_of_the_gateway(tmp_path: Path) -> None:
    named = json.loads(log(FIRST))
    named["request"]["headers"]["x-litellm-session-id"] = "ticket-1"
    secret = "0123456789abcdef0123456789abcdef" * 2
    state = tmp_path / ".gateway-sessions"
    state.mkdir()
    (state / "secret").write_text(secret)
    ids = {
        verdicts(run("detect", cwd=tmp_path, stdin=log(named)).stdout)[0]["session_id"]
        for _ in range(2)
    }
    other = run("detect", "--set", "secret=another secret of mine", cwd=tmp_path, stdin=log(named))
    assert len(ids) == 1
    assert verdicts(other.stdout)[0]["session_id"] not in ids


def test_a_secret_of_somebody_else_does_not_matter(tmp_path: Path) -> None:
    state = tmp_path / ".gateway-sessions"
    state.mkdir()
    (state / "secret").write_text("no secret")
    assert run("detect", cwd=tmp_path, stdin=log(FIRST)).returncode == 0


def test_no_state_is_left_behind(tmp_path: Path) -> None:
    run("detect", cwd=tmp_path, stdin=log(FIRST))
    assert list(tmp_path.iterdir()) == []


def test_a_bad_line_ends_it_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(log(FIRST) + "{broken\n" + log(SECOND))
    done = run("detect", "a.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith("Error: a.jsonl, line 2: not an exchange (")
    assert error.endswith("each line needs a JSON object with timestamp, request and response.")


def test_bad_lines_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    bad = '{broken\n{"timestamp": 5}\n\xff\n'
    stdin = log(FIRST).encode() + bad.encode("latin-1") + log(SECOND).encode()
    done = run("detect", "--skip-bad-lines", cwd=tmp_path, stdin=stdin)
    assert len(verdicts(done.stdout)) == 2
    assert done.returncode == 1
    warnings = done.stderr.splitlines()
    assert [line.partition(": not")[0] for line in warnings[:3]] == [
        f"Warning: standard input, line {number}" for number in (2, 3, 4)
    ]
    assert warnings[3:] == ["Lines that were skipped: 3."]


@pytest.mark.parametrize(
    ("name", "reason"), [("none.jsonl", "no such file or directory"), (".", "is a directory")]
)
def test_a_file_that_can_not_be_read_is_a_sentence(
    name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["detect", name]) == 2
    assert capsys.readouterr() == ("", f"Error: {name} can not be read: {reason}.\n")


SPEND = {
    "request_id": "r1",
    "call_type": "acompletion",
    "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
    "startTime": "2026-01-01 00:01:00",
    "endTime": "2026-01-01 00:01:02",
    "proxy_server_request": json.dumps(FIRST["request"]["body"]),
    "response": json.dumps(FIRST["response"]["body"]),
}


def test_logs_of_other_programs_are_read(tmp_path: Path) -> None:
    second = SPEND | {
        "request_id": "r2",
        "startTime": "2026-01-01 00:02:00",
        "endTime": "2026-01-01 00:02:01",
        "proxy_server_request": json.dumps(SECOND["request"]["body"]),
    }
    with (tmp_path / "spend.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(SPEND))
        table.writeheader()
        table.writerows([second, SPEND])
    done = run("detect", "spend.csv", cwd=tmp_path)
    assert [(v["request_id"], v["relation"]) for v in verdicts(done.stdout)] == [
        ("r1", "first"),
        ("r2", "continue"),
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_without_prompts_says_how_to_get_them(tmp_path: Path) -> None:
    empty = SPEND | {"proxy_server_request": "{}", "response": "{}"}
    done = run("detect", cwd=tmp_path, stdin=log(empty))
    assert verdicts(done.stdout)[0]["session_id"] is None
    assert done.stderr == (
        "Note: 1 of 1 exchanges hold no prompt, and get no session: LiteLLM keeps prompts only"
        " with general_settings.store_prompts_in_spend_logs: true, and without"
        " litellm_settings.turn_off_message_logging.\n"
    )
    assert done.returncode == 1


def test_the_format_can_be_forced(tmp_path: Path) -> None:
    done = run("detect", "--format", "litellm", cwd=tmp_path, stdin=log(FIRST))
    assert done.stderr == (
        "Error: standard input, line 1: not a row of LiteLLM's spend logs; each needs a"
        " startTime.\n"
    )
    assert done.returncode == 2


class TestCompare:
    @pytest.fixture(autouse=True)
    def _configurations(self, tmp_path: Path) -> None:
        (tmp_path / "now.yaml").write_text("session:\n  session_ttl_seconds: 3600\n")
        (tmp_path / "short.yaml").write_text("session:\n  session_ttl_seconds: 30\n")

    def compare(self, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        stdin = log(FIRST, SECOND, OTHER)
        return run("detect", "--compare", *arguments, cwd=tmp_path, stdin=stdin)

    def test_equal_sessions_are_no_problem(self, tmp_path: Path) -> None:
        done = self.compare(tmp_path, "now.yaml", "now.yaml")
        assert done.stdout.splitlines() == [
            "3 exchanges with a session.",
            "  A  2 sessions  now.yaml",
            "  B  2 sessions  now.yaml",
            "Both find the same sessions.",
        ]
        assert (done.returncode, done.stderr) == (0, "")

    def test_what_would_split_is_shown(self, tmp_path: Path) -> None:
        done = self.compare(tmp_path, "now.yaml", "short.yaml")
        assert "  B  3 sessions  short.yaml" in done.stdout
        assert "2 exchanges (66.7%) are with others in B than in A" in done.stdout
        assert "Split in B:" in done.stdout
        assert "“How long do I boil an egg?”" in done.stdout
        assert "        B: first (by new), the session it continues has expired" in done.stdout
        assert (done.returncode, done.stderr) == (1, "")

    def test_the_other_way_round_it_would_merge(self, tmp_path: Path) -> None:
        done = self.compare(tmp_path, "short.yaml", "now.yaml", "--json")
        report = json.loads(done.stdout)
        assert (report["merged"]["count"], report["split"]["count"]) == (1, 0)
        (case,) = report["merged"]["cases"]
        assert [part["request_id"] for part in case["parts"]] == ["r1", "r2"]
        assert done.returncode == 1

    def test_settings_hold_for_both(self, tmp_path: Path) -> None:
        setting = ("--set", "session.session_ttl_seconds=20")
        assert self.compare(tmp_path, "now.yaml", "short.yaml", *setting).returncode == 0

    def test_where_sessions_are_kept_does_not_matter(self, tmp_path: Path) -> None:
        text = "session: {persistence: {enabled: true, backend: file}}\n"
        (tmp_path / "stored.yaml").write_text(text)
        done = self.compare(tmp_path, "now.yaml", "stored.yaml")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize("more", [("--explain",), ("--only", "x"), ("--config", "now.yaml")])
    def test_it_is_a_mode_of_its_own(self, tmp_path: Path, more: tuple[str, ...]) -> None:
        done = self.compare(tmp_path, "now.yaml", "now.yaml", *more)
        assert done.stderr.splitlines()[-1] == (
            "Error: --compare goes without --config, --explain and --only."
        )
        assert done.returncode == 2

    def test_a_configuration_that_is_wrong_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("session: {ttl: 3}\n")
        done = self.compare(tmp_path, "now.yaml", "bad.yaml")
        assert done.stderr.startswith("Error: bad.yaml")
        assert (done.returncode, done.stdout) == (2, "")
