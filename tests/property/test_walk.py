"""A walker that remembers agrees with one that has seen nothing, whatever is said."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_sessions.conversation import ASSISTANT, Conversation, Message, Text
from gateway_sessions.detection.chains import runs_backwards
from gateway_sessions.detection.walk import Walker
from tests.detection.talk import SEED, chat, claude
from tests.property.strategies import (
    ANY,
    EVERY_USER_SPEAKS,
    SCALE,
    TEXTS,
    Said,
    anthropic,
    dialogues,
    openai,
    quick,
    respelled,
)


def facts(conversation: Conversation, walker: Walker, reply: str) -> dict[str, Any]:
    """Return all that detection can learn of a conversation, in the order in which it asks."""
    walk = walker.walk(conversation, SEED)
    newest = walk.reply
    following = walk.after_reply(Message(ASSISTANT, (Text(reply),)))
    return {
        "asked": walk.request_state,
        "reply": newest and (newest.state, newest.links, newest.weight, newest.call_ids),
        "before": newest and newest.before and newest.before.state,
        "next": following and (following.state, following.links),
        "items": walk.prompt_items,
        "texts": walk.prompt_texts(),
        "instructions": walk.instructions(),
        "inside": walk.states_inside_prompt(),
        "runs": [(run.model_side, run.state, run.links) for run in runs_backwards(walk.full())],
    }


SEEN = st.integers(0, 2**7 - 1)
"""One bit for each beginning of a conversation: whether the walker has seen it."""


@settings(quick, max_examples=250 * SCALE)
@given(said=ANY, seen=SEEN, reply=TEXTS)
def test_a_warm_walker_agrees_with_a_cold_one(said: list[Said], seen: int, reply: str) -> None:
    warm = Walker()
    for cut in range(1, len(said) + 1):
        if seen >> cut & 1:
            warm.walk(chat(*openai(said[:cut])), SEED)
    conversation = chat(*openai([*said, Said("user", "more")]))
    assert facts(conversation, warm, reply) == facts(conversation, Walker(), reply)


@quick
@given(said=ANY, seen=SEEN)
def test_a_warm_walker_agrees_with_a_cold_one_on_blocks(said: list[Said], seen: int) -> None:
    said = [each for each in said if each.side != "system"]
    warm = Walker()
    for cut in range(1, len(said) + 1):
        if seen >> cut & 1:
            warm.walk(claude(*anthropic(said[:cut])), SEED)
    if said:
        conversation = claude(*anthropic(said))
        assert facts(conversation, warm, "x") == facts(conversation, Walker(), "x")


@quick
@given(said=EVERY_USER_SPEAKS, reply=TEXTS, apart=st.booleans())
def test_a_reply_leads_to_the_state_that_the_next_request_knows(
    said: list[Said], reply: str, apart: bool
) -> None:
    said = [Said("user", "hi"), *said]
    after = Walker().walk(chat(*openai(said)), SEED).after_reply(Message(ASSISTANT, (Text(reply),)))
    if not apart and said[-1].side == "assistant":
        answered = [*said[:-1], Said("assistant", said[-1].text + reply)]
    else:
        answered = [*said, Said("assistant", reply)]
    later = Walker().walk(chat(*openai([*answered, Said("user", "more")])), SEED)
    if after is not None:
        assert later.reply is not None
        assert (later.reply.state, later.reply.links) == (after.state, after.links)


@quick
@given(dialogues())
def test_both_dialects_give_one_chain(said: list[Said]) -> None:
    one = Walker().walk(chat(*openai(said)), SEED).full()
    other = Walker().walk(claude(*anthropic(said)), SEED).full()
    assert [run.state for run in runs_backwards(one)] == [
        run.state for run in runs_backwards(other)
    ]


@quick
@given(said=dialogues(), seed=st.integers(0, 2**32), blocks=st.booleans())
def test_another_spelling_gives_the_same_chain(said: list[Said], seed: int, blocks: bool) -> None:
    read, wire = (claude, anthropic(said)) if blocks else (chat, openai(said))
    warm, other = Walker(), respelled(wire, Random(seed))
    plain = [run.state for run in runs_backwards(warm.walk(read(*wire), SEED).full())]
    for walker in (warm, Walker()):
        walk = walker.walk(read(*other), SEED)
        assert walk.request_state == plain[0], json.dumps(other)
        assert [run.state for run in runs_backwards(walk.full())] == plain


@quick
@given(dialogues(), dialogues())
def test_other_words_give_another_state(one: list[Said], other: list[Said]) -> None:
    def plain(said: list[Said]) -> list[Said]:
        return [Said(side, "".join(text.split())) for side, text in said]

    def joined(said: list[Said]) -> list[tuple[str, str]]:
        runs: list[tuple[str, str]] = []
        for side, text in plain(said):
            if runs and runs[-1][0] == side == "user":
                runs[-1] = ("user", runs[-1][1] + text)
            else:
                runs.append((side, text))
        return runs

    states = [Walker().walk(chat(*openai(said)), SEED).request_state for said in (one, other)]
    assert (states[0] == states[1]) is (joined(one) == joined(other))
