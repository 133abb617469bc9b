"""Random names: unguessable, unique, in Crockford's alphabet."""

from __future__ import annotations

import os
import re

import pytest

from gateway_sessions.random_names import random_name


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
