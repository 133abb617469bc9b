from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.dialects.ndjson import Parser
from gateway_sessions.dialects.sse import Event


def read(*chunks: bytes, limit: int = 1000) -> list[bytes]:
    parser = Parser(limit)
    return [event.data for chunk in chunks for event in parser.feed(chunk)]


def test_lines_however_cut() -> None:
    stream = b'{"a": 1}\r\n\n  \n{"b": 2}\n{"c"'
    assert read(stream) == [b'{"a": 1}', b'{"b": 2}']
    assert read(*(bytes([byte]) for byte in stream)) == read(stream)


def test_last_line_without_its_end() -> None:
    parser = Parser()
    assert parser.unfinished() is None
    assert parser.feed(b'{"a":') == []
    assert parser.unfinished() == Event(b"", b'{"a":')
    assert parser.feed(b"1}\n") == [Event(b"", b'{"a":1}')]
    assert parser.unfinished() is None


@pytest.mark.parametrize("size", [1, 7, 500])
def test_line_over_the_limit_is_dropped_and_the_next_one_read(size: int) -> None:
    stream = b"x" * 101 + b"\n" + b"y" * 100 + b"\nz\n"
    parser = Parser(limit=100)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [event.data for piece in pieces for event in parser.feed(piece)] == [b"y" * 100, b"z"]
    assert parser.overflowed


def test_memory_is_bounded_while_a_line_is_too_long() -> None:
    parser = Parser(limit=100)
    for _ in range(1000):
        assert parser.feed(b"x" * 50) == []
        assert len(parser._pending) <= 100
    assert parser.unfinished() is None


@given(
    st.lists(st.sampled_from([b"a", b"bb\n", b"\r\n", b"\n", b"{}", b" "])).map(b"".join),
    st.sampled_from([1, 3, 1000]),
    st.data(),
)
def test_any_cutting_gives_the_same(stream: bytes, limit: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    outcomes = []
    for chunks in ([stream], [bytes([byte]) for byte in stream], pieces):
        parser = Parser(limit)
        events = [event for chunk in chunks for event in parser.feed(chunk)]
        outcomes.append((events, parser.unfinished(), parser.overflowed))
    assert outcomes[0] == outcomes[1] == outcomes[2]
