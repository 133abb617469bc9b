from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.conversation import ASSISTANT, SYSTEM, USER, Conversation, Message, Text
from gateway_sessions.detection.bounds import COMPOSED, PART, PRECISE, PRECISE_STEP, SMALL
from gateway_sessions.detection.canonical import digest_parts
from gateway_sessions.detection.chains import RUNS_KEPT, next_state, runs_backwards
from gateway_sessions.detection.walk import LONG_HISTORY, Walk, Walker
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.testing import Desk, Json, assistant, tool_call, tool_result, user
from tests.detection.talk import SEED, chat, claude, counted

ANSWER = "An answer that is long enough."


def walk(*messages: Any, seed: int = SEED) -> Walk:
    return Walker().walk(chat(*messages), seed)


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def said(text: str, role: str = ASSISTANT) -> Message:
    return Message(role, (Text(text),))


def states(conversation: Conversation, walker: Walker) -> tuple[int, int | None, list[int]]:
    """Return the state of the request and of its reply, as found, and then of every run."""
    found = walker.walk(conversation, SEED)
    asked, reply = found.request_state, found.reply
    every = [run.state for run in runs_backwards(found.full())]
    return asked, reply.state if reply else None, every


def next_states(history: list[dict[str, Any]], *further: dict[str, Any]) -> int:
    """Return the state at the end of messages of taking turns, one step after the other."""
    state = SEED
    for message in (*history, *further):
        model_side = message["role"] == ASSISTANT
        said_so = digest_parts(message["role"], (Text(message["content"]),)).links
        state = next_state(state, model_side, said_so)
    return state


class TestChain:
    def test_equal_histories_end_at_equal_states(self) -> None:
        history = [user("a"), assistant("b"), user("c")]
        assert walk(*history).request_state == walk(*history).request_state

    @pytest.mark.parametrize(
        "other",
        [
            [user("x"), assistant("b"), user("c")],
            [user("a"), assistant("x"), user("c")],
            [user("a"), assistant("b"), user("x")],
            [user("c"), assistant("b"), user("a")],
            [assistant("a"), user("b"), assistant("c")],
            [user("a"), assistant("b")],
            [user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
        ],
    )
    def test_every_message_and_its_side_and_order_count(self, other: list[Any]) -> None:
        mine = walk(user("a"), assistant("b"), user("c"))
        assert walk(*other).request_state != mine.request_state

    def test_states_mean_nothing_under_another_seed(self) -> None:
        assert walk(user("a"), seed=1).request_state != walk(user("a"), seed=2).request_state

    def test_messages_of_one_side_are_one_run(self) -> None:
        apart = walk(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))
        joined = walk(user("ab"), assistant("cd"), user("e"))
        assert apart.request_state == joined.request_state

    def test_messages_of_one_side_with_other_parts_between_their_texts(self) -> None:
        results = [tool_result("1", "r"), tool_result("2", "s")]
        apart = walk(user("q"), tool_call("1", "f"), *results, user("a"), user("b"))
        joined = walk(user("q"), tool_call("1", "f"), *results, user("ab"))
        assert apart.request_state == joined.request_state
        swapped = walk(user("q"), tool_call("1", "f"), *results[::-1], user("ab"))
        assert swapped.request_state != joined.request_state

    def test_empty_messages_are_skipped(self) -> None:
        plain = walk(user("a"), assistant("b"), user("c"))
        padded = walk(user(""), user("a"), assistant("b"), assistant(" "), user("c"), user("\n"))
        assert padded.request_state == plain.request_state

    def test_the_runs_lead_from_the_newest_to_the_first(self) -> None:
        tail = walk(user("a"), assistant("b"), user("c")).full()
        runs = list(runs_backwards(tail))
        assert [run.model_side for run in runs] == [False, True, False]
        assert [run.weight for run in runs] == [1, 1, 1]
        state = SEED
        for run in reversed(runs):
            state = next_state(state, run.model_side, run.links)
            assert run.state == state

    def test_a_request_that_says_nothing_ends_where_the_scope_begins(self) -> None:
        silent = walk(user(""))
        assert silent.request_state == SEED
        assert silent.reply is None
        assert list(runs_backwards(silent.full())) == []

    def test_a_request_without_messages(self) -> None:
        empty = Walker().walk(Conversation((), lambda raw: ()), SEED)
        assert empty.request_state == SEED

    def test_a_message_of_a_wrong_shape(self) -> None:
        with pytest.raises(UnreadableBody):
            walk(user("a"), {"role": "nobody", "content": "b"})


