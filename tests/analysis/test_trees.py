"""The trees of live sessions, as they are recorded."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import trees
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.trees import Trees
from tests.analysis.exchanges import (
    NOON,
    SESSION,
    Event,
    arrived,
    assistant,
    chat,
    completion,
    ended,
    finished,
    of,
    read,
    result,
    scribe,
    tag,
    told,
    user,
)
from tests.property.strategies import Json

CHILD = "sess_child"
TASK = "Find all callers of the function load in the package."
CONTINUE = tag(relation="continue")
PLACE = tag(CHILD, relation="subagent", parent_session_id=SESSION, root_session_id=SESSION)


def spawning(call_id: str = "c1") -> Json:
    message = assistant(None, **{call_id: "task"})
    message["tool_calls"][0]["function"]["arguments"] = json.dumps({"prompt": TASK})
    return message


def family() -> list[Any]:
    """Return the milestones of a session and of one that works for it."""
    return [
        arrived("req_1", 0, chat("refactor"), 1),
        finished("req_1", 1, completion(spawning()), model="m"),
        arrived("req_2", 2, chat(TASK), 1, session=PLACE),
        finished("req_2", 3, completion("There are three."), session=PLACE),
        arrived(
            "req_3",
            4,
            chat(user("refactor"), spawning(), result("c1", "There are three.")),
            1,
            session=CONTINUE,
        ),
        finished("req_3", 5, completion("Done."), session=CONTINUE),
    ]


def loops(found: list[Event]) -> list[t.LoopRecord]:
    return [msgspec.convert(event["loop"], t.LoopRecord) for event in of(found, "loop_recorded")]


def tree(found: list[Event], session_id: str = SESSION) -> Json:
    (end,) = (e for e in of(found, "completed") if e["session_id"] == session_id)
    grown: Json = end["final_stats"]["tree"]
    return grown


def test_each_exchange_tells_of_the_loops_and_turns_that_it_changed() -> None:
    found = loops(told(scribe(), *family()))
    assert [
        (loop.session_id, loop.status, [turn.turn_id.turn_index for turn in loop.turns])
        for loop in found
    ] == [
        (SESSION, "running", [0]),
        (CHILD, "completed", [0]),
        (SESSION, "running", []),  # it has a child
        (SESSION, "completed", [0, 1]),  # the first one has its result
        (CHILD, "completed", []),  # it is confirmed
    ]
    assert found[-1].spawn_ref is not None
    assert found[-1].spawn_ref.confirmed
    assert found[1].formation == t.FirstLoop()


def test_events_are_those_of_the_exchange_that_changed_a_loop() -> None:
    events = of(told(scribe(), *family()), "loop_recorded")
    assert [event["request_id"] for event in events] == [
        "req_1",
        "req_2",
        "req_2",
        "req_3",
        "req_3",
    ]
    assert events[-1]["session_id"] == CHILD


def test_a_request_under_way_is_told_of_with_its_own_answer_alone() -> None:
    other = tag(CHILD)
    events = told(
        scribe(),
        arrived("req_1", 0, chat("hi"), 1),
        arrived("req_2", 1, chat("hello"), 1, session=other),
        finished("req_1", 2, completion("so")),
        finished("req_2", 3, completion("so"), session=other),
    )
    assert [
        (event["request_id"], event["session_id"], event["loop"]["status"])
        for event in of(events, "loop_recorded")
    ] == [("req_1", SESSION, "completed"), ("req_2", CHILD, "completed")]


def test_requests_beside_each_other_in_a_session_are_loops_of_their_own() -> None:
    events = told(
        scribe(),
        arrived("req_1", 0, chat("hi"), 1),
        arrived("req_2", 1, chat("hello"), 1, session=CONTINUE),
        finished("req_2", 2, completion("so"), session=CONTINUE),
        finished("req_1", 3, completion("so")),
        ended(9),
    )
    assert [loop["status"] for loop in tree(events)["loops"]] == ["completed", "completed"]
    assert [loop["turn_count"] for loop in tree(events)["loops"]] == [1, 1]


def test_a_request_without_an_answer_is_a_loop_that_was_given_up() -> None:
    recorder = scribe()
    told(recorder, arrived("req_1", 0, chat("hi"), 1))
    found = read(recorder.shutdown(NOON + 9))
    assert [(loop.status, loop.turn_count) for loop in loops(found)] == [("aborted", 1)]


def test_what_is_handed_on_is_kept_no_longer_but_the_sums_are() -> None:
    found = told(scribe(), *family(), ended(9))
    (loop,) = tree(found)["loops"]
    assert "turns" not in loop
    assert (loop["turn_count"], loop["tool_calls"]) == (2, {"task": 1})
    assert tree(found)["usage"]["total_tokens"] == 30


@pytest.mark.parametrize("first", [SESSION, CHILD])
def test_a_root_has_the_usage_of_all_that_worked_for_it(first: str) -> None:
    other = CHILD if first == SESSION else SESSION
    found = told(scribe(), *family(), ended(9, session_id=first), ended(9, session_id=other))
    total = tree(found)["usage_with_sub_agents"]
    assert total["total_tokens"] == 3 * 15
    assert total["cost_usd"] == pytest.approx(3 * (10 * 1.0 + 5 * 2.0) / 1e6)
    assert tree(found, CHILD)["usage_with_sub_agents"] == tree(found, CHILD)["usage"]


def test_sessions_that_claim_to_work_for_each_other_count_once() -> None:
    one = tag("sess_a", relation="subagent", parent_session_id="sess_b")
    two = tag("sess_b", relation="subagent", parent_session_id="sess_a")
    found = told(
        scribe(),
        *(arrived(f"r{n}", n, chat("hi"), 1, session=place) for n, place in enumerate((one, two))),
        *(finished(f"r{n}", 5, completion("so"), session=p) for n, p in enumerate((one, two))),
        ended(9, session_id="sess_a"),
    )
    assert tree(found, "sess_a")["usage_with_sub_agents"]["total_tokens"] == 30


def test_the_end_of_a_session_gives_up_what_is_open() -> None:
    found = told(scribe(), *family()[:2], ended(9))
    assert [loop.status for loop in loops(found)] == ["running", "aborted"]
    assert found[-1]["type"] == "completed"
    assert tree(found)["loops"][0]["ended_at"] == pytest.approx(family()[0].at + 9)


def test_side_calls_are_counted_beside_the_loops() -> None:
    aside = tag(relation="side_call")
    found = told(
        scribe(),
        *family()[:2],
        arrived("req_9", 2, chat("A title?"), 1, session=aside),
        finished("req_9", 3, completion("Refactoring"), session=aside),
        ended(9),
    )
    grown = tree(found)
    assert (len(grown["loops"]), grown["side_calls"]) == (1, 1)
    assert grown["usage"]["total_tokens"] == 30


def test_other_answers_of_one_response_are_loops() -> None:
    choices = [completion(words)["choices"][0] for words in ("Yes.", "No.")]
    found = told(
        scribe(),
        arrived("req_1", 0, chat("So?", n=2), 1),
        finished("req_1", 1, completion("Yes.", choices=choices)),
    )
    kinds = [loop.parallel_group.kind for loop in loops(found) if loop.parallel_group]
    assert kinds == ["evaluation", "evaluation"]


@pytest.mark.parametrize(
    ("status", "body", "error", "expected"),
    [
        (400, {"error": {"code": "content_filter", "type": "invalid"}}, None, "rejected"),
        (446, {"error": {"message": "hooks failed"}}, None, "rejected"),
        (403, {}, "refused", "rejected"),
        (429, {}, "refused", "running"),
        (400, {"error": {"type": "invalid_request_error"}}, None, "running"),
        (529, {}, None, "running"),
    ],
)
def test_what_a_guard_refuses_is_rejected_and_what_may_be_tried_again_is_not(
    status: int, body: Json, error: str | None, expected: str
) -> None:
    end = finished("req_1", 1, body, status=status, error=error)
    (loop,) = loops(told(scribe(), arrived("req_1", 0, chat("hi"), 1), end))
    assert loop.status == expected


def test_a_summary_is_recorded_once_and_not_where_texts_are_not() -> None:
    place = tag(relation="compaction")
    milestones = [
        *family()[:2],
        arrived("req_5", 5, chat("Summary: refactoring.", "go on"), 2, session=place),
        finished("req_5", 6, completion(assistant(None, c2="read")), session=place),
        arrived("req_6", 7, chat(result("c2", "x")), 1, session=CONTINUE),
        finished("req_6", 8, completion("Done."), session=CONTINUE),
    ]
    blocks = [loop.compaction_block for loop in loops(told(scribe(), *milestones))]
    assert [block for block in blocks if block] == ["Summary: refactoring."]
    assert "Summary" not in json.dumps(told(scribe(content="metadata"), *milestones, ended(9)))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "TOTALS_KEPT", 5)
    recorder = scribe()
    for number in range(20):
        place = tag(f"sess_{number}")
        told(recorder, arrived("r", number, chat("hi"), 1, session=place))
        told(recorder, finished("r", number, completion("so"), session=place))
        told(recorder, ended(number, session_id=f"sess_{number}"))
    grown = recorder._trees
    assert len(grown._totals) == 5
    assert grown._recorder.sessions() == []
    assert grown._inference._threads == {}
    assert grown._recorder._loops == {}
    assert grown._recorder._changed == {}
    assert grown._opening == {}


def test_a_session_that_nobody_knows_has_no_tree() -> None:
    assert Trees(ScribeOptions()).summary("sess_a") is None


def test_half_a_character_in_a_name_becomes_a_question_mark() -> None:
    loop = t.LoopRecord(
        loop_id="l",
        session_id="s",
        agent_id="\ud83d",
        continuation_kind=t.Initial(),
        started_at=1.0,
        status="running",
        metadata={"\ud83d": ["\ud83d"]},
    )
    assert json.loads(trees._json(loop))["agent_id"] == "?"
    assert json.loads(trees._json(loop))["metadata"] == {"?": ["?"]}
