"""Why exchanges failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.analysis.faults import MESSAGE_LIMIT, Fault, fault
from gateway_sessions.exchange import Response


def response(status: int = 200, body: Any = b"", **fields: Any) -> Response:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, (), sent, len(sent), 1.0, 1.0, False, **fields)


def found(status: int = 200, body: Any = b"", **fields: Any) -> Fault:
    why = fault(response(status, body, **fields))
    assert why is not None
    return why


@pytest.mark.parametrize("status", [200, 204, 302])
def test_what_went_well_has_none(status: int) -> None:
    assert fault(response(status, {"error": {"message": "in the answer"}})) is None


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"error": {"type": "rate", "message": "slow", "code": "x"}}, "rate", "slow"),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "b"}},
            "overloaded_error",
            "b",
        ),
        (
            {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "q"}},
            "RESOURCE_EXHAUSTED",
            "q",
        ),
        ([{"error": {"status": "X", "message": "q"}}], "X", "q"),
        ({"error": "model is not there"}, "http_429", "model is not there"),
        ({"message": "throttled"}, "http_429", "throttled"),
        ({"detail": "not found"}, "http_429", "not found"),
        (b"<html>no</html>", "http_429", "<html>no</html>"),
        (b"", "http_429", "The provider answered 429."),
        ([], "http_429", "The provider answered 429."),
        ({"error": {"type": {}, "message": {"a": 1}}}, "http_429", "{'a': 1}"),
    ],
)
def test_a_providers_own_words(body: Any, kind: str, message: str) -> None:
    why = found(429, body)
    assert (why.kind, why.message) == (kind, message)
    assert why.details["http_status"] == 429


def test_what_the_provider_says_in_one_word_is_kept() -> None:
    error = {"type": "a", "code": 7, "status": "C", "param": "d"}
    assert found(400, {"error": error}).details == {
        "type": "a", "code": "7", "status": "C", "http_status": 400
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    ["client_closed", "upstream_aborted", "upstream_unreachable", "upstream_timeout", "refused"],
)
def test_what_happened_on_the_way_comes_first(error: str) -> None:
    why = found(200, b"{}", error=error)
    assert why.kind == error
    assert why.message.endswith(".")
    assert "200" not in why.message


def test_a_stream_without_its_end_failed() -> None:
    assert found(complete=False).kind == "incomplete"


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"error": {"code": "content_filter", "message": "x"}}, True),
        ({"error": {"type": "content_policy_violation"}}, True),
        ({"error": {"code": "rate_limit_exceeded"}}, False),
        ({"error": "content_filter"}, False),
    ],
)
def test_declining_for_the_contents_sake_is_a_refusal(body: Any, refused: bool) -> None:
    assert found(400, body).refused is refused


def test_a_guardrails_own_status_is_a_refusal() -> None:
    assert found(446, {"error": {"message": "hooks failed"}}).refused


def test_long_and_broken_texts_are_cut_and_mended() -> None:
    assert len(found(500, b"x" * 100_000).message) == MESSAGE_LIMIT
    assert len(found(500, {"message": "x" * 100_000}).message) == MESSAGE_LIMIT
    assert found(500, b"\xff").message == "\ufffd"
    assert found(500, b"[" * 100_000).message.startswith("[")