class TestInstructions:
    def test_they_are_no_part_of_the_chain(self) -> None:
        plain = walk(user("a"), assistant("b"), user("c"))
        led = walk(system("Be brief."), system("Now."), user("a"), assistant("b"), user("c"))
        inside = walk(user("a"), assistant("b"), system("Be brief."), user("c"))
        assert plain.request_state == led.request_state == inside.request_state

    def test_they_are_found_wherever_the_dialect_keeps_them(self) -> None:
        assert b"Be brief." in walk(system("Be brief."), user("a")).instructions()
        developer = {"role": "developer", "content": "Be brief."}
        assert b"Be brief." in walk(developer, user("a")).instructions()
        outside = Walker().walk(claude(user("a"), system="Be brief."), SEED)
        assert b"Be brief." in outside.instructions()
        assert walk(user("a")).instructions() == b""

    def test_the_word_system_in_a_message_makes_no_instruction(self) -> None:
        assert walk(user('the "system" role')).instructions() == b""

    def test_nothing_but_instructions_is_what_is_asked(self) -> None:
        asked = walk(system("Write a poem."))
        assert asked.request_state != SEED
        assert asked.request_state != walk(system("Write a novel.")).request_state


class TestReply:
    def test_there_is_none_in_a_first_request(self) -> None:
        assert walk(user("a")).reply is None

    def test_there_is_none_where_the_model_has_the_last_word(self) -> None:
        assert walk(user("a"), assistant("b")).reply is None

    def test_a_greeting_is_none(self) -> None:
        assert walk(assistant("Hello!"), user("a")).reply is None
        assert walk(system("s"), assistant("Hello!"), user("a"), assistant("b")).reply is None
        answered = walk(assistant("Hello!"), user("a"), assistant("b"), user("c")).reply
        assert answered is not None

    def test_the_newest_one_counts(self) -> None:
        reply = walk(user("a"), assistant("b"), user("c"), assistant("d"), user("e")).reply
        assert reply is not None
        before = walk(user("a"), assistant("b"), user("c"))
        run = before.after_reply(said("d"))
        assert run is not None
        assert (reply.state, reply.links) == (run.state, run.links)

    def test_what_follows_is_known_by_the_state_after_the_reply(self) -> None:
        run = walk(user("a")).after_reply(said("b"))
        later = walk(user("a"), assistant("b"), user("c")).reply
        assert run is not None
        assert later is not None
        assert run.state == later.state

    def test_a_prefill_and_its_reply_are_one_answer(self) -> None:
        run = walk(user("a"), assistant("Old pond")).after_reply(said(" — a frog"))
        later = walk(user("a"), assistant("Old pond — a frog"), user("c")).reply
        assert run is not None
        assert later is not None
        assert (run.state, run.links) == (later.state, later.links)

    def test_a_reply_without_words_gives_no_run(self) -> None:
        assert walk(user("a")).after_reply(Message(ASSISTANT, ())) is None

    def test_tool_calls_leave_their_ids(self) -> None:
        reply = walk(user("a"), tool_call("call_1", "f"), tool_result("call_1", "b")).reply
        assert reply is not None
        assert reply.call_ids == ("call_1",)


