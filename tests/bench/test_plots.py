"""Curves become pictures, the same figures the same picture."""

from __future__ import annotations

import re
from pathlib import Path

from bench import plots

CURVES = {"ours": [(1.0, 2.0), (10.0, 3.0)], "theirs": [(1.0, 4.0), (10.0, 5.0)]}


def drawn(folder: Path, **options: bool) -> str:
    path = plots.draw("x", "Cost by size", "KB", "µs", CURVES, folder=folder, **options)
    return path.read_text(encoding="utf-8")


def test_the_picture_has_its_words_and_is_the_same_each_time(tmp_path: Path) -> None:
    picture = drawn(tmp_path)
    assert (tmp_path / "growth-x.svg").exists()
    texts = set(re.findall(r"<text[^>]*>([^<]+)</text>", picture))
    assert {"Cost by size", "KB", "µs", "ours", "theirs"} <= texts
    assert drawn(tmp_path) == picture
    assert drawn(tmp_path, logarithmic=False) != picture
