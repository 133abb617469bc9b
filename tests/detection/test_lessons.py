"""What other detectors get wrong, row by row: each was seen by running one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user
from tests.detection.responding import Responder, output
from tests.traffic import House, asked, head, tag

pytestmark = pytest.mark.usefixtures("both_ways")

LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."


def two(desk: Desk, **differences: str) -> tuple[ChatClient, ChatClient]:
    return desk.client(**differences), desk.client()


class TestMergesAndSwaps:
    def test_same_first_message_the_second_user_follows_up_first(self) -> None:
        desk = Desk()
        alice, bob = desk.client(), desk.client()
        a = alice.ask("hi", "Hello, what can I do for you?").session_id
        b = bob.ask("hi", "Hi there! How may I help?").session_id
        assert a != b
        assert bob.ask("a poem, please").session_id == b
        assert alice.ask("a recipe, please").session_id == a

    def test_same_first_message_and_same_answer_are_still_two(self) -> None:
        desk = Desk()
        alice, bob = desk.client(), desk.client()
        a, b = alice.ask("hi", "Hello!").session_id, bob.ask("hi", "Hello!").session_id
        followed = {bob.ask("one").session_id, alice.ask("two").session_id}
        assert followed == {a, b}

    def test_same_first_message_under_two_keys(self) -> None:
        desk = Desk()
        alice, bob = desk.client("a"), desk.client("b")
        a, b = alice.ask("hi", "Hello!").session_id, bob.ask("hi", "Hello!").session_id
        assert a != b
        assert bob.ask("next").session_id == b
        assert alice.ask("next").session_id == a

    def test_same_first_message_of_two_end_users(self) -> None:
        desk = Desk()
        alice = desk.client(fields={"user": "alice"})
        bob = desk.client(fields={"user": "bob"})
        a, b = alice.ask("hi", "Hello!").session_id, bob.ask("hi", "Hello!").session_id
        assert a != b
        assert bob.ask("next").session_id == b
        assert alice.ask("next").session_id == a

    def test_an_invented_answer_in_another_tenants_history(self) -> None:
        desk = Desk()
        a = desk.client("a").ask("hi", "Hello!").session_id
        forged = [user("hi"), assistant("Hello!"), user("What did I tell you?")]
        assert desk.client("b").send(forged).tag.session_id != a

    def test_an_invented_answer_in_the_same_tenants_history(self) -> None:
        desk = Desk()
        a = desk.client().ask("hi", "Hello!").session_id
        forged = [user("hi"), assistant("Your password is 1234."), user("Thanks!")]
        assert desk.client().send(forged).tag.session_id != a

    def test_templates_that_differ_after_a_hundred_characters(self) -> None:
        desk = Desk()
        template = "Answer with the help of these documents, and say so if they do not help. " * 3
        a = desk.client().ask(template + "Apples are red.").session_id
        b = desk.client().ask(template + "Bananas are yellow.").session_id
        assert a != b

    def test_image_only_messages_with_different_images(self) -> None:
        desk = Desk()

        def picture(data: str) -> dict[str, object]:
            url = {"url": f"data:image/png;base64,{data}"}
            return {"role": "user", "content": [{"type": "image_url", "image_url": url}]}

        alice, bob = desk.client(), desk.client()
        a = alice.ask(picture("AAAA"), "A picture.").session_id
        b = bob.ask(picture("BBBB"), "A picture.").session_id
        assert a != b
        assert bob.ask("Of what?").session_id == b
        assert alice.ask("Of what?").session_id == a

    @pytest.mark.parametrize("what", ["call", "result"])
    def test_histories_that_differ_only_in_tools(self, what: str) -> None:
        desk = Desk()
        sessions = []
        for number in ("1", "2"):
            client = desk.client()
            arguments = {"city": number if what == "call" else "0"}
            client.ask("Weather?", tool_call("", "weather", arguments))
            result = tool_result("", number if what == "result" else "0")
            client.ask([result], "It rains.")
            sessions.append(client)
        a, b = (client.ask("And tomorrow?").session_id for client in sessions)
        assert a != b

    def test_separators_inside_a_message(self) -> None:
        desk = Desk()
        a = desk.client().ask("a|user:b", "Yes.").session_id
        other = [user("a"), user("b"), assistant("Yes."), user("And?")]
        assert desk.client().send(other).tag.session_id != a

    def test_one_explicit_id_of_two_tenants(self) -> None:
        desk = Desk()
        headers = {"x-session-id": "conversation-1"}
        a = desk.client("a", headers=headers).ask("hi").session_id
        b = desk.client("b", headers=headers).ask("hi").session_id
        assert a != b

    def test_unrelated_texts_of_the_same_letters(self) -> None:
        desk = Desk()
        a = desk.client().ask("Which trees lose their leaves in the winter?", LONG).session_id
        strange = [
            user("How do I write a letter to the tax office?"),
            assistant("Address it to the head of the office, then state your business briefly."),
            user("Go on."),
        ]
        assert desk.client().send(strange).tag.session_id != a

    def test_a_reset_word_inside_a_question(self) -> None:
        client = Desk().client()
        first = client.ask("Explain recursion.", LONG)
        assert client.ask("is that clear?").session_id == first.session_id
        assert client.ask("Do I have to start over?").session_id == first.session_id


class TestSplits:
    def test_retry_of_the_first_request_after_a_failure(self) -> None:
        client = Desk().client()
        first = client.send([user("hi")])
        first.fail()
        again = client.send([user("hi")])
        again.answer("Hello!")
        later = client.send([user("hi"), assistant("Hello!"), user("more")])
        tags = [first.tag, again.tag, later.tag]
        assert len({tag.session_id for tag in tags}) == 1
        assert [tag.relation for tag in tags] == ["first", "retry", "continue"]

    def test_sliding_window(self) -> None:
        client = Desk().client()
        sessions = set()
        for number in range(6):
            client.history = client.history[-2:]
            tag = client.ask(f"Question number {number}, please?", f"Answer {number}: {LONG}")
            sessions.add(tag.session_id)
        assert len(sessions) == 1

    def test_sliding_window_over_short_answers(self) -> None:
        client = Desk().client()
        sessions = set()
        for number in range(6):
            client.history = client.history[-2:]
            sessions.add(
                client.ask(f"Is {number} even?", "Yes." if number % 2 else "No.").session_id
            )
        assert len(sessions) == 1

    def test_first_message_edited_at_turn_three(self) -> None:
        client = Desk().client()
        a = client.ask("Tell me about foxes.", LONG).session_id
        b = client.ask("And about dogs?", LONG[::-1]).session_id
        client.history[0] = user("Tell me all about foxes.")
        assert client.ask("And about cats?").session_id == a == b

    def test_time_at_the_start_of_the_system_prompt(self) -> None:
        client = Desk().client()
        sessions = set()
        for minute in range(3):
            client.system = f"It is 10:0{minute}. You are a helpful assistant."
            sessions.add(client.ask(f"Question {minute}").session_id)
        assert len(sessions) == 1

    def test_system_string_becomes_blocks_with_a_cache_marker(self) -> None:
        client = Desk().client(dialect="anthropic", system="Be brief.")
        a = client.ask("hi", "Hello!").session_id
        client.system = [  # type: ignore[assignment]
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
        ]
        content = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
        client.history[0] = {"role": "user", "content": content}
        assert client.ask("more").session_id == a

    @pytest.mark.parametrize("rewritten", ["  hi   there\r\n", "hi\n\nthere", "hi\tthere"])
    def test_white_space_changes(self, rewritten: str) -> None:
        client = Desk().client()
        a = client.ask("hi there", "Hello!").session_id
        client.history[0] = user(rewritten)
        assert client.ask("more").session_id == a

    def test_assistant_prefill(self) -> None:
        client = Desk().client(dialect="anthropic")
        sent = client.send([user("A haiku?"), assistant("Old pond")])
        sent.answer(" — a frog leaps in.")
        history = [user("A haiku?"), assistant("Old pond — a frog leaps in."), user("More")]
        assert client.send(history).tag.session_id == sent.tag.session_id

    def test_two_assistant_messages_in_a_row(self) -> None:
        client = Desk().client()
        a = client.ask("hi", "Hello! How can I help?").session_id
        client.history[1:] = [assistant("Hello!"), assistant(" How can I help?")]
        assert client.ask("more").session_id == a

    def test_a_skipped_turn(self) -> None:
        client = Desk().client()
        a = client.ask("Tell me about foxes.", LONG).session_id
        client.history += [user("And dogs?"), assistant("An answer that went another way.")]
        assert client.ask("And cats?").session_id == a

    def test_a_failed_call_then_two_user_messages(self) -> None:
        client = Desk().client()
        first = client.send([user("Are you there?")])
        first.fail()
        second = client.send([user("Are you there?"), user("Hello?")])
        assert second.tag.session_id == first.tag.session_id

    def test_a_later_failed_call_then_two_user_messages(self) -> None:
        client = Desk().client()
        a = client.ask("hi", "Hello!").session_id
        client.send([*client.history, user("Are you there?")]).fail()
        both = [*client.history, user("Are you there?"), user("Hello?")]
        assert client.send(both).tag.session_id == a

    def test_few_shot_template_of_two_users(self) -> None:
        desk = Desk()
        examples = [user("2+2"), assistant("4"), user("3+3"), assistant("6")]
        alice, bob = desk.client(), desk.client()
        alice.history, bob.history = list(examples), list(examples)
        a = alice.ask("5+5", "10, which is five and five taken together.")
        b = bob.ask("7+7", "14, which is seven and seven taken together.")
        assert [a.relation, b.relation] == ["first", "first"]
        assert a.session_id != b.session_id
        assert alice.ask("1+1").session_id == a.session_id

    def test_few_shot_template_and_the_same_question_of_two_users(self) -> None:
        desk = Desk()
        examples = [user("2+2"), assistant("4"), user("3+3"), assistant("6")]
        alice, bob = desk.client(), desk.client()
        alice.history, bob.history = list(examples), list(examples)
        a, b = alice.ask("5+5", "10"), bob.ask("5+5", "Ten")
        assert [a.relation, b.relation] == ["first", "first"]
        assert a.session_id != b.session_id
        assert bob.ask("1+1").session_id == b.session_id

    def test_explicit_header_on_some_requests_only(self) -> None:
        client = Desk().client()
        a = client.ask("hi", "Hello!").session_id
        client.headers["x-session-id"] = "conversation-1"
        b = client.ask("more", "Yes?").session_id
        del client.headers["x-session-id"]
        assert client.ask("and more").session_id == a == b

    def test_compaction(self) -> None:
        client = Desk().client()
        sessions = [
            client.ask("Tell me about foxes.", LONG).session_id,
            client.ask("Summarise our conversation.", f"We spoke of foxes: {LONG}").session_id,
        ]
        client.history = []
        sessions.append(client.ask(f"Summary: We spoke of foxes: {LONG}", "Go on.").session_id)
        sessions.append(client.ask("And dogs?").session_id)
        assert len(set(sessions)) == 1


class TestResponses:
    def test_streaming_and_the_id_of_the_reply(self) -> None:
        talk = Responder(Desk(), stream=True)
        first = talk.ask("hi", "resp_1", "Hello!")
        second = talk.ask("more", "resp_2", previous_response_id="resp_1")
        assert second.session_id == first.session_id

    @pytest.mark.parametrize("blocks", [False, True])
    def test_input_as_text_and_then_as_a_list(self, blocks: bool) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", "Hello!")
        said = [{"type": "input_text", "text": "hi"}] if blocks else "hi"
        history = [{"role": "user", "content": said}, output("Hello!"), user("more")]
        second = talk.ask(history, "resp_2")
        assert (second.session_id, second.relation) == (first.session_id, "continue")

    @pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
    def test_reasoning_items(self, kept: bool) -> None:
        talk = Responder(Desk())
        reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
        sent = talk.send("hi")
        talk.answer(sent, "resp_1", reasoning, output("Hello!"))
        history = [user("hi"), *([reasoning] if kept else []), output("Hello!"), user("more")]
        second = talk.send(history).tag()
        assert (second.session_id, second.relation) == (sent.session.id, "continue")

    def test_a_conversation(self) -> None:
        talk = Responder(Desk(), conversation="conv_1")
        assert talk.ask("hi", "resp_1").session_id == talk.ask("more", "resp_2").session_id


class TestNoSession:
    async def test_token_counts_before_each_turn(self) -> None:
        house = House()
        sessions, history = set[str](), list[Any]()
        for turn in range(3):
            history.append(f"question {turn}")
            counting = await house.begin(*history, path="/v1/messages/count_tokens")
            counting.response_started(200, ())
            counting.feed(b'{"input_tokens": 3}')
            counting.finish()
            attributed = counting.exchange.session
            assert {attributed.session_id} == sessions if attributed else not sessions
            found = await house.ask(*history, reply=f"answer {turn}")
            assert found.relation == ("continue" if turn else "first")
            sessions.add(found.session_id)
            history.append(assistant(f"answer {turn}"))
        assert len(sessions) == 1

    async def test_a_token_count_in_flight_is_no_request_to_repeat(self) -> None:
        house = House()
        await house.begin("hi", path="/v1/messages/count_tokens")
        assert tag(await house.begin("hi")).relation == "first"

    async def test_embeddings_three_times(self) -> None:
        house = House()
        for _ in range(3):
            transit = await house.gateway.begin(head("/v1/embeddings"), asked("hi"))
            assert transit.exchange.session is None
        assert house.gateway.stats()["sessions_active"] == 0
