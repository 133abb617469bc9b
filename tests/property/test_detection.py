"""What must hold of the verdicts, whatever the traffic."""

from __future__ import annotations

from collections import defaultdict
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, user
from tests.property.strategies import (
    WORDS,
    Json,
    Said,
    anthropic,
    dialogues,
    openai,
    quick,
    respelled,
)

Turns = list[tuple[str, str]]
"""What a client asks and what it is answered."""
TALKS = st.lists(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), min_size=2, max_size=5)


def grouped(talks: list[Turns], order: list[int]) -> tuple[list[set[str]], list[list[str]]]:
    """Let every client talk in some order; return the sessions and the relations of each."""
    desk = Desk()
    clients = [desk.client() for _ in talks]
    left = [list(turns) for turns in talks]
    sessions: list[set[str]] = [set() for _ in talks]
    relations: list[list[str]] = [[] for _ in talks]
    for number in order:
        asked, answered = left[number].pop(0)
        if not clients[number].history:
            asked = f"I am number {number}: {asked}"
        tag = clients[number].ask(asked, answered)
        sessions[number].add(tag.session_id)
        relations[number].append(tag.relation)
    return sessions, relations


@quick
@given(talks=TALKS, seed=st.integers(0, 2**32))
def test_the_order_of_unrelated_sessions_changes_nothing(talks: list[Turns], seed: int) -> None:
    order = [number for number, turns in enumerate(talks) for _ in turns]
    shuffled = list(order)
    Random(seed).shuffle(shuffled)
    for each in (order, shuffled):
        sessions, relations = grouped(talks, each)
        assert all(len(found) == 1 for found in sessions)
        assert len(set.union(*sessions)) == len(talks)
        assert all(said == ["first", *["continue"] * (len(said) - 1)] for said in relations)


def answered(client: ChatClient, messages: list[Json], reply: str) -> SessionTag:
    sent = client.send(messages)
    sent.answer(reply)
    return sent.tag


@quick
@given(said=dialogues(), reply=WORDS, more=WORDS, blocks=st.booleans())
def test_appending_continues(said: list[Said], reply: str, more: str, blocks: bool) -> None:
    """Wherever a conversation is first seen, and whatever was said before."""
    client = Desk().client(dialect="anthropic" if blocks else "openai_chat")
    history = anthropic(said) if blocks else openai(said)
    first = answered(client, history, reply)
    history += [assistant(reply), user(more)]
    second = answered(client, history, "Fine.")
    history += [assistant("Fine."), user(more)]
    third = client.send(history).tag
    assert first.session_id == second.session_id == third.session_id
    assert [tag.relation for tag in (first, second, third)] == ["first", "continue", "continue"]
    assert second.confidence == third.confidence == 1.0


@quick
@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=4), seed=st.integers(0, 2**32))
def test_another_spelling_changes_no_verdict(turns: Turns, seed: int) -> None:
    """A client that writes its whole history differently every time."""
    random = Random(seed)
    verdicts: defaultdict[bool, list[tuple[str, str, str, float]]] = defaultdict(list)
    for differently in (False, True):
        desk = Desk()
        client, other = desk.client(), desk.client()
        other.ask("Something else altogether.", "Indeed.")
        history: list[Json] = []
        for asked, reply in turns:
            history.append(user(asked))
            sent = client.send(respelled(history, random) if differently else history)
            history.append(sent.answer(reply))
            tag = sent.tag
            verdicts[differently].append((tag.session_id, tag.relation, tag.source, tag.confidence))
    assert verdicts[True] == verdicts[False]
