"""Lines on the terminal: readable, in one piece, and harmless."""

from __future__ import annotations

import io
from typing import Any

import pytest

from gateway_sessions import Exchange
from interceptors.printer import Printer
from tests.interceptors.exchanges import exchange, response


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(
    monkeypatch: pytest.MonkeyPatch,
    *exchanges: Exchange,
    stream: io.TextIOBase | None = None,
    **options: Any,
) -> str:
    target = stream if stream is not None else io.StringIO()
    monkeypatch.setattr("sys.stderr", target)
    Printer(**options).write(exchanges)
    return target.getvalue() if isinstance(target, io.StringIO) else ""


def test_a_line_for_the_request_and_one_for_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, exchange()) == (
        "10:30:45.123 → sess_abc123 continue/prefix 1.00 POST /v1/chat/completions gpt-4o"
        " 4 messages (2 new) 201 bytes\n"
        "10:30:46.373 ← sess_abc123 200 1250 ms (first byte 300 ms) 20 → 3 tokens\n"
    )


def test_either_line_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "→ sess" not in printed(monkeypatch, exchange(), log_requests=False)
    assert "←" not in printed(monkeypatch, exchange(), log_responses=False)


def test_streams_errors_and_missing_sessions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    item = exchange(
        session=None,
        answer=response(status=502, streamed=True, error="upstream_aborted", usage=None),
    )
    request, answer = printed(monkeypatch, item).splitlines()
    assert "→ - POST" in request
    assert answer.endswith("← - 502 1250 ms (first byte 300 ms) streamed upstream_aborted")


def test_bodies_are_printed_on_request_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    item = exchange(body="äöü".encode() * 100, answer=response(b"ok"))
    request, answer = printed(monkeypatch, item, log_body=True, max_body_length=4).splitlines()
    assert request.endswith(" äöüä…")
    assert answer.endswith(" ok")
    assert Printer(log_body=True).needs_body
    assert not Printer().needs_body


def test_what_strangers_wrote_can_not_move_the_cursor_or_forge_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evil = "a\x1b[2J\r\nb\u2028c\u0085d\u202ee\x9b\x7f\x00\ud800"
    item = exchange(
        body=evil.encode("utf-8", "surrogatepass"), answer=response(evil.encode("utf-8", "replace"))
    )
    item.model = evil
    text = printed(monkeypatch, item, log_body=True)
    assert len(text.splitlines()) == 2
    assert all(character.isprintable() for line in text.splitlines() for character in line)
    assert "\\u001b[2J\\u000d\\u000ab\\u2028c\\u0085d\\u202ee" in text


def test_colour_on_terminals_only_and_not_against_the_users_will(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m200\x1b[0m" in printed(monkeypatch, exchange(), stream=Terminal())
    failed = exchange(answer=response(status=500))
    assert "\x1b[31m500\x1b[0m" in printed(monkeypatch, failed, stream=Terminal())
    aborted = exchange(answer=response(error="client_closed"))
    assert "\x1b[33m200\x1b[0m" in printed(monkeypatch, aborted, stream=Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(monkeypatch, exchange(), stream=Terminal())


def test_a_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    printed(monkeypatch, exchange(body="ä".encode()), stream=stream, log_body=True)
    assert b"\\u2192 sess_abc123" in raw.getvalue()


def test_an_exchange_without_response_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    item = exchange()
    item.response = None
    assert len(printed(monkeypatch, item).splitlines()) == 1
