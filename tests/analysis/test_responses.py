"""Responses as events."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.analysis import facts, responses
from gateway_sessions.analysis.facts import Call
from gateway_sessions.analysis.faults import fault
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.responses import Outcome
from gateway_sessions.analysis.toolbook import Made
from gateway_sessions.conversation import Usage
from gateway_sessions.milestones import Finished
from gateway_sessions.prices import Cost
from tests.analysis.exchanges import Event, assistant, completion, finished, read

COST = Cost(0.5, 0.25, 0.1, 0.2)


def outcome(end: Finished, cost: Cost | None = None) -> Outcome:
    answered = facts.answered(end.dialect, end.response.body)
    why, used = fault(end.response), end.response.usage
    return Outcome(finished=end, answered=answered, fault=why, usage=used, cost=cost)


def recorded(end: Finished, calls: list[Made] | None = None, **options: Any) -> Event:
    found = responses.response_recorded(outcome(end, COST), calls or [], ScribeOptions(**options))
    (event,) = read([found])
    return event


def test_a_response() -> None:
    event = recorded(finished("req_1", 1, completion("so")))
    assert (event["model_used"], event["status"], event["response_text"]) == ("m", 200, "so")
    assert event["response_json"] == completion("so")
    assert event["response_headers"] == {"content-type": "application/json"}
    stats = event["stats"]
    assert stats["provider_latency_ms"] == 800.0
    assert (stats["post_processing_ms"], stats["total_proxy_overhead_ms"]) == (1.5, 2.0)
    assert stats["tokens"] == event["tokens"]
    assert stats["raw_usage"] == {"prompt_tokens": 10, "completion_tokens": 5}
    assert (stats["content_blocks"], stats["has_refusal"], stats["is_streaming"]) == (
        1,
        False,
        False,
    )
    assert stats["response_size_bytes"] == len(json.dumps(completion("so")))
    assert (stats["tool_calls"], stats["cost_usd"]) == ([], 0.75)
    assert not {"chunk_count", "streaming_duration_ms", "chunk_latency"} & stats.keys()


def test_a_stream_has_times_of_its_own() -> None:
    end = finished("req_1", 1, completion("so"), streamed=True, chunks=3, gaps=(4.0, 6.0))
    stats = recorded(end)["stats"]
    assert (stats["is_streaming"], stats["chunk_count"]) == (True, 3)
    assert (stats["time_to_first_token_ms"], stats["streaming_duration_ms"]) == (300.0, 502.0)
    assert stats["chunk_latency"] == {
        "avg_chunk_latency_ms": 5.0,
        "p50_chunk_latency_ms": 4.0,
        "p95_chunk_latency_ms": 6.0,
        "p99_chunk_latency_ms": 6.0,
        "max_chunk_latency_ms": 6.0,
        "min_chunk_latency_ms": 4.0,
    }
    assert "chunk_latency" not in recorded(finished("r", 1, {}, streamed=True, chunks=1))["stats"]


def test_calls_are_listed_as_recorded() -> None:
    made = Made("c1#req_9", Call("c1", "f", b'{"a":1}'), True)
    end = finished("req_1", 1, completion(assistant(c1="f")))
    (use,) = recorded(end, [made])["stats"]["tool_calls"]
    expected = {"tool_call_id": "c1#req_9", "tool_name": "f", "input_size_bytes": 7}
    assert use == expected | {"tool_arguments": {"a": 1}}
    (bare,) = recorded(end, [made], content="metadata")["stats"]["tool_calls"]
    assert bare == expected


def test_without_content_only_facts_are_recorded() -> None:
    end = finished("req_1", 1, completion("secret"))
    full, facts_only = recorded(end), recorded(end, content="metadata")
    assert "secret" not in json.dumps(facts_only)
    assert full.keys() - facts_only.keys() == {"response_text", "response_json"}
    assert facts_only["stats"] == full["stats"]


@pytest.mark.parametrize("body", [b"<html>no</html>", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_recorded_as_text(body: bytes) -> None:
    event = recorded(finished("req_1", 1, body, status=502))
    assert isinstance(event["response_json"], str)
    assert event["tokens"] is None


def test_nothing_at_all_is_recorded_as_nothing() -> None:
    event = recorded(finished("req_1", 1, b"", status=0, error="upstream_unreachable"))
    assert not {"response_json", "response_text"} & event.keys()
    assert (event["status"], event["model_used"]) == (0, "gpt-4o")
    assert "raw_usage" not in event["stats"]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        (Usage(), {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}),
        (
            Usage(100, 50, 40, 30, reasoning_tokens=20, thinking_tokens=20),
            {
                "input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
                "thinking_tokens": 20, "cache_read_tokens": 40, "cache_creation_tokens": 30,
                "thinking_percentage": 40.0, "tokens_per_second": 100.0,
            },
        ),
        (
            Usage(1, 50, reasoning_tokens=20, audio_input_tokens=1, audio_output_tokens=2),
            {
                "input_tokens": 1, "output_tokens": 50, "total_tokens": 51,
                "reasoning_tokens": 20, "audio_input_tokens": 1, "audio_output_tokens": 2,
                "thinking_percentage": 40.0, "tokens_per_second": 100.0,
            },
        ),
        (
            Usage(1, 1, reasoning_tokens=20),
            {
                "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                "reasoning_tokens": 20, "thinking_percentage": 100.0, "tokens_per_second": 2.0,
            },
        ),
    ],
)  # fmt: skip
def test_tokens(usage: Usage | None, expected: Event | None) -> None:
    found = responses.tokens(usage, 500.0)
    assert (found and json.loads(msgspec.json.encode(found))) == expected


def test_tokens_that_took_no_time_have_no_rate() -> None:
    found = responses.tokens(Usage(1, 5), 0.0)
    assert found is not None
    assert found.tokens_per_second is None


REFUSAL = {"role": "assistant", "content": None, "refusal": "I can not."}


@pytest.mark.parametrize(
    ("body", "status", "refused"),
    [
        (completion("so"), 200, False),
        (completion(REFUSAL), 200, True),
        ({"error": {"code": "content_filter", "message": "x"}}, 400, True),
        ({"error": {"code": "x", "message": "x"}}, 400, False),
    ],
)
def test_a_refusal_is_what_the_provider_calls_so(body: Any, status: int, refused: bool) -> None:
    assert recorded(finished("req_1", 1, body, status=status))["stats"]["has_refusal"] is refused
    silent = finished("req_1", 1, body, status=status, refused=False)
    assert outcome(silent).refused is refused


def test_the_model_is_the_one_that_answered() -> None:
    assert outcome(finished("r", 1, completion("so"))).model == "m"
    assert outcome(finished("r", 1, completion("so"), model="asked")).model == "m"
    read_later = finished("r", 1, completion("so"), finish_reason="")
    read_later = msgspec.structs.replace(
        read_later, response=msgspec.structs.replace(read_later.response, model="")
    )
    assert (outcome(read_later).model, outcome(read_later).finish_reason) == ("m", "stop")
    assert outcome(finished("r", 1, {}, model="asked")).model == "asked"


def test_an_error_has_words_and_without_content_only_a_kind() -> None:
    end = finished("req_1", 1, {"error": {"type": "rate", "message": "slow"}}, status=429)
    found = outcome(end)
    assert found.fault is not None
    full, bare = (
        read([responses.error(found, found.fault, ScribeOptions(content=content))])[0]
        for content in ("full", "metadata")
    )
    assert (full["error_type"], full["error_message"]) == ("rate", "slow")
    assert full["error_details"] == {"type": "rate", "http_status": 429}
    assert bare == full | {"error_message": "rate"}


def test_the_end_of_an_exchange() -> None:
    good, bad = (
        read([responses.request_completed(outcome(end))])[0]
        for end in (
            finished("req_1", 1, completion("so")),
            finished("req_2", 2, completion("so"), error="client_closed"),
        )
    )
    assert (good["success"], good["total_duration_ms"], good["finish_reason"]) == (
        True,
        802.0,
        "stop",
    )
    assert "error" not in good
    assert (bad["success"], bad["error"]) == (False, "client_closed")


def test_our_own_time_is_never_more_than_all() -> None:
    end = finished("req_1", 1, completion("so"), overhead_ms=5000.0)
    assert recorded(end)["stats"]["provider_latency_ms"] == 0.0
