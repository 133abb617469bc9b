"""The tree grows right in whichever order events come, and nothing is lost or kept for ever."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import session_recorder
from gateway_sessions.analysis.agent_events import AgentEvent
from gateway_sessions.analysis.session_recorder import RecorderConfig, SessionRecorder
from gateway_sessions.conversation import Message, Text

S = "s.1"
"""A session id with a dot in it: nothing may take names apart."""


def said(role: str, text: str) -> Message:
    return Message(role, (Text(text),))


def start(loop: str = "l1", at: float = 1.0, session: str = S, **fields: object) -> a.AgentStart:
    values = {"session_id": session, "loop_id": loop, "at": at, "agent_id": "main"} | fields
    return a.AgentStart(**values)  # type: ignore[arg-type]


def whole_loop(session: str = S, loop: str = "l1", at: float = 1.0) -> list[AgentEvent]:
    """Return a loop of two turns with one tool between them, in the order of events."""
    ids: dict[str, Any] = {"session_id": session, "loop_id": loop}
    usage = t.Usage(input=10, output=5, cost_usd=0.5)
    return [
        start(loop, at, session),
        a.TurnStart(
            **ids, at=at, turn_index=0, request_id="r1", input_messages=(said("user", "hi"),)
        ),
        a.TurnEnd(
            **ids,
            at=at + 1,
            turn_index=0,
            request_id="r1",
            output_message=said("assistant", "wait"),
            usage=usage,
        ),
        a.ToolExecutionStart(**ids, at=at + 1, tool_call_id="c1", tool_name="read"),
        a.ToolExecutionEnd(**ids, at=at + 2, tool_call_id="c1", content="text", size_bytes=4),
        a.TurnStart(**ids, at=at + 2, turn_index=1, request_id="r2", triggered_by="continuation"),
        a.TurnEnd(
            **ids,
            at=at + 3,
            turn_index=1,
            request_id="r2",
            output_message=said("assistant", "done"),
            usage=usage,
        ),
        a.AgentEnd(**ids, at=at + 3),
    ]


def recorded(events: list[AgentEvent], config: RecorderConfig | None = None) -> SessionRecorder:
    recorder = SessionRecorder(config)
    for event in events:
        recorder.on_event(event)
    return recorder


def the(recorder: SessionRecorder, session: str = S) -> t.Session:
    found = recorder.get_session(session)
    assert found is not None
    return found


def test_a_loop_from_explicit_events() -> None:
    (loop,) = the(recorded(whole_loop())).loops
    assert (loop.status, loop.started_at, loop.ended_at) == ("completed", 1.0, 4.0)
    assert [message.role for message in loop.messages] == ["user", "assistant", "assistant"]
    assert loop.usage == t.Usage(input=20, output=10, cost_usd=1.0)
    assert [turn.duration for turn in loop.turns] == [1.0, 1.0]
    assert loop.turns[0].tool_results[0].content == "text"
    assert (loop.turn_count, loop.tool_calls) == (2, {"read": 1})
    types = [event.event["type"] for event in loop.events]
    assert types[0] == "agent_start"
    assert types[-1] == "agent_end"
    assert [event.sequence for event in loop.events] == list(range(8))


@pytest.mark.parametrize("seed", range(30))
def test_links_and_sums_do_not_depend_on_the_order_of_events(seed: int) -> None:
    chance = random.Random(seed)
    link = a.ChildLinked(
        session_id=S,
        loop_id="l1",
        at=2.0,
        tool_call_id="c1",
        tool_name="read",
        child_session_id="child",
        child_loop_id="k1",
    )
    group = a.ParallelLoopStart(
        session_id=S, loop_id="l1", at=2.0, kind="fanout", loop_ids=("k1", "k2")
    )
    events = [
        *whole_loop(),
        *whole_loop("child", "k1", 2.0),
        *whole_loop("other", "k2", 2.0),
        link,
        group,
    ]
    chance.shuffle(events)
    recorder = recorded(events)
    (loop,) = the(recorder).loops
    assert loop.usage == t.Usage(input=20, output=10, cost_usd=1.0)
    assert (loop.status, loop.turn_count, loop.tool_calls) == ("completed", 2, {"read": 1})
    assert [turn.turn_id.turn_index for turn in loop.turns] == [0, 1]
    assert sorted(r for turn in loop.turns for r in _requests(turn)) == ["r1", "r2"]
    assert loop.children_loop_ids == ("k1",)
    spawn = the(recorder, "child").parent_spawn_ref
    assert spawn is not None
    assert spawn.parent_loop_id == "l1"
    for session, member in (("child", "k1"), ("other", "k2")):
        found = the(recorder, session).loops[0]
        assert found.loop_id == member
        assert found.parallel_group is not None
        assert found.parallel_group.all_loop_ids == ("k1", "k2")


def _requests(turn: t.Turn) -> list[str]:
    return [attempt.request_id for attempt in turn.attempts]


def test_before_task_may_reject_and_its_answer_counts() -> None:
    asked: list[str] = []

    def before(session: t.Session) -> bool:
        asked.append(session.session_id)
        return False

    recorder = SessionRecorder(RecorderConfig(before_task=before))
    assert not recorder.on_event(start())
    assert recorder.on_event(start("l2", 2.0)), "it is asked once for a session"
    first, second = the(recorder).loops
    assert (first.status, first.rejection) == ("rejected", "before_task")
    assert second.status == "pending"
    assert asked == [S]


def test_flush_aborts_with_an_end_and_keeps_what_is_known() -> None:
    ended: list[t.Session] = []
    recorder = recorded(whole_loop()[:4], RecorderConfig(after_task=ended.append))
    recorder.flush()
    (session,) = recorder.drain_completed()
    (loop,) = session.loops
    assert (loop.status, loop.ended_at) == ("aborted", 2.0)
    assert loop.usage.total_tokens == 15
    assert len(loop.messages) == 2
    assert ended == [session]
    assert recorder.drain_completed() == recorder.sessions() == []


def test_flush_links_what_is_still_open() -> None:
    """Lessons: a recorder's flush left loops unlinked and without an end."""
    ids: dict[str, Any] = {"session_id": S, "loop_id": "l2", "at": 9.0}
    recorder = recorded(
        [
            *whole_loop(),
            start("l2", 8.0, parent_loop_id="l1"),
            a.TurnStart(**ids, turn_index=0, input_messages=(said("user", "more"),)),
            a.ChildLinked(
                **ids,
                tool_call_id="c9",
                tool_name="task",
                child_session_id="child",
                child_loop_id="k1",
            ),
            start("k1", 9.5, session="child"),
        ]
    )
    recorder.flush()
    sessions = {session.session_id: session for session in recorder.drain_completed()}
    first, second = sessions[S].loops
    assert first.children_loop_ids == ("l2",)
    assert (second.parent_loop_id, second.children_loop_ids) == ("l1", ("k1",))
    assert (second.status, second.ended_at) == ("aborted", 9.0)
    assert second.messages == (said("user", "more"),)
    spawn = sessions["child"].parent_spawn_ref
    assert spawn is not None
    assert (spawn.parent_loop_id, spawn.tool_call_id) == ("l2", "c9")
    assert sessions["child"].loops[0].ended_at == 9.5


