"""Servers that can be made to fail, for all tests of faults that want one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres, redis
from tests.faults.outages import Outages, of_postgres, of_redis


@pytest.fixture(
    params=[
        pytest.param("redis", marks=redis.NEEDED),
        pytest.param("postgres", marks=postgres.NEEDED),
    ]
)
def outages(request: pytest.FixtureRequest) -> Iterator[Outages]:
    """Yield a server of shared sessions, one of each kind in turn."""
    if request.param == "redis":
        with of_redis() as outages:
            yield outages
    else:
        with of_postgres(request.getfixturevalue("postgres")) as outages:
            yield outages
