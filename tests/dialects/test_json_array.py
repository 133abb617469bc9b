from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.dialects.json_array import LAST, Parser
from gateway_sessions.dialects.sse import Event


def read(*chunks: bytes, limit: int = 1000) -> list[bytes]:
    parser = Parser(limit)
    return [event.data for chunk in chunks for event in parser.feed(chunk)]


ELEMENTS: list[Any] = [{"a": 'x"]}\\'}, {"b": [{"c": "{["}, [1]]}, {"d": "\\\\"}, {}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("separator", [b",", b"\n,\r\n", b" , "])
def test_elements_however_cut(indent: int | None, separator: bytes) -> None:
    elements = [json.dumps(element, indent=indent).encode() for element in ELEMENTS]
    stream = b"[" + separator.join(elements) + b"\n]\n"
    assert read(stream) == [*elements, LAST]
    assert read(*(bytes([byte]) for byte in stream)) == read(stream)
    chunks = [b"[" + elements[0], *(separator + element for element in elements[1:]), b"]"]
    assert read(*chunks) == read(stream)


def test_chunk_of_one_element_is_not_scanned() -> None:
    parser = Parser()
    parser.feed(b"[")
    assert parser.feed(b',\r\n{"a": 1}\n') == [Event(b"", b'{"a": 1}')]
    assert parser.feed(b'{"b": ') == []
    assert parser.feed(b'{"c": 1}') == []
    assert parser.feed(b"}]") == [Event(b"", b'{"b": {"c": 1}}'), Event(b"", LAST)]


def test_chunk_that_only_looks_like_an_element_is_scanned() -> None:
    assert read(b"[", b'{"a": 1}, {"b": 2}', b", {c}", b"]") == [
        b'{"a": 1}',
        b'{"b": 2}',
        b"{c}",
        LAST,
    ]


def test_what_is_no_object_is_passed_over() -> None:
    assert read(b'[1, "{}", null, {"a": 1}]') == [b'{"a": 1}', LAST]
    assert Parser().unfinished() is None


@pytest.mark.parametrize("size", [1, 7, 500])
def test_element_over_the_limit_is_dropped_and_the_next_one_read(size: int) -> None:
    stream = b'[{"a": "' + b"x" * 100 + b'"},{"b": "' + b"y" * 90 + b'"},{"c": 1}]'
    parser = Parser(limit=100)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    events = [event.data for piece in pieces for event in parser.feed(piece)]
    assert events == [b'{"b": "' + b"y" * 90 + b'"}', b'{"c": 1}', LAST]
    assert parser.overflowed


def test_memory_and_work_are_bounded_while_an_element_is_too_long() -> None:
    parser = Parser(limit=1_000_000)
    parser.feed(b'[{"a": "')
    began = process_time()
    for _ in range(4000):
        assert parser.feed(b"x" * 1000) == []
        assert len(parser._pending) <= 1_000_000
    assert process_time() - began < 2


@given(
    st.lists(
        st.sampled_from(
            [b"[", b"]", b"{", b"}", b'"', b"\\", b",", b"a", b'{"a":1}', b'"\\""', b" \n", b'{"']
        )
    ).map(b"".join),
    st.sampled_from([1, 5, 1000]),
    st.data(),
)
def test_any_cutting_gives_the_same(stream: bytes, limit: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    outcomes = []
    for chunks in ([stream], [bytes([byte]) for byte in stream], pieces):
        parser = Parser(limit)
        events = [event for chunk in chunks for event in parser.feed(chunk)]
        outcomes.append((events, parser.overflowed))
    assert outcomes[0] == outcomes[1] == outcomes[2]
