from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.conversation import ASSISTANT, Message, Text
from gateway_sessions.detection.chains import Run
from gateway_sessions.detection.detector import Detector, Sender
from gateway_sessions.detection.plan import (
    ANCHORED_REPLIES,
    OLDER_STATES,
    Plan,
    anchor_key,
    call_key,
    explicit_key,
    last_key,
    older_states,
    pair_key,
    repeat_key,
    replies,
)
from gateway_sessions.detection.scope import Scope
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.signals import Explicit
from gateway_sessions.detection.walk import Walker
from gateway_sessions.testing import assistant, tool_call, tool_result, user
from tests.detection.talk import SEED, chat

SCOPE, ELSEWHERE = Scope(SEED, "here"), Scope(SEED + 1, "there")
DETECTOR = Detector(DetectionSettings(), b"a secret for tests", lambda: "sess_1")


def plan(*messages: Any, ip: str = "192.0.2.1", **headers: str) -> Plan:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return DETECTOR.plan(chat(*messages), Sender(fields, "/v1/chat/completions", ip))


def run(text: str = "", call_id: str = "") -> Run:
    """Return the newest answer of a history."""
    answer = tool_call(call_id, "f") if call_id else assistant(text)
    reply = Walker().walk(chat(user("q"), answer, user("p")), SEED).reply
    assert reply is not None
    return reply


class TestKeys:
    def test_kinds_never_meet(self) -> None:
        reply = run("the same")
        same = Explicit("", "the same", "")
        keys = {
            last_key(SCOPE, reply),
            pair_key(SCOPE, reply, reply),
            call_key(SCOPE, "the same"),
            explicit_key(SCOPE, same),
            call_key(SCOPE, "\0the same"),
            repeat_key(SCOPE, {"idempotency-key": "the same"}),
            repeat_key(SCOPE, {"idempotency-key": "\0the same"}),
        }
        assert len(keys) == 7
        states = {Walker().walk(chat(user("the same")), SEED).request_state, reply.state}
        assert not states & keys

    def test_scopes_never_meet(self) -> None:
        reply = run("the same")
        given = Explicit("client", "1", "x-session-id")
        headers = {"idempotency-key": "1"}
        assert last_key(SCOPE, reply) != last_key(ELSEWHERE, reply)
        assert pair_key(SCOPE, reply, reply) != pair_key(ELSEWHERE, reply, reply)
        assert call_key(SCOPE, "1") != call_key(ELSEWHERE, "1")
        assert explicit_key(SCOPE, given) != explicit_key(ELSEWHERE, given)
        assert repeat_key(SCOPE, headers) != repeat_key(ELSEWHERE, headers)

    def test_an_explicit_id_is_its_kind_and_value(self) -> None:
        one = Explicit("client", "1", "x-session-id")
        assert explicit_key(SCOPE, one) == explicit_key(
            SCOPE, Explicit("client", "1", "session-id")
        )
        assert explicit_key(SCOPE, one) != explicit_key(SCOPE, Explicit("codex", "1", "session-id"))
        assert explicit_key(SCOPE, one) != explicit_key(
            SCOPE, Explicit("client", "2", "session-id")
        )

    def test_without_an_idempotency_key(self) -> None:
        assert repeat_key(SCOPE, {}) == repeat_key(SCOPE, {"idempotency-key": ""}) == 0


class TestAnchor:
    def test_a_tool_call_is_found_by_its_id_whatever_was_asked(self) -> None:
        reply = run(call_id="call_1")
        assert anchor_key(SCOPE, reply.before, reply) == call_key(SCOPE, "call_1")
        assert anchor_key(SCOPE, None, reply) == call_key(SCOPE, "call_1")

    def test_a_text_is_found_together_with_what_it_answered(self) -> None:
        reply = run("yes")
        assert reply.before is not None
        assert anchor_key(SCOPE, reply.before, reply) == pair_key(SCOPE, reply.before, reply)
        assert anchor_key(SCOPE, None, reply) == last_key(SCOPE, reply)

    def test_where_prompt_and_reply_meet_counts(self) -> None:
        prompt, reply = run("one"), run("other")
        assert pair_key(SCOPE, prompt, reply) != pair_key(SCOPE, reply, prompt)


