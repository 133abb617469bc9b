"""Conversations that have nothing to do with each other do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.testing import ChatClient, Desk, tool_call, tool_result, user
from tests.property.strategies import Json, quick

STEPS = st.lists(
    st.sampled_from(["ask", "ask", "retry", "regenerate", "tool", "window", "edit", "fork"]),
    min_size=1,
    max_size=5,
)
PLOTS = st.lists(STEPS, min_size=2, max_size=4)

Verdict = tuple[str, str, float]


def _reply(number: int, place: int) -> str:
    return f"Answer {place} of conversation {number}, which is long enough to be nobody else's."


def talk(client: ChatClient, number: int, steps: list[str], found: list[str]) -> Iterator[Verdict]:
    """Play a conversation, one request or reply at a time; add its sessions to ``found``."""

    def verdict(name: str, relation: str, source: str, confidence: float) -> Verdict:
        found.append(name)
        return relation, source, confidence

    for place, step in enumerate(steps):
        if step == "window":
            client.history = client.history[-2:]
        elif step == "edit" and client.history:
            client.history[0] = user(f"Conversation {number} began otherwise.")
        elif step == "fork":
            client.history = client.history[:2]
        asked: list[Json] = [*client.history, user(f"Question {place} of conversation {number}?")]
        sent = client.send(asked)
        tag = sent.tag
        yield verdict(tag.session_id, tag.relation, tag.source, tag.confidence)
        if step in {"retry", "regenerate"}:
            if step == "retry":
                sent.fail()
            else:
                sent.answer(f"No. {_reply(number, place)}")
            sent = client.send(asked)
            tag = sent.tag
            yield verdict(tag.session_id, tag.relation, tag.source, tag.confidence)
        elif step == "tool":
            call = f"call_{number}_{place}"
            asked += [sent.answer(tool_call(call, "f", {"x": place})), tool_result(call, "done")]
            sent = client.send(asked)
            tag = sent.tag
            yield verdict(tag.session_id, tag.relation, tag.source, tag.confidence)
        client.history = [*asked, sent.answer(_reply(number, place))]


def played(
    plots: list[list[str]], random: Random | None
) -> tuple[list[list[Verdict]], list[list[int]]]:
    """Play all conversations, one after the other or mixed; return the verdicts on each.

    The second list has the sessions of each, numbered in the order in which it met them.
    """
    desk = Desk()
    found: list[list[str]] = [[] for _ in plots]
    talks = [talk(desk.client(), n, steps, found[n]) for n, steps in enumerate(plots)]
    verdicts: list[list[Verdict]] = [[] for _ in plots]
    live = list(range(len(plots)))
    while live:
        number = random.choice(live) if random else live[0]
        verdict = next(talks[number], None)
        if verdict is None:
            live.remove(number)
        else:
            verdicts[number].append(verdict)
    together = [name for names in found for name in set(names)]
    assert len(together) == len(set(together)), "two conversations share a session"
    return verdicts, [[names.index(name) for name in names] for names in found]


@quick
@given(plots=PLOTS, seed=st.integers(0, 2**32))
def test_the_order_of_unrelated_sessions_changes_no_verdict(
    plots: list[list[str]], seed: int
) -> None:
    assert played(plots, Random(seed)) == played(plots, None)


@quick
@given(plots=PLOTS, seed=st.integers(0, 2**32))
def test_each_is_judged_as_if_it_were_alone(plots: list[list[str]], seed: int) -> None:
    verdicts, sessions = played(plots, Random(seed))
    for number in range(len(plots)):
        alone = [steps if n == number else [] for n, steps in enumerate(plots)]
        judged, told_apart = played(alone, None)
        assert (judged[number], told_apart[number]) == (verdicts[number], sessions[number])
