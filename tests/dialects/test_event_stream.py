from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.dialects.event_stream import FAULT, Parser
from gateway_sessions.dialects.sse import Event
from tests.dialects.wire import frame

ONE = frame(b'{"a": 1}', message_type="event", event_type="one")
TWO = frame(b'{"b": 2}', event_type="two", content_type="application/json")


def read(*chunks: bytes, limit: int = 1000) -> list[Event]:
    parser = Parser(limit)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_however_cut(size: int) -> None:
    expected = [Event(b"one", b'{"a": 1}'), Event(b"two", b'{"b": 2}')]
    assert read(*pieces(ONE + TWO, size)) == expected


@pytest.mark.parametrize(
    ("sent", "payload"),
    [
        ("000000100000000005c248eb7d98c8ff", b"{}"),
        ("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", b"{'foo':'bar'}"),
    ],
)
def test_published_examples(sent: str, payload: bytes) -> None:
    parser = Parser()
    assert parser.feed(bytes.fromhex(sent)) == [Event(FAULT, payload)]
    assert not parser.overflowed
    assert parser.unfinished() is None


def test_headers_of_every_type_are_passed_over() -> None:
    values = {0: b"", 1: b"", 2: b"1", 3: b"22", 4: b"4444", 5: b"8" * 8, 8: b"8" * 8, 9: b"9" * 16}
    values |= {6: b"\0\3abc"}
    headers = b"".join(b"\1x" + bytes([kind]) + value for kind, value in values.items())
    headers += b"\x0b:event-type\x07\0\3end"
    prelude = struct.pack(">II", 16 + len(headers), len(headers))
    whole = prelude + struct.pack(">I", crc32(prelude)) + headers
    assert read(whole + struct.pack(">I", crc32(whole))) == [Event(b"end", b"{}")]


def test_exceptions_and_errors_are_faults() -> None:
    exception = frame(b"{}", message_type="exception", exception_type="throttlingException")
    error = frame(b"", message_type="error", error_code="InternalFailure")
    assert read(exception + error) == [Event(FAULT, b"{}")] * 2


def test_damaged_frame_is_dropped_and_the_next_one_read() -> None:
    damaged = bytearray(ONE)
    damaged[-6] ^= 1
    parser = Parser()
    assert parser.feed(bytes(damaged) + TWO) == [Event(b"two", b'{"b": 2}')]
    assert parser.overflowed


def reframed(total: int, headers: int, rest: bytes) -> bytes:
    prelude = struct.pack(">II", total, headers)
    whole = prelude + struct.pack(">I", crc32(prelude)) + rest
    return whole + struct.pack(">I", crc32(whole))


@pytest.mark.parametrize(
    "bad",
    [
        reframed(20, 900, b"abcd"),
        reframed(20, 4, b"\xffabc"),
        reframed(19, 3, b"\1x\x63"),
        reframed(20, 4, b"\1x\7\xff"),
        reframed(21, 5, b"\1x\7\xff\xff"),
    ],
)
def test_frame_with_bad_headers_is_dropped(bad: bytes) -> None:
    parser = Parser()
    assert parser.feed(bad + TWO) == [Event(b"two", b'{"b": 2}')]
    assert parser.overflowed


@pytest.mark.parametrize("damaged", [b"\0" + ONE, ONE[:3] + b"\xff" + ONE[4:], b"x" * 50])
def test_nothing_is_read_after_a_wrong_beginning(damaged: bytes) -> None:
    parser = Parser()
    assert parser.feed(damaged + TWO) == []
    assert parser.feed(TWO) == []
    assert parser.overflowed
    assert not parser._pending


def test_frame_shorter_than_its_own_frame_is_a_wrong_beginning() -> None:
    prelude = struct.pack(">II", 15, 0)
    parser = Parser()
    assert parser.feed(prelude + struct.pack(">I", crc32(prelude)) + TWO) == []
    assert parser.overflowed


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_frame_over_the_limit_is_skipped(size: int) -> None:
    long = frame(b"x" * 300, event_type="long")
    parser = Parser(limit=200)
    events: list[Event] = []
    for piece in pieces(long + TWO, size):
        events += parser.feed(piece)
        assert len(parser._pending) <= 1000
    assert events == [Event(b"two", b'{"b": 2}')]
    assert parser.overflowed


def test_memory_is_bounded_while_a_frame_is_too_long() -> None:
    parser = Parser(limit=100)
    prelude = struct.pack(">II", 2**32 - 1, 0)
    parser.feed(prelude + struct.pack(">I", crc32(prelude)))
    for _ in range(1000):
        assert parser.feed(b"x" * 50) == []
        assert len(parser._pending) <= 50


FRAMES = st.sampled_from([ONE, TWO, ONE[:-1] + b"x", frame(b"y" * 80, event_type="long"), b"\0"])


@given(st.lists(FRAMES, max_size=5).map(b"".join), st.sampled_from([90, 1000]), st.data())
def test_any_cutting_gives_the_same(stream: bytes, limit: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    cut = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    outcomes = []
    for chunks in ([stream], [bytes([byte]) for byte in stream], cut):
        parser = Parser(limit)
        events = [event for chunk in chunks for event in parser.feed(chunk)]
        outcomes.append((events, parser.overflowed))
    assert outcomes[0] == outcomes[1] == outcomes[2]
