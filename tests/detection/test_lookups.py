"""What is asked of a store, and when."""

from __future__ import annotations

from typing import Any

from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.detector import Detector, Sender
from gateway_sessions.detection.echo import CALL, kept_text
from gateway_sessions.detection.lookups import Lookups, first, further, going_on, last
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.plan import (
    anchor_key,
    call_key,
    explicit_key,
    last_key,
    response_key,
)
from gateway_sessions.detection.records import client_key, echo_key, habit_key, texts_key
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.testing import assistant, tool_call, tool_result, user
from tests.detection.talk import chat

NOW = 1_700_000_000.0
DETECTOR = Detector(DetectionSettings(), b"a secret for tests", lambda: "sess_1")
QUESTION = "What did the oldest file of this project say about its author, if anything?"


def plan(*messages: Any, fields: dict[str, Any] | None = None, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    conversation = chat(*messages, **(fields or {}))
    return DETECTOR.plan(conversation, Sender(sent, "/v1/chat/completions", "192.0.2.1"))


def index(*sessions: Session) -> MemoryIndex:
    made = MemoryIndex(100, 3600.0)
    for session in sessions:
        keys = [session.head, session.last_reply, *session.pending, session.explicit_key]
        made.commit(session, [key for key in keys if key], NOW)
    return made


def waiting(of: Any, name: str = "sess_1", **fields: Any) -> Session:
    """Return a session that waits after the newest reply of a request's history."""
    fields = {"agent": of.agent, "client": of.client, "model": of.model, **fields}
    session = Session(id=name, scope=of.scope.seed, started=NOW, used=NOW, **fields)
    session.answer(1, of.walk.reply.state, 5, last_key(of.scope, of.walk.reply), NOW)
    return session


def steps(of: Any, *sessions: Session) -> list[Lookups | None]:
    made = index(*sessions)
    return [step(DETECTOR.ask(of, made, NOW)) for step in (further, last)]


TURN = (user("hi"), assistant("Hello, who are you?"), user(QUESTION))


class TestFirst:
    def test_the_common_turn_asks_three_keys(self) -> None:
        asked = plan(*TURN)
        found = first(asked)
        assert found.states == {asked.request_state, asked.walk.reply.state}
        keys = set(found.keys(asked.scope.seed))
        assert keys == {
            asked.request_state,
            asked.walk.reply.state,
            habit_key(asked.scope.seed, asked.agent),
        }

    def test_a_call_tells_equal_histories_apart(self) -> None:
        asked = plan(user("hi"), tool_call("call_1", "f"), tool_result("call_1", "x"))
        assert call_key(asked.scope, "call_1") in first(asked).states

    def test_ids_that_are_named(self) -> None:
        asked = plan(*TURN, x_session_id="a", x_parent_session_id="b", idempotency_key="c")
        found = first(asked).states
        given = asked.explicit
        assert {explicit_key(asked.scope, given), explicit_key(asked.scope, given, "b")} <= found
        assert asked.repeat_key in found
        named = plan(user("on"), fields={"previous_response_id": "resp_1"})
        assert response_key(named.scope, "resp_1") in first(named).states

    def test_without_a_history_all_is_asked_at_once(self) -> None:
        asked = plan(user(QUESTION))
        found = first(asked)
        assert found.any_texts
        assert found.turns
        assert found.client == asked.client
        scope = asked.scope.seed
        assert {client_key(scope, asked.client), texts_key(scope)} <= set(found.keys(scope))
        assert steps(asked) == [None, None]

    def test_but_for_texts_which_are_asked_for_where_there_are_any(self) -> None:
        detector = Detector(DetectionSettings(), b"a secret for tests", lambda: "sess_1")
        asked = plan(user(QUESTION))
        of = Session(id="sess_1", scope=asked.scope.seed, started=NOW, used=NOW)
        text = kept_text(of, CALL, fold_text(QUESTION), NOW, "call_1/0")
        detector.memories.echo.note(text)
        found = further(detector.ask(asked, index(), NOW))
        assert found is not None
        assert {text.marks[0], text.marks[-1]} <= found.texts
        assert {echo_key(mark) for mark in found.texts} == set(found.keys(asked.scope.seed))
        hint = Lookups(any_texts=True)
        assert hint.owners(asked.scope.seed, index(), detector.memories) == {"sess_1"}

    def test_who_names_a_session_asks_no_words(self) -> None:
        found = first(plan(user(QUESTION), x_session_id="a"))
        assert not found.texts
        assert found.client is None


class TestGoingOn:
    def test_a_plain_turn_is_placed_by_its_history_and_itself(self) -> None:
        of = plan(*TURN)
        assert going_on(of) == (of.walk.reply.state, of.request_state)

    def test_whatever_else_may_count_is_left_to_the_steps(self) -> None:
        called = (user("go"), tool_call("call_1", "grep"), tool_result("call_1", "x"))
        others = [
            plan(user("hi")),
            plan(*TURN[:2]),
            plan(*called),
            plan(*TURN, x_litellm_session_id="ticket"),
            plan(*TURN, idempotency_key="once"),
            plan(*TURN, fields={"previous_response_id": "resp_1"}),
        ]
        assert [going_on(each) for each in others] == [None] * len(others)

    def test_where_one_session_waits_no_step_asks_more(self) -> None:
        of = plan(*TURN)
        session = waiting(of)
        made = index(session)
        assert DETECTOR.goes_on(of, made, NOW) is session
        assert steps(of, session) == [None, None]
        assert DETECTOR.goes_on(of, index(session, waiting(of, "sess_2")), NOW) is None


class TestFurther:
    def test_nothing_where_a_session_waits(self) -> None:
        asked = plan(*TURN)
        assert steps(asked, waiting(asked)) == [None, None]

    def test_tasks_where_instructions_have_changed(self) -> None:
        asked = plan(*TURN)
        found, more = steps(asked, waiting(asked, agent=1))
        assert found is not None
        assert found.texts
        assert not found.states
        assert more is None

    def test_replies_where_another_application_waits(self) -> None:
        asked = plan(*TURN)
        found, _ = steps(asked, waiting(asked, agent=1, model=1))
        assert found is not None
        assert last_key(asked.scope, asked.walk.reply) in found.states

    def test_no_tasks_where_a_tool_has_answered(self) -> None:
        asked = plan(user("hi"), tool_call("call_1", "f"), tool_result("call_1", QUESTION))
        assert steps(asked, waiting(asked, agent=1)) == [None, None]

    def test_calls_where_several_wait(self) -> None:
        asked = plan(
            *(user("hi"), tool_call("call_1", "f"), tool_result("call_1", "x")),
            *(assistant("Well?"), user("more")),
        )
        twins = waiting(asked, "sess_1"), waiting(asked, "sess_2")
        found, _ = steps(asked, *twins)
        assert found is not None
        assert found.states == {call_key(asked.scope, "call_1")}

    def test_all_parts_of_an_unknown_history(self) -> None:
        asked = plan(*TURN, assistant("Nothing."), user("Sure?"))
        found, _ = steps(asked)
        assert found is not None
        reply = asked.walk.reply
        older = reply.before.before
        assert {
            last_key(asked.scope, reply),
            anchor_key(asked.scope, reply.before, reply),
            anchor_key(asked.scope, older.before, older),
            older.state,
            reply.before.state,
        } <= found.states

    def test_nothing_after_a_name_that_is_known(self) -> None:
        asked = plan(user("on"), fields={"previous_response_id": "resp_1"})
        of = Session(id="sess_1", scope=asked.scope.seed, started=NOW, used=NOW)
        of.last_reply = response_key(asked.scope, "resp_1")
        assert steps(asked, of) == [None, None]

    def test_words_after_a_name_that_is_not(self) -> None:
        asked = plan(user(QUESTION), fields={"previous_response_id": "resp_1"})
        found, _ = steps(asked)
        assert found is not None
        assert found.texts
        assert found.client is not None


class TestLast:
    def test_words_where_nothing_of_a_history_is_known(self) -> None:
        asked = plan(*TURN)
        _, found = steps(asked)
        assert found is not None
        assert found.replies
        assert found.client == asked.client

    def test_no_replies_where_nobody_would_compare_them(self) -> None:
        asked = plan(*TURN)
        plain = Detector(DetectionSettings(fuzzy_matching=False), b"a secret for tests", str)
        found = last(plain.ask(asked, index(), NOW))
        assert found is not None
        assert not found.replies

    def test_nothing_where_a_reply_is_known(self) -> None:
        long = "It was written in the spring of 1998 by somebody who signed as “the keeper”. "
        asked = plan(user("otherwise"), assistant(long), user("more"))
        of = Session(id="sess_1", scope=asked.scope.seed, started=NOW, used=NOW)
        of.model = asked.model
        of.answer(1, 2, 3, last_key(asked.scope, asked.walk.reply), NOW)
        found, more = steps(asked, of)
        assert found is not None
        assert more is None


def test_owners_are_whoever_is_known_here() -> None:
    asked = plan(*TURN)
    scope, memories = asked.scope.seed, Memories()
    named = {name: waiting(asked, name) for name in "abcd"}
    memories.recent.put(named["b"], 7)
    named["b"].client = 7
    memories.turns.put(named["c"], "hi", "", NOW)
    turn = memories.turns.of(named["c"])
    assert turn is not None
    found = Lookups(
        states=frozenset({asked.walk.reply.state}),
        turns=frozenset({turn.prompt_mark}),
        client=7,
    )
    assert found.owners(scope, index(named["a"]), memories) == {"a", "b", "c"}
    assert Lookups().owners(scope, index(named["a"]), memories) == set()
