from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_sessions.detection.bounds import AT_ONCE, COMPOSED, PART, PRECISE, PRECISE_STEP
from gateway_sessions.detection.digests import DigestMemo
from gateway_sessions.detection.ends import ONE_BY_ONE, leading_system, newest_read
from gateway_sessions.testing import assistant, tool_result, user
from tests.detection.talk import chat, counted

SYSTEM = {"role": "system", "content": "Be kind."}
NAMED = {"role": "system", "content": "Be kind.", "name": "boss"}


def leading(*messages: Any) -> int:
    return leading_system(chat(*messages), DigestMemo())


class TestInstructions:
    @pytest.mark.parametrize("number", [0, 1, ONE_BY_ONE - 1, ONE_BY_ONE, ONE_BY_ONE + 1, 500])
    @pytest.mark.parametrize("of", [SYSTEM, NAMED], ids=["plain", "named"])
    @pytest.mark.parametrize("next_one", [user("q"), assistant("a"), user("q") | {"name": "me"}])
    def test_they_end_where_somebody_else_speaks(
        self, number: int, of: dict[str, Any], next_one: dict[str, Any]
    ) -> None:
        assert leading(*[of] * number, next_one, SYSTEM) == number

    @pytest.mark.parametrize("number", [1, ONE_BY_ONE, ONE_BY_ONE + 1, 500])
    def test_alone_they_are_what_is_asked(self, number: int) -> None:
        assert leading(*[SYSTEM] * number) == 0


class TestTheNewestAnswer:
    @pytest.mark.parametrize("answers", [1, 2, ONE_BY_ONE, 3 * AT_ONCE])
    @pytest.mark.parametrize("prompts", [1, 2, ONE_BY_ONE, 3 * AT_ONCE])
    def test_it_and_all_after_it_is_read(self, answers: int, prompts: int) -> None:
        said = [assistant("a")] * answers + [user("q")] * prompts
        found, cut, end, _ = newest_read(chat(user("hi"), *said), 0, DigestMemo())
        assert [message.role for _, (message,) in found] == [m["role"] for m in said]
        assert (cut, end) == (1, 1 + answers)

    def test_parts_that_are_no_text_count_more(self) -> None:
        results = [tool_result(f"call_{n}", "done") for n in range(PRECISE)]
        found, cut, end, _ = newest_read(chat(user("hi"), *results), 0, DigestMemo())
        assert len(found) <= ONE_BY_ONE + (PRECISE + PRECISE_STEP) // PART + AT_ONCE
        assert cut == PRECISE + 1 - len(found)
        assert end == 0

    @pytest.mark.parametrize("length", [100, 1000, 30_000])
    def test_so_do_texts_that_are_not_composed(self, length: int) -> None:
        prompts = [user("e\u0301" * (length // 2))] * (8 * COMPOSED // length)
        conversation, seen = counted(chat(user("hi"), assistant("a"), *prompts))
        strange = msgspec.structs.replace(conversation, plain={})
        found, cut, _, _ = newest_read(strange, 0, DigestMemo())
        assert 0 < length * len(found) <= 2 * COMPOSED
        assert cut > 2
        assert len(seen) == len(found)

    def test_however_long_the_newest_is_it_is_read(self) -> None:
        parts = [{"type": "text", "text": "e\u0301" * 1000}] * 100
        prompt = {"role": "user", "content": parts}
        found, cut, _, _ = newest_read(chat(user("hi"), assistant("a"), prompt), 0, DigestMemo())
        assert [len(message.parts) for _, (message,) in found] == [1, 100]
        assert cut == 1
