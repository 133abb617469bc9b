"""Milestones travel to another process and come out the same."""

from __future__ import annotations

import msgspec
import pytest

from gateway_sessions.exchange import Client, Request, Response, SessionTag
from gateway_sessions.milestones import (
    AnyMilestone,
    Arrived,
    Chunk,
    Ended,
    Finished,
    FirstByte,
    Milestone,
)

TAG = SessionTag(
    session_id="sess_a", relation="first", source="new", confidence=1.0, root_session_id="sess_a"
)
CASES = [
    Arrived(
        "sess_a",
        "req_1",
        1.5,
        session=TAG,
        client=Client("127.0.0.1", "curl", "abc"),
        request=Request("POST", "/v1/messages", (("X", "1"), ("X", "2")), b"\xff{", 2),
        dialect="anthropic",
        provider="anthropic",
        model="m",
        stream=True,
        message_count=1,
        new_messages=1,
        detection_ms=0.03,
    ),
    FirstByte("sess_a", "req_1", 1.6, elapsed_ms=100.0),
    Chunk("sess_a", "req_1", 1.6, sequence=0, elapsed_ms=100.0, data=b"data: \xe2"),
    Finished(
        "sess_a",
        "req_1",
        2.0,
        session=TAG,
        dialect="anthropic",
        provider="anthropic",
        model="m",
        response=Response(200, (), b"{}", 2, 500.0, 100.0, streamed=True),
        overhead_ms=0.2,
        detection_ms=0.03,
        chunk_gaps_ms=(1.0, 2.5),
    ),
    Ended("sess_a", "", 3.0, reason="expired"),
]


@pytest.mark.parametrize("milestone", CASES, ids=lambda case: type(case).__name__)
def test_a_milestone_survives_the_way(milestone: Milestone) -> None:
    decoder = msgspec.msgpack.Decoder(AnyMilestone)
    assert decoder.decode(msgspec.msgpack.encode(milestone)) == milestone
