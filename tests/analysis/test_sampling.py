"""How long and how freely an answer may be, in the words of every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.sampling import sampling


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 100, "temperature": 0.5},
        {"max_completion_tokens": 100, "temperature": 0.5, "max_tokens": 7},
        {"max_output_tokens": 100, "temperature": 0.5},
        {"generationConfig": {"maxOutputTokens": 100, "temperature": 0.5}},
        {"generation_config": {"max_output_tokens": 100, "temperature": 0.5}},
        {"request": {"generationConfig": {"maxOutputTokens": 100, "temperature": 0.5}}},
        {"inferenceConfig": {"maxTokens": 100, "temperature": 0.5}},
        {"options": {"num_predict": 100, "temperature": 0.5}},
    ],
)
def test_each_dialect_has_its_own_words(body: dict[str, Any]) -> None:
    sent = json.dumps(body | {"messages": [{"role": "user"}]}).encode()
    assert sampling(rawjson.fields_of(sent)) == (100, 0.5)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"temperature": 1}', (None, 1.0)),
        (b'{"max_tokens": "many", "temperature": 0}', (None, 0.0)),
        (b'{"max_tokens": null, "max_output_tokens": 5}', (5, None)),
        (b'{"options": [1], "max_tokens": 5}', (5, None)),
        (b'{"options": {"num_predict": 1}, "temperature": []}', (1, None)),
        (b"{}", (None, None)),
        (b"[]", (None, None)),
        (b"", (None, None)),
        (b'{"max_tokens": 5', (None, None)),
    ],
)
def test_what_can_not_be_read_is_not_known(
    body: bytes, expected: tuple[int | None, float | None]
) -> None:
    assert sampling(rawjson.fields_of(body)) == expected
