from __future__ import annotations

import pytest

from gateway_sessions.dialects import paths


def test_plain_path() -> None:
    assert paths.plain("/a%20b/c//?x=/d") == "/a b/c"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent?key=a/b:c", "gemini-2.5-pro"),
        ("/x/publishers/anthropic/models/claude@20250101:rawPredict", "claude@20250101"),
        ("/models/m%3AgenerateContent", "m"),
        ("/models/m", ""),
        ("", ""),
    ],
)
def test_model_before_verb(path: str, model: str) -> None:
    assert paths.model_before_verb(path) == model


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/model/anthropic.claude-v2%3A0/converse", "anthropic.claude-v2:0"),
        ("/x/model/arn%3Aaws%3Abedrock%2Fprofile%2Fz/invoke?a=/b", "arn:aws:bedrock/profile/z"),
        ("/model/m", ""),
        ("/converse", ""),
    ],
)
def test_model_before_action(path: str, model: str) -> None:
    assert paths.model_before_action(path) == model