def test_checkpoint_completes_what_is_idle_and_nothing_else() -> None:
    ended: list[str] = []
    config = RecorderConfig(after_task=lambda session: ended.append(session.session_id))
    recorder = recorded([*whole_loop(), start("l9", session="busy")], config)
    assert recorder.checkpoint() == 1
    assert ended == [S]
    assert the(recorder, "busy").loops[0].status == "pending"
    assert recorder.checkpoint() == 0


def test_a_session_that_goes_on_after_a_checkpoint_is_one_session() -> None:
    ended: list[str] = []
    config = RecorderConfig(after_task=lambda session: ended.append(session.session_id))
    recorder = recorded(whole_loop(), config)
    recorder.checkpoint()
    for event in whole_loop(loop="l2", at=10.0):
        recorder.on_event(event)
    assert len(recorder.sessions()) == 1
    assert [loop.loop_id for loop in the(recorder).loops] == ["l1", "l2"]
    recorder.checkpoint()
    (session,) = recorder.drain_completed()
    assert len(session.loops) == 2
    assert ended == [S], "it is told once"


def test_the_loop_that_is_current() -> None:
    recorder = recorded(whole_loop()[:2])
    loop = recorder.current_loop("l1")
    assert loop is not None
    assert loop.status == "running"
    assert recorder.current_loop("l2") is None
    recorder.flush()
    assert recorder.current_loop("l1") is None
    recorder.drain_completed()
    assert recorder._loops == {}