class TestReplies:
    def history(self, turns: int) -> list[Any]:
        made: list[Any] = []
        for turn in range(turns):
            made += [user(f"q{turn}"), assistant(f"answer {turn}")]
        return [*made, user("and?")]

    def test_newest_first_and_no_more_than_a_few(self) -> None:
        walk = Walker().walk(chat(*self.history(2 * ANCHORED_REPLIES)), SEED)
        found = list(replies(walk))
        assert len(found) == ANCHORED_REPLIES
        assert all(reply.model_side for reply in found)
        assert walk.reply is not None
        assert found[0].state == walk.reply.state
        assert len({reply.state for reply in found}) == ANCHORED_REPLIES

    def test_older_states_and_how_much_is_said_up_to_them(self) -> None:
        walk = Walker().walk(chat(*self.history(3)), SEED)
        expected = []
        for turns in (2, 1):
            reply = Walker().walk(chat(*self.history(turns)), SEED).reply
            assert reply is not None
            expected.append((reply.state, turns * len("q0answer0")))
        assert list(older_states(walk)) == expected

    def test_a_first_request_has_none(self) -> None:
        walk = Walker().walk(chat(user("a")), SEED)
        assert list(older_states(walk)) == []
        assert list(replies(walk)) == []

    def test_a_long_history_is_not_looked_up_whole(self) -> None:
        walk = Walker().walk(chat(*self.history(3 * OLDER_STATES)), SEED)
        assert OLDER_STATES // 2 <= len(list(older_states(walk))) <= OLDER_STATES


class TestPlan:
    def test_messages(self) -> None:
        history = [user("a"), tool_call("1", "f"), tool_result("1", "r"), user("b")]
        made = plan({"role": "system", "content": "s"}, *history)
        assert made.messages == 5
        assert made.messages_to_reply() == 3
        assert made.request_state == made.walk.request_state

    def test_a_first_request_has_nothing_up_to_a_reply(self) -> None:
        assert plan(user("a")).messages_to_reply() == 0

    def test_a_reply_is_noted_alike_when_the_request_is_let_go(self) -> None:
        asked = [user("a"), assistant("b"), user("c")]
        for history in (asked[:1], asked, [*asked, assistant("begun")]):
            kept, short = plan(*history), plan(*history)
            short.let_go()
            reply = Message(ASSISTANT, (Text("d"),))
            assert short.walk.after_reply(reply) == kept.walk.after_reply(reply)
            assert short.walk.reply == kept.walk.reply
            assert short.walk.prompt() == kept.walk.prompt()
            assert bool(short.messages) == (history[-1]["role"] == ASSISTANT)

    def test_agents_differ_by_system_prompt_and_tools(self) -> None:
        tools = [{"type": "function", "function": {"name": "f"}}]
        sender = Sender({}, "/v1/chat/completions")
        agents = [
            DETECTOR.plan(chat(user("a")), sender).agent,
            DETECTOR.plan(chat({"role": "system", "content": "s"}, user("a")), sender).agent,
            DETECTOR.plan(chat(user("a"), tools=tools), sender).agent,
        ]
        assert len(set(agents)) == 3
        assert DETECTOR.plan(chat(user("b")), sender).agent == agents[0]

    def test_clients_differ_by_address_and_user_agent(self) -> None:
        clients = [
            plan(user("a")).client,
            plan(user("a"), ip="192.0.2.2").client,
            plan(user("a"), user_agent="x/1").client,
            plan(user("a"), user_agent="caf\udce9/1").client,
        ]
        assert len(set(clients)) == 4
        assert plan(user("b")).client == clients[0]

    @pytest.mark.parametrize(
        ("sent", "retries"),
        [("0", 0), ("2", 2), ("", None), ("-1", None), ("two", None), ("²", None), ("1.5", None)],
    )
    def test_retries(self, sent: str, retries: int | None) -> None:
        assert plan(user("a"), x_stainless_retry_count=sent).retries == retries

    def test_an_absurd_number_of_retries_is_no_fault(self) -> None:
        assert plan(user("a"), x_stainless_retry_count="9" * 5000).request_state
