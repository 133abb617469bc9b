"""Side calls: what the rule says of requests that quote a turn."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.side_calls import MOMENT_SECONDS, QUOTED_SECONDS
from gateway_sessions.detection.turns import FRESH_SECONDS
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import (
    ChatClient,
    Desk,
    Json,
    ManualClock,
    Sent,
    assistant,
    user,
)
from tests.detection.agents import TASK, agent, child, giving

pytestmark = pytest.mark.usefixtures("both_ways")

PROMPT = "Which trees keep their leaves in the winter, and why do they?"
REPLY = "Conifers keep their needles, since wax and a small surface save them from drying out."
TITLE = "Write a title of at most five words for this conversation."


def spoken(desk: Desk, prompt: str = PROMPT, reply: str = REPLY) -> tuple[ChatClient, SessionTag]:
    """Return a client after one turn, and that turn's tag."""
    talk = desk.client(system="You are a botanist.")
    return talk, talk.ask(prompt, reply)


def aside(desk: Desk, *texts: str, model: str = "m", **options: Any) -> Sent:
    """Send a single request with other instructions."""
    made = desk.client(**{"system": TITLE, **options})
    return made.send([user(text) for text in texts], model=model)


QUOTING = {
    "labelled": f"User: {PROMPT}\nAssistant: {REPLY}",
    "in tags": f"<chat_history>\nUSER: {PROMPT}\nASSISTANT: {REPLY}\n</chat_history>",
    "in lines": f"Suggest three questions.\n\n{PROMPT}\n\n{REPLY}",
    "in bold": f"**User**: {PROMPT}\n**Assistant**: {REPLY}",
}


