"""Messages read many at a time say what they say one by one."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway_sessions.conversation import Conversation
from gateway_sessions.detection.bounds import AT_ONCE, pieces
from gateway_sessions.detection.digests import DigestMemo
from gateway_sessions.detection.runs import LongHistory, Said, runs_of
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.testing import assistant, tool_call, tool_result, user
from tests.detection.talk import chat, claude, counted

CALL, RESULT = tool_call("call_1", "look", {"a": 1}), tool_result("call_1", "found")
BLOCKS = {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}
SYSTEM = {"role": "system", "content": "Be kind."}
SAID: list[Any] = [
    user("hi"), user("a b\n"), user(""), user(" \n"), user("é"), user("e\u0301"), user("\u0301x"),
    user("nul\0nul"), user("a" + "\u0301" * 40), user('"quoted" \\ and \u00a0'),
    assistant("hi"), assistant(""), assistant("한국어"), assistant("\u0301"),
    CALL, RESULT, BLOCKS, SYSTEM, {"role": "developer", "content": "é"},
    {"role": "assistant", "content": None}, {"role": "user", "content": "hi", "name": "me"},
]  # fmt: skip
FOR_CLAUDE = [said for said in SAID if said["role"] not in {"tool", "developer"} and said != CALL]


def long(conversation: Conversation) -> list[Said]:
    """Return the runs of all messages as those of a long history."""
    history = LongHistory(conversation)
    for start, end in pieces(conversation.messages):
        history.read(conversation.messages[start:end])
    return list(history.runs())


def short(conversation: Conversation) -> list[Said]:
    items = DigestMemo().items(conversation, conversation.messages)
    return list(runs_of(conversation, items, instructions=False))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rare", [1, 30])
def test_a_long_history_has_the_runs_of_a_short_one(seed: int, rare: int) -> None:
    rng = Random(seed)
    common = [user("q"), assistant("a b")] * rare
    said = [rng.choice(common + SAID) for _ in range(3 * AT_ONCE)]
    assert long(chat(*said)) == short(chat(*said)) != []
    said = [rng.choice(common + FOR_CLAUDE) for _ in range(3 * AT_ONCE)]
    assert long(claude(*said)) == short(claude(*said)) != []


def test_messages_of_one_side_at_the_seam_of_two_readings_are_one_run() -> None:
    said = [user("cafe"), *[user("\u0301")] * (2 * AT_ONCE), RESULT]
    runs = long(chat(*said))
    assert runs == short(chat(*said))
    assert len(runs) == 1


def test_digested_messages_go_on_where_raw_ones_end() -> None:
    conversation = chat(user("a"), assistant("b"), assistant("c"), SYSTEM, CALL)
    history = LongHistory(conversation)
    history.put(DigestMemo().items(conversation, conversation.messages[2:]))
    history.read(conversation.messages[:2])
    assert list(history.runs()) == short(conversation)


def test_nothing_but_instructions_gives_no_runs() -> None:
    assert long(chat(SYSTEM, SYSTEM)) == []


def test_a_message_of_a_wrong_shape_is_found_out() -> None:
    with pytest.raises(UnreadableBody):
        long(chat(user("hi"), {"role": "nobody", "content": "x"}, user("hi")))


def test_plain_messages_are_never_read_one_by_one() -> None:
    conversation, seen = counted(chat(*[user("q"), assistant("a")] * AT_ONCE))
    assert len(long(conversation)) == 2 * AT_ONCE
    assert seen == []
