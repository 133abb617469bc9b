"""Traces: the exact document, the exact names, and grep and jq as printed."""

from __future__ import annotations

import gzip
import json
import os
import resource
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway_sessions import ConfigError, Exchange, PartlyWritten, SessionTag, StartError
from gateway_sessions.chain import InterceptorChain
from gateway_sessions.recording.limits import Limits
from gateway_sessions.telemetry import Telemetry
from interceptors.trace import Documents, Trace
from tests.interceptors.exchanges import (
    ANSWER,
    QUESTION,
    STARTED_AT,
    TAG,
    context,
    exchange,
    response,
)

NAME = "trace-2024-01-20T10-30-45-123Z-req_1.json"


def written(folder: Path, *exchanges: Exchange, **options: Any) -> list[dict[str, Any]]:
    """Return what a trace writer with these options makes of exchanges, in order of name."""
    trace = Trace(folder, **options)
    trace.open(context())
    try:
        trace.write(exchanges)
    finally:
        trace.close()
    return [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


def one(folder: Path, item: Exchange, **options: Any) -> dict[str, Any]:
    (document,) = written(folder, item, **options)
    return document


def test_name_fields_and_nesting(tmp_path: Path) -> None:
    document = one(tmp_path, exchange())
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert document == {
        "timestamp": "2024-01-20T10:30:45.123Z",
        "timestamp_unix": STARTED_AT,
        "session_id": "sess_abc123",
        "parent_session_id": None,
        "root_session_id": "sess_abc123",
        "request_id": "req_1",
        "provider": "openai",
        "relation": "continue",
        "source": "prefix",
        "confidence": 1.0,
        "client": {
            "ip": "198.51.100.9",
            "user_agent": "OpenAI/Python 1.99.0",
            "scope": "a1b2",
        },
        "request": {
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": {"content-type": "application/json", "authorization": "***"},
            "body": QUESTION,
        },
        "response": {
            "status": 200,
            "headers": {"content-type": "application/json"},
            "body": ANSWER,
            "duration_ms": 1250.5,
            "time_to_first_byte_ms": 300.25,
            "streamed": False,
            "usage": {"input_tokens": 20, "output_tokens": 3},
            "cost_usd": None,
            "error": None,
        },
    }


def test_a_file_is_one_line_so_that_files_together_are_an_exchange_log(tmp_path: Path) -> None:
    body = b'{\n  "model": "m",\r\n  "messages": [{"role": "user", "content": "a\\u2028b"}]\n}\n'
    document = one(tmp_path, exchange(body=body))
    assert document["request"]["body"] == json.loads(body)
    text = (tmp_path / NAME).read_text()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1


def test_without_session_and_response(tmp_path: Path) -> None:
    item = exchange(session=None, parse_error="no messages", body=b"\xff{")
    item.response = None
    document = one(tmp_path, item)
    assert document["session_id"] is document["relation"] is document["response"] is None
    assert document["parse_error"] == "no messages"
    assert document["request"]["body"] == "\ufffd{"


def test_the_explanation_comes_along_where_there_is_one(tmp_path: Path) -> None:
    tag = SessionTag(
        session_id="sess_1",
        relation="first",
        source="new",
        confidence=0.9,
        root_session_id="sess_1",
        reason="Nothing fitted.",
        explain=({"rule": "prefix", "answer": "no"},),
    )
    document = one(tmp_path, exchange(session=tag))
    assert document["reason"] == "Nothing fitted."
    assert document["explain"] == [{"rule": "prefix", "answer": "no"}]


def test_headers_repeats_are_joined_and_can_be_left_out(tmp_path: Path) -> None:
    answer = response(headers=(("Vary", "a"), ("X", "1"), ("vary", "b")))
    document = one(tmp_path / "with", exchange(answer=answer))
    assert document["response"]["headers"] == {"vary": "a, b", "x": "1"}
    document = one(tmp_path / "without", exchange(), include_headers=False)
    assert document["request"]["headers"] is document["response"]["headers"] is None


def test_no_bodies(tmp_path: Path) -> None:
    document = one(tmp_path, exchange(), include_body="none")
    assert document["request"]["body"] is document["response"]["body"] is None


@pytest.mark.parametrize("new", [0, 1, 2, 4, 9])
def test_delta_keeps_the_new_messages_only(tmp_path: Path, new: int) -> None:
    document = one(tmp_path, exchange(new_messages=new), include_body="delta")
    body = document["request"]["body"]
    assert body["messages"] == (QUESTION["messages"][-new:] if new else [])
    assert body["model"] == "gpt-4o"
    left_out = len(QUESTION["messages"]) - len(body["messages"])
    assert document["request"].get("messages_left_out", 0) == left_out
    assert document["response"]["body"] == ANSWER


@pytest.mark.parametrize("body", [b"not json", b"[1]", b'{"prompt": "x"}', b'{"messages": "x"}'])
def test_delta_keeps_whole_what_it_can_not_read(tmp_path: Path, body: bytes) -> None:
    document = one(tmp_path, exchange(body=body), include_body="delta")
    expected = json.loads(body) if body != b"not json" else "not json"
    assert document["request"]["body"] == expected


def test_delta_of_a_body_whose_keys_are_no_text(tmp_path: Path) -> None:
    document = one(tmp_path, exchange(body=b'{"\xff": 1, "messages": []}'), include_body="delta")
    assert document["request"]["body"] == '{"\ufffd": 1, "messages": []}'


def test_streams_as_they_came(tmp_path: Path) -> None:
    raw = b'data: {"x": 1}\n\ndata: [DONE]\n\n'
    streamed = exchange(answer=response(streamed=True, raw_stream=raw))
    assert "stream" not in one(tmp_path / "a", streamed)["response"]
    assert not Trace(tmp_path).wants_raw_stream
    assert Trace(tmp_path).needs_body
    assert not Trace(tmp_path, include_body="none").needs_body
    assert Trace(tmp_path, include_stream=True).wants_raw_stream
    found = one(tmp_path / "b", streamed, include_stream=True)["response"]
    assert found["stream"] == raw.decode()
    assert "stream" not in one(tmp_path / "c", exchange(), include_stream=True)["response"]


def test_large_bodies_are_cut_and_say_so(tmp_path: Path) -> None:
    document = one(tmp_path, exchange(), max_body_size=20)
    assert document["request"]["body"] == {
        "truncated": True,
        "size": len(json.dumps(QUESTION)),
        "text": json.dumps(QUESTION)[:20],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": ' + b"[" * 20_000,
        gzip.compress(b'{"messages": []}', mtime=0),
        b"\x1b[2J\x1b[H",
    ],
)
def test_odd_bodies_make_strict_json(tmp_path: Path, body: bytes) -> None:
    answer = response(body)
    document = one(tmp_path, exchange(body=body, answer=answer))
    assert isinstance(document["request"]["body"], str)
    assert document["request"]["body"] == document["response"]["body"]


def test_odd_headers_make_strict_json(tmp_path: Path) -> None:
    answer = response(headers=(("x", "a\udcff\u2028b\x1b"),))
    document = one(tmp_path, exchange(answer=answer))
    assert document["response"]["headers"] == {"x": "a?\u2028b\x1b"}


@pytest.mark.parametrize("request_id", ["../../etc/passwd", "a/b", "a\0b", "..", "a\nb", "é" * 80])
def test_no_id_leads_out_of_the_folder(tmp_path: Path, request_id: str) -> None:
    folder = tmp_path / "traces"
    document = one(folder, exchange(request_id=request_id))
    assert document["request_id"] == request_id
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]


