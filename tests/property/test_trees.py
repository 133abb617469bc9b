"""Whatever happens in whatever order, no turn is lost and nothing is kept for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis.loop_states import OPEN
from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.analysis.session_recorder import SessionRecorder
from gateway_sessions.milestones import AnyMilestone
from tests.analysis.exchanges import (
    NOON,
    PRICES,
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
    tag,
    told,
)
from tests.property.strategies import quick

RELATIONS = (
    *("first", "continue", "continue", "continue", "retry", "regenerate"),
    *("fork", "compaction", "subagent", "side_call", "reset"),
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[AnyMilestone]:
    """Interleaved exchanges of a few sessions, with verdicts that need not make sense."""
    pending: list[list[AnyMilestone]] = []
    for number in range(draw(st.integers(1, 14))):
        session, name = f"sess_{draw(st.sampled_from('abc'))}", f"req_{number}"
        parent = draw(st.sampled_from([None, None, "sess_a", "sess_b"]))
        place = tag(session, relation=draw(st.sampled_from(RELATIONS)), parent_session_id=parent)
        calls = {f"c{n}": "task" for n in range(draw(st.integers(0, 2)))}
        brought = [
            result(f"c{draw(st.integers(0, 2))}", "1") for _ in range(draw(st.integers(0, 2)))
        ]
        words = draw(st.sampled_from([[], ["more"]]))
        body = chat("hi", assistant("so", c0="task"), *brought, *words)
        reply = completion(assistant(draw(st.sampled_from([None, "so"])), **calls))
        reply["choices"] *= draw(st.sampled_from([1, 1, 3]))
        status = draw(st.sampled_from([200, 200, 200, 446, 500]))
        steps: list[AnyMilestone] = [
            arrived(name, number, body, len(brought) + len(words), session=place),
            finished(name, number + 0.5, reply, session=place, status=status),
        ]
        pending.append(steps[draw(st.sampled_from([0, 0, 0, 0, 1])) :])
    return _interleaved(draw, pending)


def _interleaved(draw: st.DrawFn, pending: list[list[Any]]) -> list[Any]:
    found: list[Any] = []
    while pending:
        found.append(pending[draw(st.integers(0, len(pending) - 1))].pop(0))
        pending = [steps for steps in pending if steps]
    return found


def recorded(found: Iterable[Event]) -> tuple[dict[str, t.LoopRecord], dict[Any, t.Turn]]:
    """Return the newest state of each loop and of each turn."""
    loops: dict[str, t.LoopRecord] = {}
    turns: dict[Any, t.Turn] = {}
    for event in of(found, "loop_recorded"):
        loop = msgspec.convert(event["loop"], t.LoopRecord)
        loops[loop.loop_id] = loop
        turns |= {turn.turn_id: turn for turn in loop.turns}
    return loops, turns


@quick
@given(exchanges())
def test_every_exchange_is_in_exactly_one_turn_or_side_call(milestones: list[AnyMilestone]) -> None:
    scribe = Scribe(ScribeOptions(), PRICES)
    found = told(scribe, *milestones) + read(scribe.shutdown(NOON + 99))
    _, turns = recorded(found)
    asides = {m.request_id for m in milestones if m.session.relation == "side_call"}  # type: ignore[union-attr]
    places = Counter(asides & {event["request_id"] for event in of(found, "response_recorded")})
    places.update(each.request_id for turn in turns.values() for each in turn.attempts)
    assert places == Counter({event["request_id"] for event in of(found, "response_recorded")})


@quick
@given(exchanges())
def test_sums_of_turns_loops_and_sessions_are_those_of_the_exchanges(
    milestones: list[AnyMilestone],
) -> None:
    scribe = Scribe(ScribeOptions(), PRICES)
    found = told(scribe, *milestones) + read(scribe.shutdown(NOON + 99))
    loops, turns = recorded(found)
    for loop_id, loop in loops.items():
        own = [turn for turn_id, turn in turns.items() if turn_id.loop_id == loop_id]
        assert loop.turn_count == len(own)
        assert loop.usage.total_tokens == sum(turn.usage.total_tokens for turn in own)
        assert loop.status not in OPEN
        assert loop.ended_at is not None
    used: Counter[str] = Counter()
    for event in of(found, "response_recorded"):
        used[event["session_id"]] += (event["tokens"] or {"total_tokens": 0})["total_tokens"]
    for end in of(found, "completed"):
        tree = end["final_stats"]["tree"]
        assert tree["usage"].get("total_tokens", 0) == used[end["session_id"]]


@quick
@given(exchanges(), st.lists(st.sampled_from("abc"), max_size=4), st.randoms(use_true_random=False))
def test_nothing_is_kept_when_all_sessions_are_over(
    milestones: list[AnyMilestone], ends: list[str], chance: Any
) -> None:
    for letter in ends:
        place = chance.randrange(len(milestones) + 1)
        milestones.insert(place, ended(50, session_id=f"sess_{letter}"))
    scribe = Scribe(ScribeOptions(), None)
    told(scribe, *milestones)
    scribe.shutdown(NOON + 99)
    trees = scribe._trees
    assert trees._inference._threads == {}
    recorder = trees._recorder
    assert recorder.sessions() == []
    assert recorder._loops == {}
    assert recorder._changed == {}


LOOPS = ("l1", "l2", "k1")
SESSIONS = {"l1": "s", "l2": "s", "k1": "child"}


@st.composite
def agent_events(draw: st.DrawFn) -> list[a.AgentEvent]:
    """Events of a few loops, whole but in any order."""
    events: list[a.AgentEvent] = []
    for loop_id in LOOPS:
        ids: dict[str, Any] = {"session_id": SESSIONS[loop_id], "loop_id": loop_id}
        events.append(a.AgentStart(**ids, at=1.0, agent_id="main"))
        for index in range(draw(st.integers(0, 3))):
            name = f"{loop_id}-{index}"
            usage = t.Usage(input=draw(st.integers(0, 9)))
            events.append(a.TurnStart(**ids, at=2.0, turn_index=index, request_id=name))
            events.append(a.TurnEnd(**ids, at=3.0, turn_index=index, request_id=name, usage=usage))
        events.append(a.ToolExecutionStart(**ids, at=3.0, tool_call_id="c", tool_name="read"))
        events.append(a.ToolExecutionEnd(**ids, at=4.0, tool_call_id="c", size_bytes=1))
        if draw(st.booleans()):
            outcome = draw(st.sampled_from(get_args(a.Outcome)))
            events.append(a.AgentEnd(**ids, at=5.0, outcome=outcome))
        if draw(st.booleans()):
            events.append(a.ParallelLoopStart(**ids, at=3.0, kind="fanout", loop_ids=LOOPS))
    return list(draw(st.permutations(events)))


@quick
@given(agent_events(), st.integers(0, 99))
def test_reported_events_make_the_same_tree_in_any_order(
    events: list[a.AgentEvent], pause: int
) -> None:
    recorder = SessionRecorder()
    for number, event in enumerate(events):
        recorder.on_event(event)
        if number == pause:
            recorder.checkpoint()
    recorder.flush()
    sessions = {session.session_id: session for session in recorder.drain_completed()}
    assert recorder.sessions() == []
    assert recorder._loops == {}
    assert sorted(loop.loop_id for s in sessions.values() for loop in s.loops) == sorted(LOOPS)
    for session in sessions.values():
        for loop in session.loops:
            own = [event for event in events if event.loop_id == loop.loop_id]
            asked = sorted(e.request_id for e in own if isinstance(e, a.TurnStart))
            turns = [each.request_id for turn in loop.turns for each in turn.attempts]
            assert sorted(turns) == asked
            ends = [event for event in own if isinstance(event, a.TurnEnd)]
            assert loop.usage.input == sum(event.usage.input for event in ends)
            told_ends = [event.outcome for event in own if isinstance(event, a.AgentEnd)]
            assert loop.status == (told_ends[0] if told_ends else "aborted")
            if asked:
                assert loop.tool_calls == {"read": 1}
