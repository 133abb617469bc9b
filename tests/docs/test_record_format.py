"""The page on recording says which events, fields, tables and columns there are."""

from __future__ import annotations

from tests.docs.record_format import PAGE, TABLES, columns, page


def test_the_tables_of_the_page_are_up_to_date() -> None:
    stale = "run: .venv/bin/python -m tests.docs.record_format"
    assert PAGE.read_text(encoding="utf-8") == page(), stale


def test_every_table_of_the_database_is_on_the_page() -> None:
    assert set(columns()) == set(TABLES)
