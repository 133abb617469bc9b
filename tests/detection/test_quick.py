"""The quick ways say what the way for every request says, or nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_sessions.conversation import Conversation
from gateway_sessions.detection.memo import StateMemo
from gateway_sessions.detection.quick import first_prompt, one_more_turn
from gateway_sessions.detection.walk import Walk, Walker
from gateway_sessions.testing import assistant, tool_call, tool_result, user
from tests.detection.talk import SEED, chat, claude

SYSTEM = {"role": "system", "content": "Be kind."}
X = {"type": "text", "text": "x"}
BLOCKS = {"role": "user", "content": [X, X | {"text": " y", "cache_control": None}]}
OPENING, ANSWER, PROMPT = user("first"), assistant("An answer."), user("and then?")


def slowly(conversation: Conversation) -> Walk:
    """Return the chain as it is computed where no message is known to be plain."""
    return Walker().walk(msgspec.structs.replace(conversation, plain={}), SEED)


@pytest.mark.parametrize("make", [chat, claude])
@pytest.mark.parametrize("prompt", [OPENING, BLOCKS, user("e\u0301 \n"), user("a\0b")])
def test_a_first_prompt(make: Any, prompt: Any) -> None:
    conversation, states = make(prompt), StateMemo(64)
    found, slow = first_prompt(conversation, 0, SEED, states), slowly(conversation)
    assert found is not None
    assert found.tail == slow.tail
    assert found.newest == slow.prompt()
    assert found.texts == slow.prompt_texts()


@pytest.mark.parametrize("prompt", [user(""), user(" \n"), ANSWER, SYSTEM, tool_result("1", "r")])
def test_what_is_no_first_prompt(prompt: Any) -> None:
    assert first_prompt(chat(prompt), 0, SEED, StateMemo(64)) is None


@pytest.mark.parametrize("answer", [ANSWER, assistant("é"), {"role": "assistant", "content": [X]}])
@pytest.mark.parametrize("prompt", [PROMPT, BLOCKS])
def test_turn_after_turn(answer: Any, prompt: Any) -> None:
    states = StateMemo(64)
    assert first_prompt(chat(SYSTEM, OPENING), 1, SEED, states) is not None
    history = [SYSTEM, OPENING]
    for _ in range(4):
        history += [answer, prompt]
        conversation = chat(*history)
        found, slow = one_more_turn(conversation, 1, SEED, states), slowly(conversation)
        assert found is not None
        assert found.tail.before is not None
        assert found.tail.state == slow.request_state
        assert slow.reply is not None
        assert found.tail.before.state == slow.reply.state
        assert found.newest[1:] == slow.prompt()
        assert found.texts == slow.prompt_texts()


@pytest.mark.parametrize(
    "further",
    [
        [ANSWER],
        [ANSWER, user("")],
        [assistant(""), PROMPT],
        [PROMPT, PROMPT],
        [ANSWER, ANSWER],
        [ANSWER, PROMPT, PROMPT],
        [ANSWER, SYSTEM],
        [tool_call("1", "f"), tool_result("1", "r")],
    ],
)
def test_what_is_no_turn_of_plain_texts(further: list[Any]) -> None:
    states = StateMemo(64)
    assert first_prompt(chat(OPENING), 0, SEED, states) is not None
    assert one_more_turn(chat(OPENING, *further), 0, SEED, states) is None


def test_an_unknown_history_is_none_of_its_business() -> None:
    assert one_more_turn(chat(OPENING, ANSWER, PROMPT), 0, SEED, StateMemo(64)) is None
