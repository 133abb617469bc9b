"""Compaction: what the rule says of requests that open with a summary."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection.echo_rules import is_summarising, summary_in
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.testing import (
    ChatClient,
    Desk,
    Json,
    assistant,
    user,
)
from tests.detection.agents import TASK, agent, child, giving

pytestmark = pytest.mark.usefixtures("both_ways")

ASKS = "Summarise our conversation so that it can go on from your summary."
SUMMARY = (
    "The user wants the parser to accept nested lists. We found that the tokenizer drops brackets, "
    "fixed it in two places and wrote a test. What remains is the documentation of the option."
)
HISTORY = ["Let us make the parser accept nested lists.", "Why does the tokenizer drop brackets?"]


def compacting(
    desk: Desk, summary: str = SUMMARY, asks: str = ASKS, **options: Any
) -> tuple[ChatClient, str]:
    """Return a client whose session has just been summed up, and that session."""
    talk = desk.client(**options)
    for number, asked in enumerate(HISTORY):
        talk.ask(asked, f"Answer {number}, which says a good deal about lists and brackets.")
    return talk, talk.ask(asks, summary).session_id


class TestCompaction:
    @pytest.mark.parametrize(
        "opening",
        [
            SUMMARY,
            f"This session goes on from an earlier one. Summary:\n\n{SUMMARY}",
            f"<summary>\n{SUMMARY}\n</summary>",
            f"{SUMMARY}\n\nNow write the documentation.",
        ],
        ids=["alone", "introduced", "in tags", "joined with what follows"],
    )
    def test_a_history_that_begins_with_the_summary(self, opening: str) -> None:
        desk = Desk(explain=True)
        talk, before = compacting(desk)
        talk.history = []
        tag = talk.ask(opening, "Gladly. The option is called nested_lists and it is off.")
        assert (tag.session_id, tag.relation, tag.source) == (before, "compaction", "echo")
        assert tag.explain[-1]["rule"] == "compaction"
        assert tag.confidence == 0.85
        after = talk.ask("Go on.")
        assert (after.session_id, after.relation) == (before, "continue")

    def test_the_summary_is_marked_in_the_reply(self) -> None:
        desk = Desk()
        said = f"<analysis>First I think about it.</analysis>\n<summary>{SUMMARY}</summary>"
        talk, first = compacting(desk, said)
        tag = talk.send([user(f"What was said before:\n{SUMMARY}")]).tag
        assert (tag.session_id, tag.relation) == (first, "compaction")

    def test_while_tasks_are_given_away(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        talk, first = compacting(desk)
        tag = talk.send([user(SUMMARY)]).tag
        assert (tag.session_id, tag.relation) == (first, "compaction")

    def test_the_summary_and_a_message_of_its_own(self) -> None:
        desk = Desk()
        talk, _ = compacting(desk)
        tag = talk.send([user(SUMMARY), user("Now write the documentation, please.")]).tag
        assert tag.relation == "compaction"

    def test_the_summary_in_the_first_of_several_parts(self) -> None:
        desk = Desk()
        talk, _ = compacting(desk, dialect="anthropic")
        tail = "And here are the rules of the house again, in full. " * 60
        parts = [{"type": "text", "text": text} for text in (SUMMARY, tail)]
        assert talk.send([{"role": "user", "content": parts}]).tag.relation == "compaction"

    def test_messages_that_were_kept(self) -> None:
        desk = Desk()
        talk, first = compacting(desk)
        kept = [assistant("Ready."), user("Write the documentation."), assistant("How long?")]
        tag = talk.send([user(SUMMARY), *kept, user("Short.")]).tag
        assert (tag.session_id, tag.relation) == (first, "compaction")

    def test_replies_of_ours_that_were_kept_lead_back_as_well(self) -> None:
        desk = Desk()
        talk, first = compacting(desk)
        assert talk.send([user(SUMMARY), *talk.history[2:4], user("And?")]).tag.session_id == first

    @pytest.mark.parametrize("other", [{"key": "b"}, {"fields": {"user": "bob"}}])
    def test_not_with_another_tenants_summary(self, other: Json) -> None:
        desk = Desk()
        compacting(desk)
        tag = desk.client(**other).send([user(SUMMARY)]).tag
        assert tag.relation == "first"

    def test_an_ordinary_reply_that_is_pasted(self) -> None:
        desk = Desk()
        _, first = compacting(desk, asks="What have we done?")
        tag = desk.client().send([user(f"A colleague wrote this to me: {SUMMARY}")]).tag
        assert (tag.session_id != first, tag.relation) == (True, "first")

    @pytest.mark.parametrize(
        "opening",
        [SUMMARY[: len(SUMMARY) // 2], SUMMARY + "Rules of the house, which are many. " * 30],
        ids=["half of it", "in much else"],
    )
    def test_not_the_summary(self, opening: str) -> None:
        desk = Desk()
        compacting(desk)
        assert desk.client().send([user(opening)]).tag.relation == "first"

    @pytest.mark.parametrize("outcome", ["answered", "in flight"])
    def test_not_once_the_session_has_gone_on(self, outcome: str) -> None:
        desk = Desk()
        talk, _ = compacting(desk)
        sent = talk.send([*talk.history, user("Thanks.")])
        if outcome == "answered":
            sent.answer("You are welcome.")
        assert desk.client().send([user(SUMMARY)]).tag.relation == "first"

    def test_not_in_a_later_message(self) -> None:
        desk = Desk()
        compacting(desk)
        said = [user("hi there"), assistant("Hello, what can I do for you?"), user(SUMMARY)]
        assert desk.client().send(said).tag.relation == "first"

    def test_not_in_a_greeting(self) -> None:
        desk = Desk()
        _, first = compacting(desk)
        said = [assistant(f"Welcome back. {SUMMARY}"), user("Go on.")]
        assert desk.client().send(said).tag.session_id != first

    def test_a_history_that_begins_with_a_task(self) -> None:
        desk = Desk()
        compacting(desk)
        parent = agent(desk).ask("Tidy up the project.", giving(TASK))
        tag = child(desk).send([user(TASK), assistant("Invented."), user("And?")]).tag
        assert (tag.relation, tag.session_id != parent.session_id) == ("first", True)

    def test_only_the_newest_summary_of_a_session(self) -> None:
        desk = Desk()
        talk, _ = compacting(desk)
        newer = "Nothing remains to be done but to release it, for which there is a checklist."
        talk.ask(ASKS, newer)
        assert desk.client().send([user(SUMMARY)]).tag.relation == "first"
        assert desk.client().send([user(newer)]).tag.relation == "compaction"

    @pytest.mark.parametrize(
        ("model", "system", "relation"),
        [
            ("m", "Answer from the document.", "compaction"),
            ("small", "You are a coder.", "compaction"),
            ("small", "Answer from the document.", "first"),
        ],
        ids=["other instructions", "another model", "both"],
    )
    def test_a_summary_that_is_pasted_elsewhere(
        self, model: str, system: str, relation: str
    ) -> None:
        desk = Desk()
        compacting(desk, system="You are a coder.")
        pasted = desk.client(system=system).send([user(SUMMARY)], model=model)
        assert pasted.tag.relation == relation

    def test_a_session_that_has_expired(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=600))
        compacting(desk)
        desk.clock.advance(700)
        assert desk.client().send([user(SUMMARY)]).tag.relation == "first"

    @pytest.mark.parametrize(
        "asked",
        [
            "Summarize the conversation", "Please write a HANDOFF note", "Create a checkpoint",
            "x" * 2000 + " Write a summary.", "Eine Zusammenfassung, bitte!", "请总结对话",
        ],
    )  # fmt: skip
    def test_what_asks_for_a_summary(self, asked: str) -> None:
        assert is_summarising([asked])

    @pytest.mark.parametrize("asked", ["", "What is a monad?", "x" * 500 + "summary" + "x" * 500])
    def test_what_does_not(self, asked: str) -> None:
        assert not is_summarising([asked])

    def test_what_is_taken_out_of_a_reply(self) -> None:
        assert summary_in("<plan>a</plan><summary>b\nand then c</summary> d") == "b\nand then c"
        assert summary_in("<State_Summary>bcdefghijklmno</State_Summary>") == "bcdefghijklmno"
        mention = "I put it into <summary>a</summary> as you told me to."
        assert summary_in(mention) == mention
        assert summary_in("<summary>b") == "<summary>b"
        assert summary_in("plain") == "plain"