class TestSideCall:
    @pytest.mark.parametrize("text", QUOTING.values(), ids=QUOTING)
    @pytest.mark.parametrize("model", ["m", "small"])
    @pytest.mark.parametrize("system", [TITLE, None, "You are a botanist."])
    def test_prompt_and_reply_are_quoted(self, text: str, model: str, system: str | None) -> None:
        desk = Desk(explain=True)
        _, main = spoken(desk)
        tag = aside(desk, text, model=model, system=system).tag
        assert (tag.session_id, tag.relation, tag.source) == (main.session_id, "side_call", "echo")
        assert tag.explain[-1]["rule"] == "side_call"
        assert tag.confidence == 0.8
        assert tag.parent_session_id is None

    def test_the_main_conversation_goes_on(self) -> None:
        desk = Desk()
        talk, main = spoken(desk)
        title = aside(desk, QUOTING["labelled"])
        during = talk.send([*talk.history, user("And in the tropics?")])
        title.answer("Leaves in winter")
        during.answer("There most trees do.")
        assert (during.tag.session_id, during.tag.relation) == (main.session_id, "continue")
        talk.history += [user("And in the tropics?"), assistant("There most trees do.")]
        assert talk.ask("Why?").relation == "continue"

    def test_the_head_does_not_move(self) -> None:
        desk = Desk()
        talk, main = spoken(desk)
        title = aside(desk, QUOTING["labelled"])
        session = title.tracked.session
        before = session.head, session.last_reply, session.messages
        title.answer("Leaves in winter")
        assert (session.head, session.last_reply, session.messages) == before
        assert session.pending == session.failed == ()
        assert talk.ask("More?").session_id == main.session_id

    def test_a_side_call_that_goes_on(self) -> None:
        desk = Desk()
        _, main = spoken(desk)
        made = desk.client(system=TITLE)
        made.ask(QUOTING["labelled"], "Leaves in winter")
        assert made.ask("Shorter!").session_id == main.session_id

    def test_one_that_fails_leaves_no_trace(self) -> None:
        desk = Desk()
        talk, main = spoken(desk)
        aside(desk, QUOTING["labelled"]).fail()
        again = aside(desk, QUOTING["labelled"]).tag
        assert (again.session_id, again.relation) == (main.session_id, "side_call")
        assert talk.ask("More?").relation == "continue"

    def test_of_a_child_it_has_the_childs_parents(self) -> None:
        desk = Desk()
        parent = agent(desk).ask("Tidy up the project.", giving(TASK))
        worker = child(desk)
        first = worker.ask(TASK, REPLY)
        tag = aside(desk, f"User: {TASK}\nAssistant: {REPLY}").tag
        assert (tag.session_id, tag.relation) == (first.session_id, "side_call")
        assert tag.parent_session_id == tag.root_session_id == parent.session_id

    @pytest.mark.parametrize("exchanges", [0, 1])
    def test_the_bare_prompt_to_another_model_while_it_is_answered(self, exchanges: int) -> None:
        desk = Desk()
        talk = desk.client(system="You are a botanist.")
        if exchanges:
            talk.ask("hi", "Hello!")
        main = talk.send([*talk.history, user(PROMPT)])
        tag = aside(desk, PROMPT, model="small").tag
        assert (tag.session_id, tag.relation) == (main.tag.session_id, "side_call")

    def test_the_bare_prompt_from_another_client(self) -> None:
        desk = Desk()
        desk.client(system="You are a botanist.").send([user(PROMPT)])
        assert aside(desk, PROMPT, model="small", ip="192.0.2.2").tag.relation == "first"

    @pytest.mark.parametrize("known", ["as a side call's", "as a talk's as well", "not"])
    def test_the_bare_first_prompt_under_known_instructions(self, known: str) -> None:
        desk = Desk()
        if known != "not":
            spoken(desk)
            aside(desk, f"Is this a new topic?\n{PROMPT}")
        if known == "as a talk's as well":
            talk = desk.client(system=TITLE)
            talk.ask("Winter leaves", "Which leaves?")
            talk.ask("Those of holly")
        main = desk.client(system="You are a botanist.").send([user("Do hollies bloom?")])
        tag = aside(desk, "Do hollies bloom?").tag
        joins = known == "as a side call's"
        assert (tag.relation == "side_call") is joins
        assert (tag.session_id == main.tag.session_id) is joins

    def test_the_bare_prompt_to_another_model_after_the_answer(self) -> None:
        desk = Desk()
        spoken(desk)
        assert aside(desk, PROMPT, model="small").tag.relation == "first"

    @pytest.mark.parametrize(
        ("exchanges", "system", "relation"),
        [
            (1, TITLE, "side_call"),
            (0, TITLE, "first"),
            (1, "You are a botanist.", "first"),
        ],
        ids=["other instructions", "a first request", "the same instructions"],
    )
    def test_the_bare_prompt_to_the_same_model(
        self, exchanges: int, system: str, relation: str
    ) -> None:
        desk = Desk()
        talk = desk.client(system="You are a botanist.")
        if exchanges:
            talk.ask("hi", "Hello!")
        main = talk.send([*talk.history, user(PROMPT)])
        tag = aside(desk, PROMPT, system=system).tag
        assert tag.relation == relation
        assert (tag.session_id == main.tag.session_id) is (relation == "side_call")

    def test_the_bare_prompt_while_a_first_request_with_tools_is_answered(self) -> None:
        desk = Desk()
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        main = desk.client(system="You are a botanist.").send([user(PROMPT)], tools=tools)
        tag = aside(desk, PROMPT).tag
        assert (tag.session_id, tag.relation) == (main.tag.session_id, "side_call")

    @pytest.mark.parametrize(("text", "relation"), [("Now?", "side_call"), ("Now? Go!", "first")])
    def test_a_short_prompt_as_a_message_of_its_own_while_it_is_answered(
        self, text: str, relation: str
    ) -> None:
        desk = Desk()
        desk.client(system="You are a botanist.").send([user("Now?")])
        desk.clock.advance(MOMENT_SECONDS + 1)
        tag = aside(desk, "Is this a new topic?", text, model="small").tag
        assert tag.relation == relation

    @pytest.mark.parametrize("model", ["m", "small"])
    @pytest.mark.parametrize(("more", "relation"), [(0, "side_call"), (1, "first")])
    def test_a_long_prompt_within_other_words(self, model: str, more: float, relation: str) -> None:
        desk = Desk()
        _, main = spoken(desk)
        desk.clock.advance(QUOTED_SECONDS + more)
        tag = aside(desk, f"Is this a new topic?\n{PROMPT}", model=model).tag
        assert tag.relation == relation
        assert (tag.session_id == main.session_id) is (relation == "side_call")

    def test_a_prompt_after_reminders(self) -> None:
        desk = Desk()
        talk = desk.client(system="You are a botanist.", dialect="anthropic")
        texts = ("<reminder>\nBe brief.\n</reminder>", PROMPT)
        parts = [{"type": "text", "text": text} for text in texts]
        sent = talk.send([{"role": "user", "content": parts}])
        sent.answer(REPLY)
        asked = {"system": "You are a botanist.", "dialect": "anthropic"}
        tag = aside(desk, QUOTING["labelled"], **asked).tag
        assert (tag.session_id, tag.relation) == (sent.tag.session_id, "side_call")

    def test_a_long_prompt_under_the_same_instructions_to_the_same_model(self) -> None:
        desk = Desk()
        spoken(desk)
        text = f"Is this a new topic?\n{PROMPT}"
        assert aside(desk, text, system="You are a botanist.").tag.relation == "first"

    @pytest.mark.parametrize("text", ["Hello!", PROMPT])
    def test_a_reply_in_the_words_of_the_prompt_is_not_quoted_by_the_prompt_alone(
        self, text: str
    ) -> None:
        desk = Desk()
        first = desk.client().ask(text, text)
        second = desk.client().ask(text, text)
        assert (second.session_id != first.session_id, second.relation) == (True, "first")

    def test_short_texts_count_as_whole_lines(self) -> None:
        desk = Desk()
        _, main = spoken(desk, "What is 2 + 2?", "It is 4.")
        tag = aside(desk, "User: What is 2 + 2?\nAssistant: It is 4.").tag
        assert (tag.session_id, tag.relation) == (main.session_id, "side_call")

    def test_a_short_text_of_several_lines(self) -> None:
        desk = Desk()
        _, main = spoken(desk, "What is 2 + 2?", "It is 4.\n\nAnything else?")
        desk.clock.advance(MOMENT_SECONDS + 1)
        quoted = "User: What is 2 + 2?\nAssistant: It is 4."
        more = aside(desk, quoted, system="You are a botanist.").tag
        assert more.relation == "first"
        tag = aside(desk, f"{quoted}\n\nAnything else?", system="You are a botanist.").tag
        assert (tag.session_id, tag.relation) == (main.session_id, "side_call")

    @pytest.mark.parametrize(
        "text",
        [
            "What is 2 + 2? It is 4.",
            "User: What is 2 + 2? Tell me.\nAssistant: It is 4.",
            "User: What is 2 + 2?\nAssistant: It is 4. Really.",
            "User: What is 2\n+ 2?\nAssistant: It is 4.",
            "What is 2 + 2?",
            "It is 4.",
        ],
    )
    def test_short_texts_within_lines_do_not(self, text: str) -> None:
        desk = Desk()
        spoken(desk, "What is 2 + 2?", "It is 4.")
        desk.clock.advance(MOMENT_SECONDS + 1)
        assert aside(desk, text, model="small").tag.relation == "first"

    def test_a_line_that_begins_with_a_short_text(self) -> None:
        desk = Desk()
        prompt = "Which trees keep their leaves in it?"
        spoken(desk, prompt, "It is 4.")
        text = f"User: {prompt} And what of firs, which are no such trees?\nAssistant: It is 4."
        assert aside(desk, text, system="You are a botanist.").tag.relation == "first"

    @pytest.mark.parametrize(("seconds", "relation"), [(0, "side_call"), (1, "first")])
    def test_a_short_prompt_alone_in_the_moment_of_its_answer(
        self, seconds: float, relation: str
    ) -> None:
        desk = Desk()
        spoken(desk, "What is 2 + 2?", REPLY)
        desk.clock.advance(MOMENT_SECONDS + seconds)
        assert aside(desk, "A title for:\nWhat is 2 + 2?", model="small").tag.relation == relation

    def test_not_with_tools(self) -> None:
        desk = Desk()
        spoken(desk)
        made = desk.client(system=TITLE)
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        assert made.send([user(QUOTING["labelled"])], tools=tools).tag.relation == "first"

    def test_not_with_a_history(self) -> None:
        desk = Desk()
        _, main = spoken(desk)
        made = desk.client(system=TITLE)
        said = [user("hello there"), assistant("What is it?"), user(QUOTING["labelled"])]
        assert made.send(said).tag.session_id != main.session_id

    @pytest.mark.parametrize("other", [{"key": "b"}, {"fields": {"user": "bob"}}])
    def test_not_across_scopes(self, other: Json) -> None:
        desk = Desk()
        _, main = spoken(desk)
        tag = aside(desk, QUOTING["labelled"], **other).tag
        assert (tag.relation, tag.session_id != main.session_id) == ("first", True)

    @pytest.mark.parametrize(("seconds", "relation"), [(0, "side_call"), (1, "first")])
    def test_for_a_while_only(self, seconds: float, relation: str) -> None:
        desk = Desk()
        spoken(desk)
        desk.clock.advance(FRESH_SECONDS + seconds)
        assert aside(desk, QUOTING["labelled"]).tag.relation == relation

    def test_an_expired_session_has_none(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        spoken(desk)
        desk.clock.advance(61)
        assert aside(desk, QUOTING["labelled"]).tag.relation == "first"

    def test_about_an_older_turn(self) -> None:
        desk = Desk()
        talk, _ = spoken(desk)
        talk.ask("And in the tropics?", "There most trees do, as there is no winter.")
        assert aside(desk, QUOTING["labelled"]).tag.relation == "first"

    def test_of_two_equal_turns_the_newer_is_meant(self) -> None:
        desk = Desk(clock=ManualClock())
        spoken(desk)
        _, newer = spoken(desk)
        tag = aside(desk, QUOTING["labelled"]).tag
        assert (tag.session_id, tag.confidence) == (newer.session_id, 0.6)

    def test_the_one_of_which_more_is_quoted(self) -> None:
        desk = Desk()
        _, whole = spoken(desk)
        spoken(desk, PROMPT, "Another answer that is as long as the first one was, about firs.")
        tag = aside(desk, QUOTING["labelled"]).tag
        assert (tag.session_id, tag.confidence) == (whole.session_id, 0.8)

    def test_a_toss_up_is_marked(self) -> None:
        desk = Desk()
        spoken(desk)
        spoken(desk)
        assert aside(desk, QUOTING["labelled"]).tracked.verdict.ambiguous

    def test_one_alone_is_not(self) -> None:
        desk = Desk()
        spoken(desk)
        assert not aside(desk, QUOTING["labelled"]).tracked.verdict.ambiguous


class TestNewestTurn:
    """What a chat ends with is its newest turn; before it stands what others say as well."""

    def test_a_turn_that_stands_further_up_is_anothers(self) -> None:
        desk = Desk()
        talks = [desk.client(), desk.client()]
        main = talks[0].ask(PROMPT, REPLY)
        talks[0].ask("And in spring?", "They grow new ones.")
        talks[1].ask(PROMPT, REPLY)
        chat = f"USER: {PROMPT}\nASSISTANT: {REPLY}\n"
        chat += "USER: And in spring?\nASSISTANT: They grow new ones."
        assert aside(desk, f"{TITLE}\n{chat}", model="small").tag.session_id == main.session_id

    @pytest.mark.parametrize("more", ["", " And so on." * 500], ids=["short", "long"])
    def test_a_bare_prompt_is_not_about_what_it_ends_with(self, more: str) -> None:
        desk = Desk()
        shown = f"| id | name |\n| 1 | a longer name, such as many have |{more}"
        inner, outer = agent(desk), agent(desk)
        inner.send([user(shown)])
        asked = outer.send([user(f"Fix this:\n{shown}")]).tag
        found = desk.client().send([user(f"Fix this:\n{shown}")], model="small").tag
        assert (found.session_id, found.relation) == (asked.session_id, "side_call")

    @pytest.mark.parametrize(
        ("ip", "relation"), [("192.0.2.1", "side_call"), ("192.0.2.9", "first")]
    )
    def test_the_prompt_alone_from_another_client(self, ip: str, relation: str) -> None:
        desk = Desk()
        agent(desk).ask(TASK, "Two places.")
        quoted = user(f"A title, please.\nUSER: {TASK}")
        assert desk.client(ip=ip).send([quoted], model="small").tag.relation == relation

    def test_of_equal_newest_turns_the_turns_before_tell(self) -> None:
        desk = Desk()
        talks = [desk.client(), desk.client()]
        tags = [talk.ask(f"Is {n} prime?", "Yes.") for n, talk in enumerate(talks)]
        for talk in talks:
            talk.ask("Why?", "I can't say.")
        for n, tag in enumerate(tags):
            chat = f"USER: Is {n} prime?\nASSISTANT: Yes.\nUSER: Why?\nASSISTANT: I can't say."
            found = aside(desk, f"{TITLE}\n{chat}", model="small")
            assert found.tag.session_id == tag.session_id
            assert not found.tracked.verdict.ambiguous

    def test_the_end_of_a_long_chat_is_read(self) -> None:
        desk = Desk()
        talk = desk.client()
        log = "\n".join(f"{n} ms for request {n * n}" for n in range(2000))
        talk.ask(log, "Nothing is wrong with it.")
        main = talk.ask(PROMPT, REPLY)
        chat = f"USER: {log}\nASSISTANT: Nothing is wrong with it.\n"
        chat += f"USER: {PROMPT}\nASSISTANT: {REPLY}"
        assert aside(desk, f"{TITLE}\n{chat}", model="small").tag.session_id == main.session_id
