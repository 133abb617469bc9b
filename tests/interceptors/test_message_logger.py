"""The diary: each message once, in any dialect, as strict JSON lines."""

from __future__ import annotations

import json
import os
import resource
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway_sessions import Exchange, StartError
from interceptors.message_logger import MessageLogger
from tests.interceptors.exchanges import context, exchange, response

Line = dict[str, Any]


def logged(folder: Path, *exchanges: Exchange, **options: Any) -> list[Line]:
    """Return what the logger writes of exchanges."""
    path = folder / "logs" / "messages.jsonl"
    logger = MessageLogger(path, **options)
    logger.open(context())
    logger.write(exchanges)
    if not path.exists():
        return []
    text = path.read_bytes()
    lines = [orjson.loads(line) for line in text.split(b"\n")[:-1]]
    assert len(text.decode().splitlines()) == len(lines)
    return lines


def said(lines: list[Line]) -> list[tuple[str, str, Any]]:
    return [(line["direction"], line["role"], line["content"]) for line in lines]


def test_the_new_messages_and_the_reply(tmp_path: Path) -> None:
    lines = logged(tmp_path, exchange())
    assert said(lines) == [
        ("request", "assistant", "Hello!"),
        ("request", "user", "What is 2+2?"),
        ("response", "assistant", "4"),
    ]
    assert [line["timestamp"] for line in lines] == [
        "2024-01-20T10:30:45.123Z",
        "2024-01-20T10:30:45.123Z",
        "2024-01-20T10:30:46.373Z",
    ]
    assert lines[0]["session_id"] == "sess_abc123"
    assert lines[0]["request_id"] == "req_1"
    assert lines[0]["metadata"] == {
        "provider": "openai",
        "model": "gpt-4o",
        "relation": "continue",
        "source": "prefix",
        "confidence": 1.0,
        "parent_session_id": None,
        "status": 200,
        "usage": {"input_tokens": 20, "output_tokens": 3},
        "error": None,
    }


def test_metadata_can_be_left_out(tmp_path: Path) -> None:
    assert "metadata" not in logged(tmp_path, exchange(), include_metadata=False)[0]


def test_nothing_new_is_nothing_written_but_the_reply(tmp_path: Path) -> None:
    assert said(logged(tmp_path, exchange(new_messages=0))) == [("response", "assistant", "4")]


@pytest.mark.parametrize(
    ("request_body", "new", "reply", "expected"),
    [
        pytest.param(
            {"system": "Be brief.", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
            1,
            {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
            [
                ("request", "system", "Be brief."),
                ("request", "user", [{"text": "Hi"}]),
                ("response", "assistant", [{"type": "text", "text": "Hello"}]),
            ],
            id="anthropic",
        ),
        pytest.param(
            {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
            1,
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}}]},
            [
                ("request", "user", [{"text": "Hi"}]),
                ("response", "model", [{"text": "Hello"}]),
            ],
            id="gemini",
        ),
        pytest.param(
            {"input": "Hi"},
            1,
            {"output": [{"type": "message", "role": "assistant", "content": "Hello"}]},
            [("request", "user", "Hi"), ("response", "assistant", "Hello")],
            id="responses",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "Hi"}]},
            1,
            {"message": {"role": "assistant", "content": "Hello"}, "done": True},
            [("request", "user", "Hi"), ("response", "assistant", "Hello")],
            id="ollama",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "Hi"}]},
            9,
            {
                "choices": [
                    {"message": {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}}
                ]
            },
            [
                ("request", "user", "Hi"),
                ("response", "assistant", {"content": None, "tool_calls": [{"id": "c"}]}),
            ],
            id="tools",
        ),
        pytest.param({"messages": "x"}, 1, {"error": {}}, [("request", "user", "x")], id="odd"),
        pytest.param(
            {"messages": [7, {"role": 3}]},
            2,
            {"choices": [None]},
            [
                ("request", "user", 7),
                ("request", "user", {}),
                ("response", "assistant", None),
            ],
            id="nonsense",
        ),
        pytest.param([1], 1, [2], [], id="lists"),
    ],
)
def test_dialects(
    tmp_path: Path,
    request_body: Any,
    new: int,
    reply: Any,
    expected: list[tuple[str, str, Any]],
) -> None:
    item = exchange(
        body=json.dumps(request_body).encode(),
        answer=response(json.dumps(reply).encode()),
        new_messages=new,
    )
    assert said(logged(tmp_path, item)) == expected


def test_line_breaks_of_unicode_stay_within_their_line(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "a\u2028b\nc\u0085d"}]}
    item = exchange(body=json.dumps(body, ensure_ascii=False).encode(), new_messages=1)
    assert said(logged(tmp_path, item))[0] == ("request", "user", "a\u2028b\nc\u0085d")


def test_almost_json_is_written_as_strict_json(tmp_path: Path) -> None:
    body = b'{"messages": [{"role": "user", "content": ["\\ud800", NaN]}]}'
    item = exchange(body=body, new_messages=1)
    assert said(logged(tmp_path, item))[0] == ("request", "user", ["?", None])


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"{", b'{"\xff": 1, "messages": ["x"]}', b"[" * 100_000, b"null"]
)
def test_what_is_no_json_is_not_written(tmp_path: Path, body: bytes) -> None:
    assert logged(tmp_path, exchange(body=body, answer=response(body))) == []


def test_an_exchange_without_session_or_response(tmp_path: Path) -> None:
    item = exchange(session=None)
    item.response = None
    lines = logged(tmp_path, item)
    assert [line["session_id"] for line in lines] == [None, None]
    assert lines[0]["metadata"]["status"] is None


def test_permissions_and_appending(tmp_path: Path) -> None:
    logged(tmp_path, exchange(1))
    lines = logged(tmp_path, exchange(2))
    assert [line["request_id"] for line in lines] == ["req_1"] * 3 + ["req_2"] * 3
    path = tmp_path / "logs" / "messages.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "messages.jsonl"
    MessageLogger(path).write([exchange()])
    assert path.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    path = tmp_path / "messages.jsonl"
    path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        MessageLogger(path).write([exchange()])


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    logger = MessageLogger(path)
    logger.write([exchange(1)])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a full disk does, this stops the write in the middle of a line.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            logger.write([exchange(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    logger.write([exchange(2)])
    assert path.read_bytes() == before + before.replace(b"req_1", b"req_2")


def test_an_unwritable_folder_is_one_sentence_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not write there"):
        MessageLogger(tmp_path / "file" / "messages.jsonl").open(context())


def test_the_default_place() -> None:
    assert os.fspath(MessageLogger()._path) == "message_logs/messages.jsonl"
