"""No session ever holds requests of two scopes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import (
    ChatClient,
    Desk,
    Sent,
    assistant,
    tool_call,
    tool_result,
    user,
)
from tests.detection.responding import Responder, output
from tests.property.strategies import SCALE, Json

LONG = "A rather long answer that nobody else could give. " * 3
TASK = "Find out who wrote the oldest file of this project, and when that was."
ASKED = st.sampled_from(["hi", "more", "Start over!", "Summarise all that was said so far."])
ANSWERED = st.sampled_from(["Hello!", "Yes.", LONG])
CLIENTS = st.integers(0, 5)
SCOPES = [("a", ""), ("a", "bob"), ("b", "")]
"""Key and end user of the clients; each scope has two of them."""
NAMES = ["x-session-id", "x-claude-code-session-id", "thread-id", "baggage"]


class Tenants(RuleBasedStateMachine):
    """Six clients of three scopes who say the same things and copy from each other."""

    steps = 0
    """Steps taken by all machines of this kind."""

    @initialize(explain=st.booleans(), most=st.sampled_from([3, 100]))
    def open(self, explain: bool, most: int) -> None:
        settings = DetectionSettings(max_sessions=most, session_ttl_seconds=100)
        self.desk = Desk(settings, explain=explain)
        self.clients: list[ChatClient] = []
        self.responders: list[Responder] = []
        for key, name in SCOPES * 2:
            fields = {"user": name} if name else {}
            self.clients.append(self.desk.client(key, fields=fields))
            self.responders.append(Responder(self.desk, key, **fields))
        self.flying: list[Sent] = []
        self.owners: dict[str, set[int]] = {}
        self.replies = ["resp_0"]
        self.dialects = ["openai_chat"] * len(self.clients)

    def owned(self, number: int, tag: SessionTag | None) -> None:
        for name in (tag.session_id, tag.parent_session_id, tag.root_session_id,
                     tag.previous_session_id) if tag else ():  # fmt: skip
            if name:
                self.owners.setdefault(name, set()).add(number % len(SCOPES))

    def send(self, number: int, messages: list[Json]) -> Sent:
        client = self.clients[number]
        tools = any(m["role"] == "tool" or "tool_calls" in m for m in messages)
        client.dialect = "openai_chat" if tools else self.dialects[number]
        sent = client.send(messages)
        self.owned(number, sent.tag)
        return sent

    def begin_with(self, number: int, said: str, reply: str) -> None:
        """Let a client begin a conversation beside its own."""
        self.send(number, [user(said)]).answer(reply)

    @rule(number=CLIENTS, asked=ASKED, reply=ANSWERED)
    def ask(self, number: int, asked: str, reply: str) -> None:
        client = self.clients[number]
        sent = self.send(number, [*client.history, user(asked)])
        client.history += [user(asked), sent.answer(reply)]

    @rule(number=CLIENTS, call=st.sampled_from(["call_1", "call_2"]))
    def run_a_tool(self, number: int, call: str) -> None:
        client = self.clients[number]
        sent = self.send(number, [*client.history, user("run")])
        made = sent.answer(tool_call(call, "f", {"task": TASK}))
        client.history += [user("run"), made, tool_result(call, "done")]
        client.history.append(self.send(number, client.history).answer("Done."))

    @rule(number=CLIENTS, other=CLIENTS)
    def copy_a_history(self, number: int, other: int) -> None:
        self.clients[number].history = list(self.clients[other].history)

    @rule(number=CLIENTS, keep=st.integers(0, 3))
    def drop_what_is_old(self, number: int, keep: int) -> None:
        history = self.clients[number].history
        self.clients[number].history = history[len(history) - 2 * keep :] if keep else []

    @rule(number=CLIENTS)
    def rewrite_the_beginning(self, number: int) -> None:
        if self.clients[number].history:
            self.clients[number].history[0] = user("rewritten")

    @rule(number=CLIENTS, call=st.sampled_from(["call_1", "call_2"]))
    def give_a_task_away(self, number: int, call: str) -> None:
        client = self.clients[number]
        sent = self.send(number, [*client.history, user("run")])
        client.history += [user("run"), sent.answer(tool_call(call, "f", {"task": TASK}))]

    @rule(number=CLIENTS, reply=ANSWERED)
    def take_a_task(self, number: int, reply: str) -> None:
        self.begin_with(number, TASK, reply)

    @rule(number=CLIENTS, other=CLIENTS)
    def ask_for_a_title(self, number: int, other: int) -> None:
        turns = [m["content"] or "" for m in self.clients[other].history[-2:] if "content" in m]
        self.begin_with(number, "\n".join(["A title for this, please:", *turns]), "A title")

    @rule(number=CLIENTS)
    def go_on_from_a_summary(self, number: int) -> None:
        client = self.clients[number]
        asked = user(f"This session goes on from another. Summary: {LONG}")
        sent = self.send(number, [asked])
        client.history = [asked, sent.answer("Let us go on.")]

    @rule(number=CLIENTS, dialect=st.sampled_from(["openai_chat", "anthropic"]))
    def speak_otherwise(self, number: int, dialect: str) -> None:
        self.dialects[number] = dialect

    @rule(number=CLIENTS, previous=st.integers(0, 9), asked=ASKED, reply=ANSWERED)
    def go_on_from_a_reply(self, number: int, previous: int, asked: str, reply: str) -> None:
        """Where the provider keeps the history; ids of others are tried as well."""
        responder = self.responders[number]
        named = {"previous_response_id": self.replies[previous % len(self.replies)]}
        tracked = responder.send(asked, **named if previous else {})
        self.owned(number, tracked.tag())
        self.replies.append(f"resp_{len(self.replies)}")
        responder.answer(tracked, self.replies[-1], output(reply))

    @rule(number=CLIENTS, other=CLIENTS, asked=ASKED)
    def count_tokens(self, number: int, other: int, asked: str) -> None:
        sent = self.send(number, [*self.clients[other].history, user(asked)])
        sent.fail()
        self.owned(number, self.desk.tracker.find(sent.tracked.plan, self.desk.clock()))

    @rule(number=CLIENTS, name=st.sampled_from(NAMES), given=st.sampled_from(["", "1", "2"]),
          parent=st.booleans())  # fmt: skip
    def name_the_session(self, number: int, name: str, given: str, parent: bool) -> None:
        headers = self.clients[number].headers
        headers.clear()
        if given:
            headers["user-agent"] = "codex_cli_rs/1" if name == "thread-id" else "tests/1"
            headers[name] = f"session.id={given}" if name == "baggage" else given
            if parent:
                headers |= {"x-parent-session-id": "1", "x-codex-parent-thread-id": "1"}
                headers["x-claude-code-agent-id"] = given

    @rule(number=CLIENTS, key=st.sampled_from(["", "k"]), retries=st.sampled_from(["0", "1"]))
    def insist(self, number: int, key: str, retries: str) -> None:
        client = self.clients[number]
        client.headers |= {"idempotency-key": key, "x-stainless-retry-count": retries}

    @rule(number=CLIENTS, other=CLIENTS, asked=ASKED)
    def guess_an_id(self, number: int, other: int, asked: str) -> None:
        known = sorted(self.owners)
        if known:
            self.clients[number].headers["x-session-id"] = known[other % len(known)]
        self.send(number, [user(asked)]).fail()

    @rule(number=CLIENTS, asked=ASKED)
    def leave_in_flight(self, number: int, asked: str) -> None:
        client = self.clients[number]
        self.flying.append(self.send(number, [*client.history, user(asked)]))

    @rule(reply=ANSWERED, fails=st.booleans())
    def land(self, reply: str, fails: bool) -> None:
        if self.flying:
            sent = self.flying.pop(0)
            if fails:
                sent.fail()
            else:
                sent.answer(reply)

    @rule(number=CLIENTS)
    def prefill(self, number: int) -> None:
        client = self.clients[number]
        asked = [*client.history, user("more"), assistant("Well,")]
        self.send(number, asked).answer(" yes.")

    @rule(seconds=st.sampled_from([10, 101]))
    def wait(self, seconds: int) -> None:
        self.desk.clock.advance(seconds)

    @invariant()
    def nobody_shares_a_session(self) -> None:
        Tenants.steps += 1
        for name, scopes in getattr(self, "owners", {}).items():
            assert len(scopes) == 1, name


EXAMPLES, STEPS = 50 * SCALE, 60


def test_no_session_ever_crosses_a_scope() -> None:
    run_state_machine_as_test(
        Tenants,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
        ),
    )
    assert Tenants.steps >= 2000 * SCALE
