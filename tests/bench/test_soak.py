"""A long run counts what it sends and tells whether memory grows."""

from __future__ import annotations

import pytest
import requests

from bench import servers, soak
from bench.soak import Sample


def test_the_slope_is_that_of_the_line_through_all_samples() -> None:
    samples = [Sample(n * 1000, 5_000_000 + n * 20_000, 10) for n in range(10)]
    assert soak.slope(samples) == pytest.approx(20)
    assert soak.slope(samples[:1]) == 0


def test_few_of_many_samples_are_shown_and_the_last_is_one() -> None:
    samples = [Sample(n, 0, 0) for n in range(101)]
    shown = soak._spread(samples)
    assert len(shown) <= 11
    assert shown[-1] is samples[-1]
    assert list(soak._spread(samples[:3])) == samples[:3]


@pytest.mark.needs("wrk", "apt-get install wrk")
def test_one_request_in_twenty_is_broken_off_and_the_gateway_knows() -> None:
    with (
        servers.upstream(stream=False) as upstream,
        servers.helper("upstream", "0.01", "20") as streaming,
        servers.gateway(None, f"{soak._both(upstream, streaming.url)}\n{soak.SETTINGS}") as server,
    ):
        samples, aborted = soak.soak(server, 1, 1.0)
        seen = requests.get(f"{server.url}/metrics", timeout=30).json()["requests"]["total"]
    sent = samples[-1].requests
    assert aborted == pytest.approx(sent * soak.ABORTED, abs=sent * soak.ABORTED)
    assert aborted > 0
    assert seen >= 0.9 * (sent - aborted)
    assert samples[-1].memory > 2**20
