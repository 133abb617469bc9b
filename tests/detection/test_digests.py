"""The memory of digests: right whether it remembers or not, and bounded."""

from __future__ import annotations

from gateway_sessions.detection.canonical import digest_parts
from gateway_sessions.detection.digests import DIGESTS_KEPT, DigestMemo
from gateway_sessions.testing import assistant, user
from tests.detection.talk import chat, claude, counted


def test_a_message_is_read_once() -> None:
    memo = DigestMemo()
    conversation, seen = counted(chat(user("hi"), assistant("Hello!"), user("hi")))
    items = memo.items(conversation, conversation.messages)
    assert len(seen) == 2
    (message,) = conversation.read(conversation.messages[1])
    assert items[1][0] == digest_parts(message.role, message.parts)
    assert items[0][0] == items[2][0] != items[1][0]
    assert [source for _, source in items] == [(raw, 0) for raw in conversation.messages]


def test_the_same_bytes_in_another_dialect_are_read_again() -> None:
    memo, raw = DigestMemo(), chat(user("hi")).messages[0]
    memo.of(chat(user("hi")), raw)
    conversation, seen = counted(claude(user("hi")))
    memo.of(conversation, raw)
    assert len(seen) == 1


def test_what_is_used_stays_and_what_is_not_is_forgotten() -> None:
    memo = DigestMemo()
    conversation, seen = counted(chat(user("kept"), user("forgotten")))
    kept, forgotten = conversation.messages
    memo.items(conversation, [kept, forgotten])
    for number in range(2 * DIGESTS_KEPT):
        memo.of(conversation, chat(user(f"{number}")).messages[0])
        if number % 1000 == 0:
            memo.of(conversation, kept)
    seen.clear()
    memo.of(conversation, kept)
    assert seen == []
    memo.of(conversation, forgotten)
    assert len(seen) == 1