class TestPrompt:
    @pytest.mark.parametrize(
        ("messages", "items"),
        [
            ([user("a")], 1),
            ([system("s"), user("a")], 1),
            ([user("a"), user("b")], 2),
            ([user("a"), assistant("b"), user("c")], 1),
            ([user("a"), assistant("b"), user("c"), user("d")], 2),
            ([user("a"), tool_call("1", "f"), tool_result("1", "r"), user("c")], 2),
            ([user("a"), assistant("b"), assistant("c"), user("d")], 1),
        ],
    )
    def test_how_many_messages_are_new(self, messages: list[Any], items: int) -> None:
        assert walk(*messages).prompt_items == items

    def test_its_messages(self) -> None:
        prompt = walk(user("a"), assistant("b"), user("c"), user("d")).prompt()
        assert prompt == [said("c", USER), said("d", USER)]

    @pytest.mark.parametrize(
        ("messages", "texts"),
        [
            ([user("a")], ["a"]),
            ([user("a"), assistant("b"), user("c")], ["c"]),
            ([user("a"), tool_call("1", "f"), tool_result("1", "r"), user("c")], ["c"]),
            ([user("a"), tool_call("1", "f"), tool_result("1", "r")], []),
            ([user("a"), assistant("b"), user("c"), user("d")], ["d"]),
            ([user("a"), assistant("b"), user("")], []),
            ([user("a"), assistant("b")], []),
        ],
    )
    def test_its_newest_texts(self, messages: list[Any], texts: list[str]) -> None:
        assert walk(*messages).prompt_texts() == texts

    def test_instructions_among_the_messages_are_not_the_users_words(self) -> None:
        reminded = walk(user("a"), assistant("b"), system("Start over."), user("c"))
        assert reminded.prompt_texts() == ["c"]

    def test_the_states_between_its_messages(self) -> None:
        asked_twice = walk(user("a"), assistant("b"), user("c"), user("d"), user("e"))
        assert asked_twice.states_inside_prompt() == [
            walk(user("a"), assistant("b"), user("c"), user("d")).request_state,
            walk(user("a"), assistant("b"), user("c")).request_state,
        ]
        assert walk(user("a"), assistant("b"), user("c")).states_inside_prompt() == []

    def test_the_states_between_its_messages_pass_over_instructions(self) -> None:
        asked_twice = walk(user("a"), system("s"), user("b"), user("c"))
        failed = walk(user("a"), system("s"), user("b"))
        assert failed.request_state in asked_twice.states_inside_prompt()


class TestOpening:
    """What the first two messages say, read again only where that is needed."""

    @pytest.mark.parametrize("more", [0, 1, 20])
    def test_it_is_what_comes_after_the_instructions(self, more: int) -> None:
        turns = [message for n in range(more) for message in (assistant("a"), user(f"q{n}"))]
        conversation, seen = counted(chat(system("Be kind."), user("hi"), *turns))
        found = Walker().walk(conversation, SEED)
        already = len(seen)
        expected = [said("hi", USER), said("a")][: more + 1]
        assert found.opening() == found.opening() == expected
        assert len(seen) - already == (2 if more else 0)

    def test_it_may_be_a_message_that_reads_as_several(self) -> None:
        result = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
        several = {"role": "user", "content": [result, {"type": "text", "text": "and"}]}
        found = Walker().walk(claude(several), SEED)
        assert len(found.opening()) == 2


