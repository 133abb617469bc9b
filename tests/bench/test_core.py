"""What the benchmarks of detection drive is detection: turns of a conversation are one session."""

from __future__ import annotations

from bench.bodies import conversation, encode, plain_reply
from bench.core import Core


def test_the_next_turn_of_a_conversation_continues_its_session() -> None:
    core = Core(max_sessions=10)
    request = conversation(5, seed=1)
    *history, answer, _ = request["messages"]
    reply = core.dialect.read_reply(plain_reply(answer["content"]))
    core.exchange(encode(request | {"messages": history}), reply)
    assert core.live == 1
    tag = core.request(encode(request)).tag()
    assert tag.relation == "continue"
    assert core.live == 1


def test_other_conversations_are_other_sessions() -> None:
    core = Core(max_sessions=10)
    for seed in range(3):
        core.request(encode(conversation(1, seed)))
    assert core.live == 3