def test_loops_are_in_the_order_in_which_they_started() -> None:
    recorder = recorded(
        [start("late", 9.0), start("early", 3.0), a.AgentEnd(session_id=S, loop_id="late", at=10.0)]
    )
    assert [loop.loop_id for loop in the(recorder).loops] == ["early", "late"]


def test_a_second_attempt_counts_to_the_same_turn() -> None:
    ids: dict[str, Any] = {"session_id": S, "loop_id": "l1"}
    recorder = recorded(
        [
            start(),
            a.TurnStart(**ids, at=1.0, turn_index=0, request_id="r1"),
            a.TurnEnd(**ids, at=2.0, turn_index=0, request_id="r1", error="overloaded"),
            a.TurnStart(**ids, at=3.0, turn_index=0, request_id="r2", triggered_by="branch"),
            a.TurnEnd(**ids, at=4.0, turn_index=0, request_id="r2", usage=t.Usage(input=1)),
        ]
    )
    (turn,) = the(recorder).loops[0].turns
    assert [(x.request_id, x.ended_at, x.error) for x in turn.attempts] == [
        ("r1", 2.0, "overloaded"),
        ("r2", 4.0, None),
    ]
    assert turn.triggered_by == "user"
    assert turn.usage.input == 1


def test_events_of_streams_are_kept_only_where_asked_for() -> None:
    ids: dict[str, Any] = {"session_id": S, "loop_id": "l1", "at": 1.0}
    events = [start(), a.MessageUpdate(**ids, text="wo"), a.ProgressMessage(**ids, text="…")]
    assert len(the(recorded(events)).loops[0].events) == 2
    streaming = the(recorded(events, RecorderConfig(include_streaming_events=True)))
    assert streaming.loops[0].events[1].event["text"] == "wo"


def test_what_else_agents_report() -> None:
    ids: dict[str, Any] = {"session_id": S, "loop_id": "l1", "at": 2.0}
    recorder = recorded(
        [
            start(),
            a.CompactionStarted(**ids),
            a.CompactionEnded(**ids, block="summary"),
            a.MessageStart(**ids),
            a.MessageEnd(**ids, message=said("assistant", "hi")),
            a.InputRejected(**ids, reason="guard"),
        ]
    )
    (loop,) = the(recorder).loops
    assert (loop.compaction_block, loop.rejection, loop.status) == ("summary", "guard", "rejected")
    assert loop.messages == (said("assistant", "hi"),)


