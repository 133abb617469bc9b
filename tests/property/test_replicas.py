"""Several replicas over one store say what one gateway alone would say."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.index.mapped import MappedStore
from gateway_sessions.testing import ChatClient, Desk, Sent, tool_call, tool_result, user
from tests.index.company import company, shared_desk
from tests.property.strategies import SCALE, Json

LONG = "A rather long answer that nobody else could give. " * 3
TASK = "Find out who wrote the oldest file of this project, and when that was."
ASKED = st.sampled_from(["hi", "more", "Start over!", "Summarise all that was said so far."])
ANSWERED = st.sampled_from(["Hello!", "Yes.", LONG, "Summary: the user said hi, and more of it."])
SETTINGS = DetectionSettings(session_ttl_seconds=100)
CLIENTS = st.integers(0, 3)
PLACES = st.integers(0, 5)


class Replicas(RuleBasedStateMachine):
    """The same requests reach one gateway, and two or three that share a store.

    Clients of two tenants say the same things, repeat themselves, cut and edit their histories,
    and let requests fail or wait while others are answered.
    """

    @initialize(replicas=st.integers(2, 3))
    def open(self, replicas: int) -> None:
        self.desks = [Desk(SETTINGS), self.together(replicas)]
        self.clients = [[desk.client(key) for key in "aabb"] for desk in self.desks]
        self.flying: list[tuple[Sent, ...]] = []

    def together(self, replicas: int) -> Desk:
        return shared_desk(SETTINGS, replicas)

    def compare(self, tags: list[SessionTag]) -> None:
        alone, together = tags
        assert alone == together

    def both(self, number: int) -> list[ChatClient]:
        return [clients[number] for clients in self.clients]

    def send(self, number: int, messages: list[Json]) -> tuple[Sent, ...]:
        for desk in self.desks:
            desk.clock.advance(0.01)  # Of two sessions, one is the older.
        sent = tuple(client.send(messages) for client in self.both(number))
        self.compare([each.tag for each in sent])
        return sent

    @rule(number=CLIENTS, asked=ASKED, reply=ANSWERED)
    def ask(self, number: int, asked: str, reply: str) -> None:
        self.compare([client.ask(asked, reply) for client in self.both(number)])

    @rule(number=CLIENTS, asked=ASKED)
    def begin(self, number: int, asked: str) -> None:
        self.flying.append(self.send(number, [*self.both(number)[0].history, user(asked)]))

    @rule(place=PLACES, reply=ANSWERED)
    def answer(self, place: int, reply: str) -> None:
        if self.flying:
            for sent in self.flying.pop(place % len(self.flying)):
                sent.answer(reply)

    @rule(place=PLACES)
    def fail(self, place: int) -> None:
        if self.flying:
            for sent in self.flying.pop(place % len(self.flying)):
                sent.fail()

    @rule(number=CLIENTS)
    def again(self, number: int) -> None:
        history = self.both(number)[0].history
        if len(history) > 1:
            self.flying.append(self.send(number, history[:-1]))

    @rule(number=CLIENTS, most=st.integers(0, 4))
    def cut(self, number: int, most: int) -> None:
        for client in self.both(number):
            client.history = client.history[len(client.history) - most :] if most else []

    @rule(number=CLIENTS, most=st.integers(1, 2))
    def fork(self, number: int, most: int) -> None:
        for client in self.both(number):
            client.history = client.history[: 2 * most]

    @rule(number=CLIENTS)
    def delegate(self, number: int) -> None:
        call = tool_call("call_1", "agent", {"task": TASK})
        asked = [*self.both(number)[0].history, user("Let somebody find out.")]
        for sent in self.send(number, asked):
            sent.answer(call)
        agent = {"role": "system", "content": "You search files."}
        for sent in self.send(number, [agent, user(TASK)]):
            sent.answer("Ann wrote it.")
        for client in self.both(number):
            client.history = [*asked, call, tool_result("call_1", "Ann wrote it.")]

    @rule(number=CLIENTS, asked=ASKED, answered=ANSWERED)
    def title(self, number: int, asked: str, answered: str) -> None:
        about = {"role": "system", "content": "Give a title to this chat."}
        said = user(f"User: {asked}\nAssistant: {answered}")
        for sent in self.send(number, [about, said]):
            sent.answer("A greeting")

    @rule(seconds=st.sampled_from([1.0, 20.0, 120.0]))
    def wait(self, seconds: float) -> None:
        for desk in self.desks:
            desk.clock.advance(seconds)


class Workers(Replicas):
    """The same in the memory that workers share."""

    def together(self, replicas: int) -> Desk:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "sessions"

        def store(clock: Callable[[], float]) -> MappedStore:
            # One process alone finds what has expired for as long as there is room.
            return MappedStore(path, max_sessions=100, ttl_seconds=1e6, clock=clock)

        return shared_desk(SETTINGS, replicas, store)

    def teardown(self) -> None:
        company(self.desks[1]).close()
        self.folder.cleanup()


@pytest.mark.parametrize("kind", [Replicas, Workers])
def test_they_say_what_one_gateway_would(kind: type[Replicas]) -> None:
    run_state_machine_as_test(
        kind,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=25 * SCALE,
            stateful_step_count=25,
        ),
    )
