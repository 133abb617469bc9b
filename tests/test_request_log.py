"""Every request is one line that says which session it belongs to."""

from __future__ import annotations

import logging

import pytest

from gateway_sessions.exchange import Client, Exchange, Request, Response, SessionTag
from gateway_sessions.request_log import RequestLog


def exchange(**changes: object) -> Exchange:
    made = Exchange(
        request_id="req_1",
        started_at=0.0,
        client=Client(ip="127.0.0.1", user_agent=""),
        request=Request("POST", "/v1/chat/completions", (), b"the body", 8),
        model="gpt-4o",
        session=SessionTag(
            session_id="sess_1",
            relation="continue",
            source="prefix",
            confidence=1.0,
            root_session_id="sess_1",
        ),
        response=answered(),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def answered(error: str | None = None) -> Response:
    return Response(
        status=200,
        headers=(),
        body=b"the answer",
        size=10,
        duration_ms=12.34,
        time_to_first_byte_ms=1.0,
        streamed=False,
        error=error,
    )


def line(made: Exchange, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.INFO, logger="gateway_sessions.request_log"):
        RequestLog().exchange_finished(made)
    return caplog.messages[-1]


def test_a_line_has_session_relation_source_model_status_and_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert line(exchange(), caplog) == (
        "POST /v1/chat/completions 200 session=sess_1 relation=continue source=prefix"
        " model=gpt-4o ms=12.3 request=req_1"
    )


def test_a_request_without_a_session_says_so(caplog: pytest.LogCaptureFixture) -> None:
    bare = exchange(session=None, model="", request=Request("GET", "/v1/models", (), b"", 0))
    assert line(bare, caplog) == (
        "GET /v1/models 200 session=- relation=- source=- model=- ms=12.3 request=req_1"
    )


def test_what_went_wrong_stands_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    assert line(exchange(response=answered("client_closed")), caplog).endswith(
        " request=req_1 error=client_closed"
    )


def test_a_request_without_a_response_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    assert " 0 session=sess_1 " in line(exchange(response=None), caplog)


def test_long_texts_of_clients_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert len(line(exchange(model="m" * 100_000), caplog)) < 500


def test_no_body_waits_in_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    line(exchange(), caplog)
    values = caplog.records[-1].args
    assert isinstance(values, dict)
    assert all(isinstance(value, (str, int, float)) for value in values.values())


def test_below_its_level_nothing_is_made(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="gateway_sessions.request_log"):
        RequestLog().exchange_finished(exchange())
    assert caplog.messages == []