def test_handing_on_gives_each_change_once_and_lets_go_of_what_is_over() -> None:
    recorder = SessionRecorder()
    seen: list[tuple[int, int]] = []
    for event in whole_loop():
        recorder.on_event(event)
        seen += [(len(loop.turns), loop.turn_count) for loop in recorder.take_changed()]
    assert seen == [(0, 0), (1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (1, 2), (0, 2)]
    assert recorder.take_changed() == []
    (loop,) = the(recorder).loops
    assert loop.usage == t.Usage(input=20, output=10, cost_usd=1.0)
    assert (loop.turns, loop.tool_calls) == ((), {"read": 1})


def test_what_a_session_changed_itself_waits_until_it_is_asked_for() -> None:
    recorder = recorded([start(session="s1"), start("l2", session="s2")])
    assert [loop.loop_id for loop in recorder.take_changed("s1")] == ["l1"]
    assert recorder.take_changed("s1") == []
    assert [loop.loop_id for loop in recorder.take_changed("s2")] == ["l2"]


def test_what_others_changed_in_a_session_is_handed_on_at_once() -> None:
    recorder = recorded([start(), start("l2", session="s2")])
    recorder.take_changed()
    recorder.on_event(
        a.ChildLinked(
            session_id=S,
            loop_id="l1",
            at=2.0,
            tool_call_id="c1",
            tool_name="task",
            child_session_id="s2",
            child_loop_id="l2",
        )
    )
    assert [loop.loop_id for loop in recorder.take_changed("s3")] == ["l1", "l2"]


@pytest.mark.parametrize(("outcome", "reason"), [("completed", None), ("rejected", "guard")])
@pytest.mark.parametrize("before", [[], whole_loop(loop="l0", at=0.5)])
@pytest.mark.parametrize("spawned", [False, True])
def test_a_whole_loop_is_as_its_events_one_by_one(
    outcome: a.Outcome, reason: str | None, before: list[AgentEvent], spawned: bool
) -> None:
    ids: dict[str, Any] = {"session_id": S, "loop_id": "l1"}
    if spawned:
        before = [
            *before,
            a.ChildLinked(
                session_id="s0",
                loop_id="p",
                at=0.5,
                tool_call_id="c1",
                tool_name="task",
                child_session_id=S,
                child_loop_id="l1",
            ),
            a.ParallelLoopStart(
                session_id="s0", loop_id="p", at=0.5, kind="fanout", loop_ids=("l1", "l9")
            ),
        ]
    config = t.LoopConfigSnapshot(model="m", provider="p")
    whole = a.WholeLoop(
        start(parent_loop_id="l0", config=config, formation=t.Explicit()),
        a.TurnStart(**ids, at=1.0, turn_index=0, request_id="r1", triggered_by="branch"),
        a.TurnEnd(**ids, at=4.0, turn_index=0, request_id="r1", usage=t.Usage(input=3), error="x"),
        a.AgentEnd(**ids, at=4.0, outcome=outcome, reason=reason),
    )
    silent = RecorderConfig(keep_events=False)
    one_by_one, at_once = recorded(before, silent), recorded(before, silent)
    one_by_one.take_changed()
    at_once.take_changed()
    for event in whole:
        one_by_one.on_event(event)
    assert one_by_one.take_changed() == [at_once.on_whole_loop(whole)]
    assert one_by_one.sessions() == at_once.sessions()
    late = a.ToolExecutionStart(**ids, at=9.0, tool_call_id="c", tool_name="read")
    for recorder in (one_by_one, at_once):
        recorder.on_event(late)
    assert one_by_one.take_changed() == at_once.take_changed()


def test_a_group_that_is_never_closed_goes_with_its_sessions() -> None:
    recorder = recorded(
        [
            *whole_loop(),
            a.ParallelLoopStart(
                session_id=S, loop_id="l1", at=2.0, kind="fanout", loop_ids=("l1", "never")
            ),
        ]
    )
    recorder.flush()
    recorder.drain_completed()
    assert list(recorder._expected) == ["never"], "bounded, and waiting for a late child"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_recorder, "EXPECTED_KEPT", 5)
    monkeypatch.setattr(session_recorder, "LOOPS_KEPT", 5)
    monkeypatch.setattr(session_recorder, "SIDE_CALLS_KEPT", 5)
    recorder = SessionRecorder(RecorderConfig(max_sessions=3))
    for number in range(20):
        for event in whole_loop(loop=f"l{number}", at=float(number)):
            recorder.on_event(event)
        recorder.on_event(
            a.SideCallSeen(session_id=S, loop_id="", at=1.0, request_id="x", usage=t.Usage(input=1))
        )
        recorder.on_event(
            a.ParallelLoopStart(
                session_id=S, loop_id="l0", at=1.0, kind="fanout", loop_ids=(f"n{number}",)
            )
        )
        recorder.take_changed()
    session = the(recorder)
    assert len(session.loops) <= 7
    assert len(session.side_calls) == 5
    assert session.total_usage().input == 20 * 20 + 20
    assert len(recorder._expected) == 5
    for number in range(10):
        recorder.on_event(start(session=f"s{number}"))
    assert len(recorder._live) == 3
    assert len(recorder.drain_completed()) == 8


def test_a_session_survives_json() -> None:
    session = the(recorded(whole_loop()))
    assert msgspec.json.decode(msgspec.json.encode(session), type=t.Session) == session