class TestMemory:
    """A walker is quicker the second time, and never says anything else."""

    def test_only_what_is_new_is_read(self) -> None:
        walker = Walker()
        history = [user("q0")]
        for turn in range(20):
            conversation, seen = counted(chat(*history))
            walker.walk(conversation, SEED)
            assert len(seen) <= 3
            history += [assistant(f"a{turn}"), user(f"q{turn + 1}")]

    def test_what_a_client_writes_anew_is_read_once(self) -> None:
        walker = Walker()
        history = [user("q0"), assistant("a0"), user("q1"), assistant("a1"), user("q2")]
        walker.walk(chat(*history), SEED)
        conversation, seen = counted(chat(user("q0!"), *history[1:]))
        walker.walk(conversation, SEED).full()
        assert len(seen) == len(set(seen))

    def test_a_shortcut_leads_to_the_same_chain(self) -> None:
        walker = Walker()
        history = [user("q0")]
        for turn in range(5):
            walker.walk(chat(*history), SEED)
            history += [assistant(f"a{turn}"), user(f"q{turn + 1}")]
            conversation = chat(*history)
            assert states(conversation, walker) == states(conversation, Walker())

    def test_what_a_prefilled_reply_answers_is_known_after_a_shortcut(self) -> None:
        walker, asked = Walker(), chat(user("a"), assistant("Old pond"))
        walker.walk(chat(user("a")), SEED)
        found = [w.walk(asked, SEED).after_reply(said(" a frog")) for w in (walker, Walker())]
        prompts = [run.before.links for run in found if run and run.before]
        assert len(prompts) == 2
        assert prompts[0] == prompts[1]

    def test_a_shortcut_is_not_taken_over_from_another_scope(self) -> None:
        walker = Walker()
        first, second = chat(user("a")), chat(user("a"), assistant("b"), user("c"))
        walker.walk(first, 1)
        assert walker.walk(second, 2).request_state == Walker().walk(second, 2).request_state

    @pytest.mark.parametrize("end", [[], [assistant("Old pond")], [user("and")], [user("")]])
    def test_a_long_history_has_the_chain_of_a_short_one(
        self, end: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn = [user("q"), assistant("a"), tool_call("c", "f"), tool_result("c", "é"), user("and")]
        history = [system("Be kind."), *turn * (LONG_HISTORY // 4), user("more"), *end]
        found = states(chat(*history), Walker())
        monkeypatch.setattr("gateway_sessions.detection.walk.LONG_HISTORY", 10**6)
        assert states(chat(*history), Walker()) == found

    def test_the_beginning_of_a_very_long_history_is_summed_up(self) -> None:
        history = [message for n in range(RUNS_KEPT) for message in (user(f"q{n}"), assistant("a"))]
        found = walk(*history, user("more"))
        runs = list(runs_backwards(found.full()))
        assert len(runs) == RUNS_KEPT + 1 < 2 * RUNS_KEPT
        assert sum(run.weight for run in runs) == sum(len(m["content"]) for m in history) + 4
        assert found.request_state == next_states(history, user("more"))

    def test_instructions_alone_are_asked_however_many_there_are(self) -> None:
        found = walk(user(""), *[system("Do.")] * LONG_HISTORY, user(""))
        assert found.tail == walk(user(""), *[system("Do.")] * LONG_HISTORY).tail is not None

    def test_an_answer_in_very_many_pieces(self) -> None:
        pieces = [assistant(f"a{n}") for n in range(500)]
        found, joined = walk(user("q"), *pieces, user("more")), "".join(f"a{n}" for n in range(500))
        assert found.request_state == walk(user("q"), assistant(joined), user("more")).request_state
        assert found.prompt_items == 1
        late = walk(user("q"), assistant("a"), *[user(f"q{n}") for n in range(500)])
        assert late.prompt_items == 500
        assert late.answer_end == 2

    def test_a_small_memory_forgets_and_stays_right(self) -> None:
        walker = Walker(1)
        talks = [[user(f"q{number}")] for number in range(3000)]
        for talk in talks:
            walker.walk(chat(*talk), SEED)
        for talk in talks[::300]:
            conversation = chat(*talk, assistant("a"), user("b"))
            assert states(conversation, walker) == states(conversation, Walker())

    @pytest.mark.parametrize(
        "further",
        [
            [assistant("b"), user("c")],
            [assistant(""), user("c")],
            [system("s"), assistant(""), user("c")],
            [system("s"), assistant("b"), user("c")],
            [assistant(""), assistant("b"), user("c")],
            [assistant("b"), assistant(""), user("c")],
            [assistant("b"), system("s"), assistant("c"), user("d")],
            [user("x"), assistant("b"), user("c")],
            [assistant("b")],
            [assistant("b"), user("")],
        ],
    )
    def test_whatever_follows_a_known_request(self, further: list[Any]) -> None:
        walker = Walker()
        walker.walk(chat(user("a")), SEED)
        conversation = chat(user("a"), *further)
        assert states(conversation, walker) == states(conversation, Walker())

    def test_instructions_alone_are_not_asked_once_more_is_said(self) -> None:
        alone = [user(""), system("a"), user("")]
        walker = Walker()
        walker.walk(chat(*alone), SEED)
        conversation = chat(*alone, assistant("a"), user("more"))
        assert states(conversation, walker) == states(conversation, Walker())

    def test_the_same_bytes_in_two_dialects(self) -> None:
        # A block that OpenAI's format does not know and Anthropic's does.
        block = {"type": "tool_result", "tool_use_id": "t", "content": "it rains"}
        history = [{"role": "user", "content": [block]}, assistant(ANSWER), user("and?")]
        walker = Walker()
        walker.walk(chat(*history), SEED)
        walker.walk(chat(*history, assistant(ANSWER), user("more")), SEED)
        conversation = claude(*history, assistant(ANSWER), user("more"))
        assert states(conversation, walker) == states(conversation, Walker())


def taking_turns(messages: int) -> list[dict[str, Any]]:
    return [(user, assistant)[n % 2](f"message {n}") for n in range(messages)]


def test_a_large_message_is_read_once() -> None:
    said = [user("q"), tool_call("c", "f", {"x": "word " * SMALL}), tool_result("c", "done")]
    conversation, seen = counted(chat(*said))
    again, walker = chat(*said), Walker()
    opening = walker.walk(conversation, SEED).opening()
    assert opening == [message for raw in again.messages[:2] for message in again.read(raw)]
    digests = [walker.digests(conversation, raw) for raw in conversation.messages]
    assert digests == [Walker().digests(again, raw) for raw in again.messages]
    assert seen.count(bytes(conversation.messages[1])) == 1


class TestVeryLong:
    """Of a history that nobody has seen, the oldest messages count as they were sent."""

    def test_hundreds_of_messages_of_an_agent_are_read(self) -> None:
        one, other = ([user("Go!")], [user("Go!")])
        for n in range(PRECISE // (2 * PART)):
            call, result = tool_call(f"call_{n}", "read", {"path": f"{n}", "all": True}), "done"
            one += [call, tool_result(f"call_{n}", result)]
            spelled = json.loads(json.dumps(call)) | {"content": ""}
            function = spelled["tool_calls"][0]["function"]
            function["arguments"] = f'{{"all": true,"path":"{n}"}}'
            other += [spelled, tool_result(f"call_{n}", f"{result}\n")]
        found, again = walk(*one), walk(*other)
        assert found.request_state == again.request_state

    @pytest.mark.parametrize(
        "history",
        [
            taking_turns(3 * PRECISE + 1),
            [user("q")] * (3 * PRECISE),
            [user("q"), *[assistant("a")] * (3 * PRECISE), user("and?")],
            [user("q"), assistant("a"), *[system("s")] * (3 * PRECISE)],
        ],
        ids=["turns", "prompts", "answers", "instructions"],
    )
    def test_no_more_than_that_is_read(self, history: list[Any]) -> None:
        conversation, seen = counted(chat(*history))
        strange = msgspec.structs.replace(conversation, plain={})
        found = Walker().walk(strange, SEED)
        assert len(seen) <= PRECISE + PRECISE_STEP
        assert found.request_state == Walker().walk(strange, SEED).request_state
        assert found.request_state == Walker().walk(chat(*history), SEED).request_state

    @pytest.mark.parametrize("place", [0, 1, PRECISE, 2 * PRECISE])
    def test_every_message_counts(self, place: int) -> None:
        history = taking_turns(2 * PRECISE + PRECISE_STEP + 1)
        altered = list(history)
        altered[place] = {**altered[place], "content": "another"}
        assert walk(*history).request_state != walk(*altered).request_state

    def test_another_scope_has_other_states(self) -> None:
        history = taking_turns(2 * PRECISE + 1)
        assert walk(*history, seed=1).request_state != walk(*history, seed=2).request_state

    def test_it_goes_on(self) -> None:
        walker, history = Walker(), taking_turns(2 * PRECISE + 1)
        reply = walker.walk(chat(*history), SEED).after_reply(said(ANSWER))
        assert reply is not None
        for spaces in ("", " "):
            following = walker.walk(chat(*history, assistant(ANSWER + spaces), user("b")), SEED)
            assert following.reply is not None
            assert following.reply.state == reply.state

    @pytest.mark.parametrize("text", ["", "e\u0301" * 2000], ids=["tools", "letters apart"])
    def test_one_that_grows_from_its_beginning_goes_on(self, text: str) -> None:
        walker, history = Walker(), [user("Go!")]
        head = 0
        for n in range(40 if text else PRECISE // 4):
            found = walker.walk(chat(*history), SEED)
            found.full()
            assert n == 0 or (found.reply is not None and found.reply.state == head)
            call = tool_call(f"call_{n}", "f", {"x": text})
            reply = found.after_reply(found.conversation.read(chat(call).messages[0])[0])
            assert reply is not None
            head = reply.state
            history += [call, tool_result(f"call_{n}", "done")]
        cold = Walker().walk(chat(*history), SEED).reply
        assert cold is not None
        assert cold.state != head

    @pytest.mark.parametrize("length", [100, 30_000])
    def test_of_texts_that_are_not_composed_little_is_read(self, length: int) -> None:
        """What is not read counts as sent, so that it can split and never merge."""
        said = [
            (user, assistant)[n % 2](f"{n} " + "e\u0301" * (length // 2))
            for n in range(1 + 4 * COMPOSED // length)
        ]
        conversation, seen = counted(chat(*said))
        strange = msgspec.structs.replace(conversation, plain={})
        found = Walker().walk(strange, SEED)
        assert sum(len(json.loads(raw)["content"]) for raw in set(seen)) <= 4 * COMPOSED
        assert found.request_state == walk(*said).request_state
        composed = [{**m, "content": m["content"].replace("e\u0301", "é")} for m in said]
        assert walk(*said[:1], *composed[1:]).request_state != found.request_state
        assert walk(*said[:-1], *composed[-1:]).request_state == found.request_state

    def test_elsewhere_it_goes_on_by_its_replies(self) -> None:
        index = MemoryIndex(10, 3600.0)
        one, other = (Desk(index=index).client() for _ in range(2))
        one.history = taking_turns(2 * PRECISE)
        first = one.ask("and now?", "An answer that is long enough to be known as our own, alone.")
        one.ask("and then?", "Another answer that is long enough to be known as our own, alone.")
        other.history = [*one.history, *taking_turns(2 * PRECISE_STEP)]
        following = other.ask("and more?")
        assert following.session_id == first.session_id


def test_both_dialects_give_one_chain() -> None:
    openai = chat(
        system("Be brief."),
        user("Weather?"),
        tool_call("call_1", "weather", {"city": "Ulm", "days": 2}),
        tool_result("call_1", "rain"),
        assistant("It rains."),
        user("Thanks"),
    )
    use = {"type": "tool_use", "id": "toolu_9", "name": "weather",
           "input": {"days": 2, "city": "Ulm"}}  # fmt: skip
    result = {"type": "tool_result", "tool_use_id": "toolu_9",
              "content": [{"type": "text", "text": "rain"}]}  # fmt: skip
    anthropic = claude(
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
        assistant("It rains."),
        user("Thanks"),
        system="Be brief.",
    )
    assert states(anthropic, Walker()) == states(openai, Walker())


def test_a_message_that_reads_as_none_is_passed_over() -> None:
    plain = chat(user("a"), assistant("b"), user("c"))
    odd = chat({"role": "user", "content": "nothing"}, user("a"), assistant("b"), user("c"))
    skipping = Conversation(
        messages=odd.messages,
        read=lambda raw: () if b"nothing" in bytes(raw) else odd.read(raw),
    )
    assert states(skipping, Walker()) == states(plain, Walker())
    assert Message(SYSTEM, ()) not in Walker().walk(skipping, SEED).newest


def test_what_only_the_newest_answer_has() -> None:
    def thought(signature: str, text: str) -> Json:
        block = {"type": "thinking", "thinking": "Hm.", "signature": signature}
        return {"role": "assistant", "content": [block, {"type": "text", "text": text}]}

    history = [user("hi"), thought("older", "Hello!"), user("so?"), thought("s", "Well.")]
    assert Walker().walk(claude(*history, user("and?")), SEED).seals() == {"s"}
    assert Walker().walk(claude(*history[:1]), SEED).seals() == set()
    assert Walker().walk(chat(user("hi"), assistant("Hello!"), user("so?")), SEED).seals() == set()
