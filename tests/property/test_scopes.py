"""No session ever holds requests of two scopes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.testing import (
    ChatClient,
    Desk,
    Sent,
    assistant,
    tool_call,
    tool_result,
    user,
)

ASKED = st.sampled_from(["hi", "more", "Start over!", "Summarise all that was said so far."])
ANSWERED = st.sampled_from(
    ["Hello!", "Yes.", "A rather long answer that nobody else could give. " * 3]
)
CLIENTS = st.integers(0, 5)
SCOPES = [("a", ""), ("a", "bob"), ("b", "")]
"""Key and end user of the clients; each scope has two of them."""


class Tenants(RuleBasedStateMachine):
    """Six clients of three scopes who say the same things and copy from each other."""

    @initialize(explain=st.booleans(), most=st.sampled_from([3, 100]))
    def open(self, explain: bool, most: int) -> None:
        settings = DetectionSettings(max_sessions=most, session_ttl_seconds=100)
        self.desk = Desk(settings, explain=explain)
        self.clients: list[ChatClient] = []
        for key, name in SCOPES * 2:
            fields = {"user": name} if name else {}
            self.clients.append(self.desk.client(key, fields=fields))
        self.flying: list[Sent] = []
        self.owners: dict[str, set[int]] = {}

    def note(self, number: int, sent: Sent) -> Sent:
        tag = sent.tag
        for name in (tag.session_id, tag.parent_session_id, tag.previous_session_id):
            if name:
                self.owners.setdefault(name, set()).add(number % len(SCOPES))
        return sent

    @rule(number=CLIENTS, asked=ASKED, reply=ANSWERED)
    def ask(self, number: int, asked: str, reply: str) -> None:
        client = self.clients[number]
        sent = self.note(number, client.send([*client.history, user(asked)]))
        client.history += [user(asked), sent.answer(reply)]

    @rule(number=CLIENTS, call=st.sampled_from(["call_1", "call_2"]))
    def run_a_tool(self, number: int, call: str) -> None:
        client = self.clients[number]
        sent = self.note(number, client.send([*client.history, user("run")]))
        made = sent.answer(tool_call(call, "f", {"task": "a task of more than a few words"}))
        client.history += [user("run"), made, tool_result(call, "done")]
        client.history.append(self.note(number, client.send(client.history)).answer("Done."))

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

    @rule(number=CLIENTS, given=st.sampled_from(["", "1", "2"]), parent=st.booleans())
    def name_the_session(self, number: int, given: str, parent: bool) -> None:
        headers = self.clients[number].headers
        headers.clear()
        if given:
            headers["x-session-id"] = given
            if parent:
                headers["x-parent-session-id"] = "1"

    @rule(number=CLIENTS, key=st.sampled_from(["", "k"]), retries=st.sampled_from(["0", "1"]))
    def insist(self, number: int, key: str, retries: str) -> None:
        client = self.clients[number]
        client.headers |= {"idempotency-key": key, "x-stainless-retry-count": retries}

    @rule(number=CLIENTS, other=CLIENTS, asked=ASKED)
    def guess_an_id(self, number: int, other: int, asked: str) -> None:
        known = sorted(self.owners)
        if known:
            self.clients[number].headers["x-session-id"] = known[other % len(known)]
        self.note(number, self.clients[number].send([user(asked)])).fail()

    @rule(number=CLIENTS, asked=ASKED)
    def leave_in_flight(self, number: int, asked: str) -> None:
        client = self.clients[number]
        self.flying.append(self.note(number, client.send([*client.history, user(asked)])))

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
        self.note(number, client.send(asked)).answer(" yes.")

    @rule(seconds=st.sampled_from([10, 101]))
    def wait(self, seconds: int) -> None:
        self.desk.clock.advance(seconds)

    @invariant()
    def nobody_shares_a_session(self) -> None:
        for name, scopes in getattr(self, "owners", {}).items():
            assert len(scopes) == 1, name


TestTenants = Tenants.TestCase
TestTenants.settings = settings(
    derandomize=True, database=None, deadline=None, max_examples=40, stateful_step_count=40
)