@pytest.mark.parametrize("prefix", ["", "../x", "a/b", ".hidden", "x" * 65, "a b"])
def test_prefixes_that_are_no_part_of_a_name_are_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="file_prefix"):
        Trace(file_prefix=prefix)


def test_prefix_and_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    one(folder, exchange(), file_prefix="team.a")
    (path,) = folder.iterdir()
    assert path.name == NAME.replace("trace-", "team.a-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_unwritable_folder_is_one_sentence_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not write there") as error:
        Trace(tmp_path / "file").open(context())
    assert "\n" not in str(error.value)


def test_old_traces_are_deleted(tmp_path: Path) -> None:
    old = tmp_path / NAME
    stranger = tmp_path / "notes.json"
    for path in (old, stranger):
        path.write_text("{}")
        os.utime(path, (0, 0))
    trace = Trace(tmp_path, max_age_days=1)
    trace.open(context())
    deadline = time.monotonic() + 10
    while old.exists() and time.monotonic() < deadline:
        pass
    trace.close()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_what_of_a_batch_is_written_is_said(tmp_path: Path) -> None:
    trace = Trace(tmp_path)
    trace.open(context())
    broken = exchange(2)
    broken.request = None  # type: ignore[assignment]
    with pytest.raises(PartlyWritten) as error:
        trace.write([exchange(1), broken, exchange(3)])
    trace.close()
    assert error.value.written == 1
    assert len(list(tmp_path.glob("*.json"))) == 1


