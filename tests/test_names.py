"""Names in Crockford's base32."""

from __future__ import annotations

import pytest

from gateway_sessions.names import crockford, snake_case


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\0" * 13, "0" * 20),
        (b"\xff" * 13, "z" * 20),
        (b"\x08" + b"\0" * 12, "1" + "0" * 19),
        (b"\0" * 12 + b"\x0f", "0" * 20),
        (b"\0" * 12 + b"\x10", "0" * 19 + "1"),
        (b"\xff" * 13 + b"more", "z" * 20),
    ],
)
def test_a_hundred_bits_are_twenty_characters(raw: bytes, text: str) -> None:
    assert crockford(raw) == text


@pytest.mark.parametrize(
    ("name", "written"), [("Gap", "gap"), ("ToolCallRecorded", "tool_call_recorded")]
)
def test_classes_are_written_in_snake_case(name: str, written: str) -> None:
    assert snake_case(name) == written
