"""The gateway is measured beside other proxies, which all answer."""

from __future__ import annotations

import pytest

from bench import peers, servers
from bench.load import Load
from bench.throughput import BARE


@pytest.mark.needs("nginx", "apt-get install nginx-light")
@pytest.mark.needs("wrk", "apt-get install wrk")
def test_every_program_that_is_there_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ROUNDS", {True: (1, 1.0)})
    lines = [line.strip("| ").split(" | ") for line in peers.run(quick=True).splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines if len(cells) == 6}
    assert set(rows) >= {BARE, f"gateway: {peers.OURS}", "nginx proxy_pass"}
    assert all(cells[-1] == "0" for name, cells in rows.items() if name not in ("target", "---"))


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    bare = [Load(100, 1, 2, 0), Load(50, 1, 2, 0), Load(10, 1, 2, 0)]
    ours = [Load(90, 3, 4, 1), Load(40, 3, 4, 0), Load(5, 3, 4, 1)]
    rows = list(peers._rows({BARE: bare, "ours": ours}))
    assert rows == [
        [BARE, "50", "1.000", "1.0", "2.0", "0"],
        ["ours", "40", "0.800", "3.0", "4.0", "2"],
    ]


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "PROGRAMS", "/nowhere")
    with pytest.raises(FileNotFoundError, match="apt-get install nginx-light"):
        peers.nginx("http://127.0.0.1:1").__enter__()
