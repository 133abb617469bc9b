from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.dialects.sse import Event, Parser


def read(*chunks: bytes, limit: int = 1000) -> list[tuple[bytes, bytes]]:
    parser = Parser(limit)
    return [(event.name, event.data) for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_line_ends_of_every_kind(end: bytes) -> None:
    stream = end.join((b"event: a", b"data: 1", b"", b"data: 2", b"", b""))
    assert read(stream) == [(b"a", b"1"), (b"", b"2")]
    assert read(*(bytes([byte]) for byte in stream)) == [(b"a", b"1"), (b"", b"2")]


def test_crlf_cut_between_its_characters_is_one_line_end() -> None:
    assert read(b"data: 1\r", b"\ndata: 2\r\n\r", b"\n") == [(b"", b"1\n2")]


def test_event_ended_by_bare_cr_comes_at_once() -> None:
    parser = Parser()
    assert parser.feed(b"data: 1\r\r") == [Event(b"", b"1")]
    assert parser.feed(b"\ndata: 2\n\n") == [Event(b"", b"2")]


def test_data_lines_are_joined_and_other_fields_skipped() -> None:
    stream = b": comment\nid: 7\nretry: 10\ndata: a\ndata:b\ndata\ndata:  c\nevent: e\nodd\n\n"
    assert read(stream) == [(b"e", b"a\nb\n\n c")]


def test_event_without_data_is_none() -> None:
    assert read(b": ping\n\n\n\nevent: x\n\ndata\n\n") == [(b"", b"")]


def test_name_does_not_outlive_its_event() -> None:
    assert read(b"event: a\ndata: 1\n\ndata: 2\n\n") == [(b"a", b"1"), (b"", b"2")]


def test_character_cut_in_the_middle() -> None:
    stream = "data: größer 😀\n\n".encode()
    expected = [(b"", "größer 😀".encode())]
    for cut in range(len(stream)):
        assert read(stream[:cut], stream[cut:]) == expected


def test_byte_order_mark_at_the_start_only() -> None:
    stream = b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\ndata: 3\n\n"
    assert read(stream) == [(b"", b"1"), (b"", b"3")]
    assert read(*(bytes([byte]) for byte in stream)) == [(b"", b"1"), (b"", b"3")]


def test_unfinished_event_is_kept_back() -> None:
    parser = Parser()
    assert parser.feed(b"data: 1\n\n\xef\xbb\xbfdata: x") == [Event(b"", b"1")]
    assert parser.unfinished() is None
    parser = Parser()
    assert parser.feed(b"\xef\xbb\xbfdata: [DO") == []
    assert parser.feed(b"NE]\n") == []
    assert parser.unfinished() == Event(b"", b"[DONE]")
    assert parser.feed(b"\n") == [Event(b"", b"[DONE]")]
    assert parser.unfinished() is None


def test_event_over_the_limit_is_dropped_and_the_next_one_read() -> None:
    long, after = b"data: " + b"x" * 100 + b"\n\n", b"data: y\n\n"
    for chunks in ([long + after], [long, after], [bytes([byte]) for byte in long + after]):
        parser = Parser(limit=105)
        events = [event.data for chunk in chunks for event in parser.feed(chunk)]
        assert events == [b"y"]
        assert parser.overflowed


def test_event_at_the_limit_is_kept() -> None:
    stream = b"data: " + b"x" * 100 + b"\n\n"
    for chunks in ([stream], [bytes([byte]) for byte in stream]):
        parser = Parser(limit=106)
        assert [event.data for chunk in chunks for event in parser.feed(chunk)] == [b"x" * 100]
        assert not parser.overflowed


def test_memory_is_bounded_while_an_event_is_too_long() -> None:
    parser = Parser(limit=100)
    for _ in range(1000):
        assert parser.feed(b"data: " + b"x" * 50 + b"\n") == []
        assert len(parser._pending) <= 102
    assert parser.unfinished() is None


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b": c",
        b"event: e",
        b"\xef\xbb\xbf",
        "data: é😀".encode(),
        b"",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=12).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(STREAMS | st.binary(max_size=60), st.sampled_from([8, 20, 1000]), st.data())
def test_any_cutting_gives_the_same(stream: bytes, limit: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    outcomes = []
    for chunks in ([stream], [bytes([byte]) for byte in stream], pieces):
        parser = Parser(limit)
        events = [event for chunk in chunks for event in parser.feed(chunk)]
        outcomes.append((events, parser.unfinished(), parser.overflowed))
    assert outcomes[0] == outcomes[1] == outcomes[2]
