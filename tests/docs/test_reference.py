"""The reference of configuration keys says what the schema says."""

from __future__ import annotations

from tests.docs.reference import PAGE, page


def test_the_reference_is_up_to_date() -> None:
    stale = "run: .venv/bin/python -m tests.docs.reference"
    assert PAGE.read_text(encoding="utf-8") == page(), stale
