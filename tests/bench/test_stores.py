"""The benchmark of stores holds conversations on both servers."""

from __future__ import annotations

import pytest

from bench import stores
from tests import postgres, redis


@redis.NEEDED
@postgres.NEEDED
def test_a_quick_run_gives_a_row_per_store_and_number_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "SESSIONS", 320)
    rows = [
        line.strip("| ").split(" | ")
        for line in stores.run(quick=True).splitlines()
        if line.startswith("| ")
    ][2:]
    assert [(row[0], row[1]) for row in rows] == [
        (name, str(at_once)) for name in ("Redis", "PostgreSQL") for at_once in stores.AT_ONCE
    ]
    assert all(int(row[2]) > 0 for row in rows)
    assert all(int(row[4].replace(",", "")) > stores.STATE for row in rows)
