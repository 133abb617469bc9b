from __future__ import annotations

import gzip
import threading

import pytest

from gateway_sessions.coding import decode
from gateway_sessions.web import bodies
from gateway_sessions.web.bodies import INSPECTION_LIMIT, inspectable
from tests.web.harness import QUESTION

ZEROS = b"\0" * (INSPECTION_LIMIT + 1)


async def test_a_plain_body_is_returned_as_it_is() -> None:
    assert await inspectable(QUESTION, "") is QUESTION
    assert await inspectable(None, "gzip") is None


async def test_a_coded_body_is_decoded() -> None:
    assert await inspectable(gzip.compress(QUESTION), "gzip") == QUESTION


@pytest.mark.parametrize("coding", ["gzip", "br", "nonsense", "gzip, br"])
async def test_a_body_that_is_not_in_its_coding_is_returned_as_it_is(coding: str) -> None:
    assert await inspectable(QUESTION, coding) == QUESTION


async def test_a_bomb_is_not_for_us() -> None:
    assert await inspectable(gzip.compress(ZEROS), "gzip") is None


@pytest.mark.parametrize(("size", "inline"), [(1000, True), (bodies.INLINE_LIMIT + 1, False)])
async def test_much_work_is_done_off_the_event_loop(
    size: int, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_on: list[threading.Thread] = []

    def watched(data: bytes, content_encoding: str, limit: int) -> bytes:
        decoded = decode(data, content_encoding, limit)
        finished_on.append(threading.current_thread())
        return decoded

    monkeypatch.setattr(bodies, "decode", watched)
    assert await inspectable(gzip.compress(b"\0" * size), "gzip") == b"\0" * size
    assert (finished_on[0] is threading.main_thread()) is inline
