"""What logs lack is told in one sentence each, with the cure."""

from __future__ import annotations

import pytest

from gateway_sessions.converters.notes import Notes


def test_nothing_is_said_where_nothing_is_missing() -> None:
    assert Notes(exchanges=5).sentences() == []


@pytest.mark.parametrize(
    ("notes", "sentence"),
    [
        (
            Notes(exchanges=1200, without_prompt=1100),
            (
                "1,100 of 1,200 exchanges hold no prompt, and get no session: LiteLLM keeps prompts"
                " only with general_settings.store_prompts_in_spend_logs: true, and without"
                " litellm_settings.turn_off_message_logging."
            ),
        ),
        (
            Notes(exchanges=3, cut=1),
            (
                "1 of 3 exchanges hold texts that LiteLLM has cut (litellm_truncated), and"
                " conversations that differ only in what was cut look alike:"
                " MAX_STRING_LENGTH_PROMPT_IN_DB sets how long texts may be."
            ),
        ),
        (
            Notes(exchanges=3, without_reply=2),
            (
                "2 of 3 exchanges hold no reply, and what goes on from them may be taken for a new"
                " session."
            ),
        ),
        (
            Notes(exchanges=3, others=40),
            "40 of 43 entries are no requests to an LLM, and were left out.",
        ),
    ],
)
def test_what_is_missing_is_said(notes: Notes, sentence: str) -> None:
    assert notes.sentences() == [sentence]
