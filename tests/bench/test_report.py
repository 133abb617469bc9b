"""Results go between their markers and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import insert, publish, table

TEXT = "a\n<!-- generated:x -->\nold\n<!-- /generated:x -->\nb <!-- generated:y --> c\n"


def test_a_block_replaces_what_stands_between_its_markers() -> None:
    once = insert(TEXT, "x", "new \\1 lines")
    assert "old" not in once
    assert once.startswith("a\n<!-- generated:x -->\n\nnew \\1 lines\n\n<!-- /generated:x -->\nb")
    assert insert(once, "x", "new \\1 lines") == once


def test_missing_markers_are_an_error() -> None:
    with pytest.raises(ValueError, match="no markers generated:y"):
        insert(TEXT, "y", "new")


def test_publish_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    publish("x", "new", page)
    assert page.read_text() == insert(TEXT, "x", "new")


def test_a_table_aligns_figures_to_the_right() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert table(["a", "b"], [], figures=False) == "| a | b |\n| --- | --- |"
