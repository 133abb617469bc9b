"""Options of recording."""

from __future__ import annotations

from gateway_sessions.analysis.options import ScribeOptions


def test_content_is_recorded_unless_it_is_said_otherwise() -> None:
    assert ScribeOptions().full
    assert not ScribeOptions(content="metadata").full
