"""What is remembered of replies, for requests that quote them."""

from __future__ import annotations

import pytest

from gateway_sessions.testing import Desk, user

ASKS = "Write a detailed summary of our conversation so far."
REFUSAL = "I'm sorry, but I can't help with that. Please ask a professional instead."


@pytest.mark.parametrize(
    ("asked", "relation"),
    [("May I fell my neighbour's oak?", "first"), (ASKS, "compaction"), (None, "compaction")],
    ids=["by others, to something else", "by others, to the same", "by nobody"],
)
def test_what_is_usually_replied_is_no_summary(asked: str | None, relation: str) -> None:
    desk = Desk()
    talk = desk.client()
    if asked is not None:
        desk.client().ask(asked, REFUSAL)
    talk.ask("May I fell an old one?", "You may.")
    talk.ask(ASKS, REFUSAL)
    assert desk.client().send([user(f"We go on from this: {REFUSAL}")]).tag.relation == relation


def test_the_same_session_may_refuse_twice() -> None:
    talk = Desk().client()
    talk.ask("May I fell my neighbour's oak?", REFUSAL)
    talk.ask(ASKS, REFUSAL)
    assert talk.send([user(f"They told me: {REFUSAL}")]).tag.relation == "first"
