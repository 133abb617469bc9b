"""Classes, sizes and names of what can be recorded."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway_sessions.events import AnyEvent, Gap
from gateway_sessions.milestones import AnyMilestone, Chunk, Ended, FirstByte
from gateway_sessions.recording.recordable import (
    CHUNK,
    ORDINARY,
    OVERHEAD_BYTES,
    TERMINAL,
    Recordable,
    class_of,
    kind_of,
    size_of,
    timestamp_of,
)
from tests.recording.recordings import TIMESTAMP, arrived, asked, chunk, ended, finished

FIRST = FirstByte(session_id="s", request_id="r", at=0.5, elapsed_ms=1.0)
PIECE = Chunk(session_id="s", request_id="r", at=0.5, sequence=0, elapsed_ms=1.0, data=b"x" * 9)
END = Ended(session_id="s", request_id="", at=0.5, reason="expired")
GAP = Gap(session_id="s", request_id="r", timestamp="t", dropped={})


@pytest.mark.parametrize(
    ("item", "rank", "kind", "size"),
    [
        (chunk(1), CHUNK, "stream_event", 0),
        (PIECE, CHUNK, "stream_event", 9),
        (asked(1, size=7), ORDINARY, "request_recorded", 7),
        (arrived(1, body=b"12345"), ORDINARY, "request_recorded", 5),
        (FIRST, ORDINARY, "stream_started", 0),
        (ended(1), TERMINAL, "request_completed", 0),
        (finished(1), TERMINAL, "response_recorded", len(finished(1).response.body)),
        (END, TERMINAL, "completed", 0),
        (GAP, TERMINAL, "gap", 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_class_kind_and_size(item: Recordable, rank: int, kind: str, size: int) -> None:
    assert class_of(item) == rank
    assert kind_of(item) == kind
    assert size_of(item) == OVERHEAD_BYTES + size


def test_whatever_is_missed_has_the_name_of_an_event() -> None:
    names = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}
    made = {type(item): item for item in (arrived(1), FIRST, PIECE, finished(1), END)}
    assert set(made) == set(get_args(AnyMilestone))
    assert {kind_of(item) for item in made.values()} <= names


def test_timestamps_have_microseconds() -> None:
    assert timestamp_of(END) == "1970-01-01T00:00:00.500000Z"
    assert timestamp_of(ended(1)) == TIMESTAMP
