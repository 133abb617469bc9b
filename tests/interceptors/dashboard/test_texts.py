"""Texts, cut and compared."""

from __future__ import annotations

from html import escape

import pytest

from interceptors.dashboard.texts import changes, clipped

TEXT_BYTES = 2_000


def test_changes_put_together_are_both_texts() -> None:
    before, after = "Round it up, please.\nTwice.", "Round it down, please!\nOnce and twice."
    pieces = changes(before, after)
    assert "".join(p.text for p in pieces if p.kind != "new") == before
    assert "".join(p.text for p in pieces if p.kind != "gone") == after
    assert changes(after, after) == ()


@pytest.mark.parametrize("text", ["a" * 9_999, "<" * 9_999, "😀" * 9_999, "<é&" * 3_333])
def test_a_text_is_cut_where_its_html_is_full(text: str) -> None:
    found = clipped(text, TEXT_BYTES)
    assert found is not None
    assert text.startswith(found)
    size = len(escape(found).encode())
    assert TEXT_BYTES * 0.9 < size <= TEXT_BYTES


def test_a_short_text_is_whole() -> None:
    assert clipped("short", TEXT_BYTES) == "short"
    assert clipped(None, TEXT_BYTES) is None
