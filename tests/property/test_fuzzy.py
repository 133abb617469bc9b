"""Forms that many fill in: an altered history never joins what another customer has said."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_sessions.testing import ChatClient, Desk, Json, assistant, user

FORM = (
    "Dear service, my name is {} and I have a question about what I bought from you last week.",
    "It is a {}, and it came with the wrong cable in a box that was open.",
    "The number on the label is {}, if that is of any help to you or to your colleagues.",
)
CANNED = ("Hello {}, what is it?", "A {}, I see. The number?", "Thank you. We look for {}.")
WORDS = (
    ("Anna", "Hanna", "John", "Joan", "Maria", "Mario"),
    ("lamp", "lamb", "house", "mouse", "table", "cable"),
    ("4711", "4712", "471", "47-11"),
)
filled = st.tuples(*(st.sampled_from(words) for words in WORDS))
ALTERATIONS: tuple[Callable[[str], str], ...] = (
    lambda text: f"[2026-01-20 10:30] {text}",
    lambda text: text.replace(".", "!").replace(",", " –"),
    str.upper,
    lambda text: f"{text} :-)".replace("question", "qeustion").replace("bought", "boughtt"),
)
alteration = st.sampled_from(ALTERATIONS)


def history(words: tuple[str, ...], canned: bool) -> list[Json]:
    """Return what was said by a customer with these words, whose replies name them or not."""
    said: list[Json] = []
    for form, reply, word in zip(FORM, CANNED, words, strict=True):
        told = reply.format("friend" if canned else word)
        said += [user(form.format(word)), assistant(told)]
    return said


def hold(talk: ChatClient, said: list[Json]) -> str:
    """Hold a conversation turn by turn; return its session."""
    return [talk.ask(*turn).session_id for turn in zip(said[::2], said[1::2], strict=True)][-1]


@settings(max_examples=150, deadline=None)
@given(st.lists(filled, min_size=1, max_size=3, unique=True), filled, alteration, st.booleans())
def test_no_customer_joins_another(
    known: list[tuple[str, ...]], stranger: tuple[str, ...], alter: Callable[[str], str],
    canned: bool,
) -> None:  # fmt: skip
    desk = Desk()
    sessions = {words: hold(desk.client(), history(words, canned)) for words in known}
    said = [m | {"content": alter(m["content"])} for m in history(stranger, canned)]
    tag = desk.client().send([*said, user("Any news?")]).tag
    assert tag.session_id not in {s for words, s in sessions.items() if words != stranger}


@settings(deadline=None)
@given(filled, alteration)
def test_who_is_alone_is_recognised(words: tuple[str, ...], alter: Callable[[str], str]) -> None:
    desk = Desk()
    session = hold(desk.client(), history(words, canned=False))
    said = [m | {"content": alter(m["content"])} for m in history(words, canned=False)]
    assert desk.client().send([*said, user("Any news?")]).tag.session_id == session
