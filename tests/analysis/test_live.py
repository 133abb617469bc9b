"""One live session: its tools, its snapshots, its end."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.analysis.facts import Asked
from gateway_sessions.analysis.live import OPEN_LIMIT, Live
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.trees import Trees
from gateway_sessions.exchange import Headers
from tests.analysis.exchanges import (
    NOON,
    PRICES,
    SESSION,
    Event,
    arrived,
    assistant,
    chat,
    completion,
    ended,
    finished,
    kinds,
    of,
    result,
    scribe,
    tag,
    told,
)

CONTINUE = tag(relation="continue")


def tools(found: list[Event]) -> list[tuple[Any, ...]]:
    """Return name, id, output size and time of the tool events."""
    return [
        (
            event["tool_name"],
            event["tool_call_id"],
            event.get("output_size_bytes"),
            event.get("execution_time_ms"),
        )
        for event in of(found, "tool_call_recorded")
    ]


def summary(found: list[Event]) -> Event:
    """Return what the end of the session says of its tools."""
    (event,) = of(found, "completed")
    said: Event = event["final_stats"]["tool_summary"]
    return said


def test_a_call_and_its_result_are_recorded_once_each() -> None:
    history = ["weather?", assistant(c1="f", c2="g"), result("c1", "sun"), result("c2", "42")]
    found = told(
        scribe(),
        arrived("req_1", 0, chat("weather?"), 1),
        finished("req_1", 1, completion(assistant(c1="f", c2="g"))),
        arrived("req_2", 3, chat(*history), 2, session=CONTINUE),
        finished("req_2", 4, completion("sunny")),
        arrived("req_3", 5, chat(*history, assistant("sunny"), "and then?"), 1, session=CONTINUE),
        finished("req_3", 6, completion("rain")),
        ended(7),
    )
    assert tools(found) == [
        ("f", "c1", None, None),
        ("g", "c2", None, None),
        ("f", "c1", 3, 2000.0),
        ("g", "c2", 2, 2000.0),
    ]
    call, _, answer, _ = of(found, "tool_call_recorded")
    assert call["tool_arguments"] == {"a": 1}
    assert call["input_size_bytes"] == answer["input_size_bytes"] == 7
    assert answer["time_is_upper_bound"] is True
    assert (call["request_id"], answer["request_id"]) == ("req_1", "req_2")
    assert summary(found)["by_tool"]["f"] == {
        "call_count": 1,
        "total_execution_time_ms": 2000.0,
        "avg_execution_time_ms": 2000.0,
        "error_count": 0,
    }


@pytest.mark.parametrize("relation", ["retry", "regenerate", "fork", "side_call"])
def test_results_that_are_sent_again_are_not_recorded_again(relation: str) -> None:
    request = chat("weather?", assistant(c1="f"), result("c1", "sun"))
    found = told(
        scribe(),
        arrived("req_1", 0, chat("weather?"), 1),
        finished("req_1", 1, completion(assistant(c1="f"))),
        arrived("req_2", 2, request, 1, session=CONTINUE),
        finished("req_2", 3, {}, status=500),
        arrived("req_3", 4, request, 1, session=tag(relation=relation)),
        finished("req_3", 5, completion("sunny")),
        ended(6),
    )
    assert len(tools(found)) == 2
    assert summary(found)["total_tool_calls"] == 1
    assert kinds(found).count("request_completed") == 3


def test_a_result_whose_call_nobody_saw_is_recorded_with_it() -> None:
    """Recording began after the call; the call still stands before its result."""
    request = chat("weather?", assistant(c1="f"), result("c1", "sun"), result("x", "?"))
    found = told(
        scribe(),
        arrived("req_2", 3, request, 2, session=CONTINUE),
        arrived("req_3", 4, request, 2, session=tag(relation="retry")),
        ended(5),
        finished("req_2", 6, completion("sunny")),
        finished("req_3", 6, completion("sunny")),
    )
    assert tools(found) == [("f", "c1", 3, None), ("", "x", 1, None)]
    assert summary(found)["total_tool_calls"] == 2


def test_a_result_that_overtakes_the_end_of_its_reply_is_counted_once() -> None:
    """A client may send the result before we have said that the reply is over."""
    found = told(
        scribe(),
        arrived("req_1", 0, chat("weather?"), 1),
        arrived("req_2", 1, chat("weather?", assistant(c1="f"), result("c1", "sun")), 1),
        finished("req_1", 1, completion(assistant(c1="f"))),
        finished("req_2", 2, completion("sunny")),
        ended(3),
    )
    assert tools(found) == [("f", "c1", 3, None), ("f", "c1", None, None)]
    assert summary(found)["total_tool_calls"] == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((("x-claude-code-prev-tool-durations", "f=742;g=9"),), [(742.0, False), (9.0, False)]),
        ((("x-claude-code-prev-tool-durations", "g=9"),), [(2000.0, True), (9.0, False)]),
        ((("x-claude-code-prev-tool-durations", "f=1;f=2;g=9"),), [(2000.0, True), (9.0, False)]),
        ((), [(2000.0, True), (2000.0, True)]),
    ],
)
def test_times_are_exact_where_the_client_measures_them(
    headers: Headers, expected: list[Any]
) -> None:
    messages = ("hi", assistant(c1="f", c2="g"), result("c1", "1"), result("c2", "2"))
    found = told(
        scribe(),
        arrived("req_1", 0, chat("hi"), 1),
        finished("req_1", 1, completion(assistant(c1="f", c2="g"))),
        arrived("req_2", 3, chat(*messages), 2, session=CONTINUE, headers=headers),
    )
    answers = of(found, "tool_call_recorded")[2:]
    assert [(e["execution_time_ms"], e["time_is_upper_bound"]) for e in answers] == expected


def test_several_calls_of_one_tool_have_their_times_in_order() -> None:
    headers = (("x-claude-code-prev-tool-durations", "f=1;f=2"),)
    messages = ("hi", assistant(c1="f", c2="f"), result("c1", "1"), result("c2", "2"))
    found = told(
        scribe(),
        arrived("req_1", 0, chat("hi"), 1),
        finished("req_1", 1, completion(assistant(c1="f", c2="f"))),
        arrived("req_2", 3, chat(*messages), 2, session=CONTINUE, headers=headers),
    )
    assert [time for *_, time in tools(found)[2:]] == [1.0, 2.0]


def test_calls_without_ids_get_some_and_results_find_them() -> None:
    def content(*parts: Any, role: str = "user") -> Any:
        return {"role": role, "parts": list(parts)}

    question = content({"text": "hi"})
    call = content({"functionCall": {"name": "f", "args": {"a": 1}}}, role="model")
    answer = content({"functionResponse": {"name": "f", "response": {"error": "no"}}})
    reply = {"candidates": [{"content": call, "finishReason": "STOP"}]}
    request = {"contents": [question, call, answer]}
    found = told(
        scribe(),
        arrived("req_1", 0, {"contents": [question]}, 1, dialect="gemini"),
        finished("req_1", 1, reply, dialect="gemini"),
        arrived("req_2", 2, request, 1, dialect="gemini", session=CONTINUE),
        finished("req_2", 3, {}, dialect="gemini", status=500),
        arrived("req_3", 4, request, 1, dialect="gemini", session=tag(relation="retry")),
        finished("req_3", 5, {"candidates": []}, dialect="gemini"),
        ended(6),
    )
    assert tools(found) == [("f", "req_1#0", None, None), ("f", "req_1#0", 2, 1000.0)]
    assert of(found, "tool_call_recorded")[1]["success"] is False
    assert summary(found)["tool_error_count"] == 1


def test_results_without_ids_and_calls_are_recorded_where_recording_begins() -> None:
    answer = {"role": "tool", "tool_name": "f", "content": "42"}
    body = {"model": "m", "messages": [answer, answer]}
    found = told(scribe(), arrived("req_1", 0, body, 2, dialect="ollama"))
    assert tools(found) == [("f", "req_1#0", 2, None), ("f", "req_1#1", 2, None)]


def test_tools_at_the_providers_are_answered_in_the_reply() -> None:
    content = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
    ]
    found = told(scribe(), finished("req_1", 1, {"content": content}, dialect="anthropic"))
    assert tools(found) == [("web_search", "s1", None, None), ("web_search", "s1", 0, None)]
    assert of(found, "tool_call_recorded")[1]["success"] is True


def test_without_content_calls_have_no_arguments() -> None:
    end = finished("req_1", 1, completion(assistant(c1="f")))
    (call,) = of(told(scribe(content="metadata"), end), "tool_call_recorded")
    assert "tool_arguments" not in call
    assert call["input_size_bytes"] == 7


def exchanges(count: int, *, seconds: float = 1.0) -> list[Any]:
    found: list[Any] = []
    for number in range(count):
        found.append(arrived(f"req_{number}", number * seconds, chat("hi"), 1))
        found.append(finished(f"req_{number}", number * seconds + 0.5, completion("so")))
    return found


def test_snapshots_come_every_few_exchanges() -> None:
    found = told(scribe(snapshot_every_requests=3, snapshot_every_seconds=0), *exchanges(7))
    counts = [event["request_count"] for event in of(found, "stats_snapshot")]
    assert counts == [3, 6]


def test_snapshots_come_when_some_time_has_passed() -> None:
    options = {"snapshot_every_requests": 0, "snapshot_every_seconds": 25.0}
    found = told(scribe(**options), *exchanges(7, seconds=10.0))
    counts = [event["request_count"] for event in of(found, "stats_snapshot")]
    assert counts == [4, 7]


def test_snapshots_can_be_left_out() -> None:
    options = {"snapshot_every_requests": 0, "snapshot_every_seconds": 0}
    found = told(scribe(**options), *exchanges(50, seconds=1000.0))
    assert of(found, "stats_snapshot") == []


def test_a_session_ends_as_its_last_exchange_did() -> None:
    good = finished("req_1", 1, completion("so"))
    bad = finished("req_2", 2, {"error": {"type": "rate"}}, status=429)
    (one,) = of(told(scribe(), bad, good, ended(3)), "completed")
    assert (one["success"], one.get("error"), one["finish_reason"]) == (True, None, "stop")
    (two,) = of(told(scribe(), good, bad, ended(3)), "completed")
    assert (two["success"], two["error"], two.get("finish_reason")) == (False, "rate", None)
    assert two["request_id"] == "req_2"


def test_exchanges_whose_end_is_lost_are_given_up() -> None:
    live = Live(SESSION, NOON, ScribeOptions(), PRICES, Trees(ScribeOptions()))
    for number in range(OPEN_LIMIT + 1):
        request = arrived(f"req_{number}", 0, b"", 0)
        live.arrived(request, Asked())
    assert live.under_way
    for number in range(1, OPEN_LIMIT + 1):
        live.finished(finished(f"req_{number}", 1, {}))
    assert not live.under_way


def test_the_asked_models_price_is_taken_where_that_of_the_answer_is_not_known() -> None:
    body = completion("so") | {"model": "deployment-7"}
    found = told(scribe(), finished("req_1", 1, body, model="priced"))
    cost = of(found, "response_recorded")[0]["stats"]["cost_usd"]
    assert cost == pytest.approx((10 * 1.0 + 5 * 2.0) / 1e6)
