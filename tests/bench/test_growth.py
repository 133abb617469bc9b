"""Each dimension of growth gives whole curves."""

from __future__ import annotations

import re

import pytest

from bench import growth
from bench.growth import DIMENSIONS, Growth


@pytest.mark.parametrize("name", ["sessions", "history", "body"])
def test_curves_rise_from_left_to_right_and_belong_together(name: str) -> None:
    found = DIMENSIONS[name](quick=True)
    lengths = {len(curve) for curve in found.curves.values()}
    assert lengths == {2}
    for curve in found.curves.values():
        assert [x for x, _ in curve] == sorted(x for x, _ in curve)
        assert all(y > 0 for _, y in curve)


def test_a_page_has_a_table_for_each_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*, quick: bool) -> Growth:
        assert quick
        return Growth("Cost", "KB", "µs", {"a": [(1.0, 2.0), (1000.0, 3.5)], "b": [(1, 4), (2, 5)]})

    monkeypatch.setattr(growth, "DIMENSIONS", {"one": measured, "two": measured})
    page = growth.run(quick=True)
    assert page.count("| KB | a: µs | b: µs |") == 2
    assert re.search(r"^\| 1,000 \| 3\.5 \| 5\.0 \|$", page, re.MULTILINE)
    assert "images" not in page  # a quick run draws nothing