def traces(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.json"))


async def test_a_disk_that_takes_no_more_costs_no_traffic_and_tracing_resumes_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Trace(tmp_path)
    chain = InterceptorChain(
        [("trace", trace)], Telemetry(), limits=Limits(batch_seconds=0.0, pauses=(0.0,))
    )
    await chain.open(context())
    process = trace._filer._process
    assert process is not None
    # A limit of file size stops writing in the middle of a file, as a full disk does.
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, hard))
    for number in range(3):
        chain.finished(exchange(number))
        await chain.flush()
    assert chain.problems() == [f"trace: OSError: [Errno 27] File too large: '{tmp_path}'"]
    assert traces(tmp_path) == []
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    chain.finished(exchange(9))
    await chain.flush()
    assert chain.problems() == []
    await chain.close()
    assert traces(tmp_path) == [NAME.replace("req_1", "req_9")]
    assert caplog.text.count("writing fails") == 1
    assert caplog.text.count("works again, 3 exchanges lost") == 1


def test_making_a_document_costs_microseconds() -> None:
    documents, item = Documents(True, "full", False, 1_048_576, "trace"), exchange()
    best = float("inf")
    for _ in range(20):
        started = time.thread_time()
        for _ in range(50):
            documents.file(item)
        best = min(best, time.thread_time() - started)
    # About 10 µs where nothing else runs; the rest is for coverage tracing and slow machines.
    assert best / 50 < 500e-6


# The commands of the documentation, on files as they are written.


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Return a folder in which ``traces`` holds three exchanges of two sessions."""
    other = SessionTag(
        session_id="sess_other",
        relation="first",
        source="new",
        confidence=0.9,
        root_session_id="sess_other",
    )
    written(
        tmp_path / "traces",
        exchange(1, answer=response(duration_ms=100.0)),
        exchange(2, session=other, answer=response(duration_ms=50.0)),
        exchange(3, started_at=STARTED_AT + 60, answer=response(duration_ms=300.0)),
    )
    return tmp_path


def shell(folder: Path, command: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    return done.stdout.splitlines()


needs_jq = pytest.mark.needs("jq", "apt-get install jq")


def test_grep_for_a_session(recorded: Path) -> None:
    assert len(shell(recorded, f'grep "{TAG.session_id}" traces/*.json')) == 2


@needs_jq
def test_count_by_session(recorded: Path) -> None:
    lines = shell(recorded, "jq -r '.session_id' traces/*.json | sort | uniq -c")
    assert [line.split() for line in lines] == [["2", "sess_abc123"], ["1", "sess_other"]]


@needs_jq
def test_mean_duration_by_session(recorded: Path) -> None:
    lines = shell(
        recorded,
        "jq -r '[.session_id, .response.duration_ms] | @tsv' traces/*.json"
        " | awk '{sum[$1]+=$2; count[$1]++} END {for (s in sum) print s, sum[s]/count[s]}'",
    )
    assert sorted(lines) == ["sess_abc123 200", "sess_other 50"]


@needs_jq
def test_busiest_sessions(recorded: Path) -> None:
    lines = shell(
        recorded, "jq -r '.session_id' traces/*.json | sort | uniq -c | sort -nr | head -10"
    )
    assert lines[0].split() == ["2", "sess_abc123"]


@needs_jq
def test_how_long_sessions_went_on(recorded: Path) -> None:
    lines = shell(
        recorded,
        "jq -r '[.session_id, .timestamp_unix] | @tsv' traces/*.json | sort -k1,1 -k2,2"
        " | awk '{if ($1 != p) {if (p) print p, l - f; p = $1; f = $2} l = $2}"
        " END {print p, l - f}'",
    )
    assert [line.split() for line in lines] == [["sess_abc123", "60"], ["sess_other", "0"]]
