"""Whatever comes in whatever order, no exchange is lost or counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.milestones import AnyMilestone, FirstByte
from tests.analysis.exchanges import (
    NOON,
    Event,
    arrived,
    assistant,
    chat,
    completion,
    ended,
    finished,
    kinds,
    of,
    read,
    result,
    scribe,
    tag,
    told,
)
from tests.property.strategies import quick


@st.composite
def traffic(draw: st.DrawFn) -> list[AnyMilestone]:
    """Interleaved exchanges of a few sessions; some starts, ends and sessions' ends are lost."""
    pending: list[list[AnyMilestone]] = []
    for number in range(draw(st.integers(1, 12))):
        place = tag(f"sess_{draw(st.sampled_from('abc'))}", relation="continue")
        name = f"req_{number}"
        calls = {f"c{draw(st.integers(0, 3))}": "f"} if draw(st.booleans()) else {}
        results = [
            result(f"c{draw(st.integers(0, 3))}", "1") for _ in range(draw(st.integers(0, 2)))
        ]
        body = chat("hi", assistant("so", c0="f"), *results, "more")
        reply = completion(assistant("so", **calls))
        status = draw(st.sampled_from([200, 200, 500]))
        steps: list[AnyMilestone] = [
            arrived(name, number, body, 1 + len(results), session=place),
            FirstByte(place.session_id, name, NOON + number + 0.3, 300.0),
            finished(name, number + 0.5, reply, session=place, status=status),
        ]
        lost = draw(st.integers(1, 2)) if draw(st.integers(0, 9)) == 0 else 0
        pending.append(steps[lost:])
    ends = draw(st.lists(st.sampled_from("abc"), max_size=4))
    pending += [[ended(50, session_id=f"sess_{letter}")] for letter in ends]
    found: list[AnyMilestone] = []
    while pending:
        place_ = draw(st.integers(0, len(pending) - 1))
        found.append(pending[place_].pop(0))
        pending = [steps for steps in pending if steps]
    return found


@quick
@given(traffic(), st.sampled_from([1, 2, 100]))
def test_no_exchange_is_lost_or_doubled(milestones: list[AnyMilestone], sessions: int) -> None:
    recorder = Scribe(ScribeOptions(max_sessions=sessions), None)
    found = told(recorder, *milestones) + read(recorder.shutdown(NOON + 99))
    assert recorder.live_sessions == 0
    exchanges = [m for m in milestones if type(m).__name__ == "Finished"]
    done = of(found, "request_completed")
    assert sorted(e["request_id"] for e in done) == sorted(m.request_id for m in exchanges)
    ends = of(found, "completed")
    assert len(ends) == len(of(found, "started"))
    total: Counter[str] = Counter()
    for end in ends:
        total["requests"] += end["final_stats"]["request_count"]
        total["tokens"] += end["grand_total"]
        total["ms"] += round(end["final_stats"]["total_duration_ms"])
    assert total["requests"] == len(done)
    recorded = [event["tokens"] for event in of(found, "response_recorded")]
    assert total["tokens"] == sum(tokens["total_tokens"] for tokens in recorded if tokens)
    assert total["ms"] == round(sum(event["total_duration_ms"] for event in done))


@quick
@given(traffic())
def test_a_session_is_a_start_what_happens_and_an_end(milestones: list[AnyMilestone]) -> None:
    recorder = Scribe(ScribeOptions(), None)
    found = told(recorder, *milestones) + read(recorder.shutdown(NOON + 99))
    live: set[str] = set()
    for event in found:
        if event["type"] == "started":
            assert event["session_id"] not in live
            live.add(event["session_id"])
        assert event["session_id"] in live
        if event["type"] == "completed":
            live.remove(event["session_id"])
    assert live == set()


@quick
@given(traffic())
def test_a_tool_result_is_recorded_once(milestones: list[AnyMilestone]) -> None:
    recorder = Scribe(ScribeOptions(), None)
    for group in _periods(told(recorder, *milestones)):
        tools = of(group, "tool_call_recorded")
        answers = Counter(e["tool_call_id"] for e in tools if "output_size_bytes" in e)
        calls = Counter(e["tool_call_id"] for e in tools if "output_size_bytes" not in e)
        assert max(answers.values(), default=1) == 1
        assert max(calls.values(), default=1) == 1


def _periods(found: list[Event]) -> Iterator[list[Event]]:
    """Yield the events of each session, from a start to the next."""
    for session_id in {event["session_id"] for event in found}:
        group: list[Event] = []
        for event in found:
            if event["session_id"] == session_id:
                if event["type"] == "started":
                    yield group
                    group = []
                group.append(event)
        yield group


@quick
@given(st.binary(max_size=40) | st.sampled_from([b"[" * 9999, b'{"messages":[{}]}']))
def test_no_body_is_too_strange(body: bytes) -> None:
    for dialect in ("openai_chat", "openai_responses", "anthropic", "gemini", "ollama"):
        request = arrived("req_1", 0, body, 1, dialect=dialect, message_count=1)
        end = finished("req_1", 1, body, dialect=dialect)
        found = told(scribe(), request, end, ended(2))
        assert kinds(found)[0] == "started"
        assert kinds(found)[-1] == "completed"
