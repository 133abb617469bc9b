from __future__ import annotations

import json

import pytest

from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import read_line, read_log

LINE = {
    "request_id": "r0",
    "timestamp": "2026-02-08T07:22:40.552Z",
    "request": {"path": "/v1/chat/completions", "body": {"model": "m", "messages": []}},
}


def test_blank_lines_are_left_out() -> None:
    text = json.dumps(LINE)
    assert len(list(read_log(["", text, " \n", text.encode(), b"\n"]))) == 2


@pytest.mark.parametrize(
    "bad",
    [
        "hello",
        "{}",
        "[]",
        "null",
        b"\xff\xfe",
        '{"timestamp": "yesterday", "request": {"path": "/"}}',
        '{"timestamp": "2026-02-08T07:22:40Z"}',
        '{"timestamp": "2026-02-08T07:22:40Z", "request": {}}',
        '{"timestamp": "2026-02-08T07:22:40Z", "request": {"path": "/"}, "response": 7}',
        '{"timestamp": 1, "request": ' + "[" * 100_000,
        '{"timestamp": "2026-02-08T07:22:40Z", "request": {"path": "\\ud800"}',
    ],
    ids=lambda bad: str(bad)[:40],
)
def test_a_bad_line_is_named(bad: str | bytes) -> None:
    lines: list[str | bytes] = [json.dumps(LINE), "", bad]
    log = read_log(lines, "traffic.jsonl")
    next(log)
    with pytest.raises(UnreadableLog, match=r"traffic\.jsonl, line 3\b"):
        next(log)


def test_the_error_is_one_sentence() -> None:
    with pytest.raises(UnreadableLog) as caught:
        read_line("hello", "log", 7)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")


def test_fields_we_do_not_know_are_no_fault() -> None:
    odd = {**LINE, "tenant": {"a": 1}, "response": {"cost_usd": 0.1}}
    assert read_line(json.dumps(odd), "log", 1).request_id == "r0"
