"""Names: unguessable, unique, in Crockford's alphabet."""

from __future__ import annotations

import os
import re

import pytest

from gateway_sessions.names import crockford, random_name


def test_random_names() -> None:
    names = [random_name() for _ in range(500)]
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{20}", name) for name in names)
    assert len(set(names)) == len(names)
    assert len(set("".join(names))) == 32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_process_has_random_names_of_its_own() -> None:
    random_name()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, random_name().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() not in {random_name() for _ in range(64)}


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
