"""What people read of a comparison, and what programs do."""

from __future__ import annotations

import pytest

from gateway_sessions.cli.comparison import Comparison
from gateway_sessions.cli.comparison_report import as_json, as_text
from tests.cli.test_comparison import compared, exchange, tag

NAMES = ("now.yaml", "wanted.yaml")


def text(comparison: Comparison, limit: int = 10) -> str:
    return "\n".join(as_text(comparison, NAMES, limit))


def test_no_difference_is_said_in_a_sentence() -> None:
    assert text(compared("aab", "xxy")) == (
        "3 exchanges with a session.\n"
        "  A  2 sessions  now.yaml\n"
        "  B  2 sessions  wanted.yaml\n"
        "Both find the same sessions."
    )


def test_differences_are_shown_case_by_case() -> None:
    assert text(compared("abbcc", "xxxyz")) == (
        "5 exchanges with a session.\n"
        "  A  3 sessions  now.yaml\n"
        "  B  3 sessions  wanted.yaml\n"
        "5 exchanges (100.0%) are with others in B than in A: 1 session of B from several of A,"
        " 1 session of A in several of B.\n"
        "\n"
        "Where they part:\n"
        "  1x\n"
        "    A: continue (by prefix), because of b\n"
        "    B: continue (by prefix), because of x\n"
        "  1x\n"
        "    A: continue (by prefix), because of c\n"
        "    B: continue (by prefix), because of z\n"
        "\n"
        "Merged in B:\n"
        "\n"
        "  x of B, 3 exchanges, is 2 sessions in A:\n"
        "    a  1 exchange, 2026-01-01 00:00:00 to 2026-01-01 00:00:00  “question 0”\n"
        "    b  2 exchanges, 2026-01-01 00:00:01 to 2026-01-01 00:00:02  “question 1”\n"
        "      from r1 on\n"
        "        A: continue (by prefix), because of b\n"
        "        B: continue (by prefix), because of x\n"
        "\n"
        "Split in B:\n"
        "\n"
        "  c of A, 2 exchanges, is 2 sessions in B:\n"
        "    y  1 exchange, 2026-01-01 00:00:03 to 2026-01-01 00:00:03  “question 3”\n"
        "    z  1 exchange, 2026-01-01 00:00:04 to 2026-01-01 00:00:04  “question 4”\n"
        "      from r4 on\n"
        "        A: continue (by prefix), because of c\n"
        "        B: continue (by prefix), because of z"
    )


def test_only_the_largest_are_shown() -> None:
    told = text(compared("abcdef" + "ab", "xxyyzz" + "xx"), limit=1)
    assert "Merged in B, the largest 1 of 3:" in told
    assert told.count(" of B, ") == 1
    assert "  x of B, 4 exchanges," in told


def test_a_session_of_many_parts_is_shown_in_part() -> None:
    told = text(compared("abcdefghij", "xxxxxxxxxx"))
    assert "    … and 4 more" in told
    assert told.count("      from r") == 5


def test_nobody_can_forge_a_line() -> None:
    found = compared("a", "x")
    forged = tag("b", reason="one\nMerged in B:")
    found.add(exchange(1, {"role": "user", "content": "\x1b[2Jhi"}), forged, tag("x"))
    assert "\x1b" not in text(found)
    assert text(found).count("\nMerged in B:") == 1


@pytest.mark.parametrize("limit", [1, 10])
def test_programs_get_everything_of_the_cases(limit: int) -> None:
    report = as_json(compared("aabbcd", "xxxxyy"), NAMES, limit)
    assert report["a"] == {"config": "now.yaml", "sessions": 4}
    assert report["b"] == {"config": "wanted.yaml", "sessions": 2}
    assert (report["exchanges"], report["without_session"], report["moved"]) == (6, 0, 6)
    assert report["split"] == {"count": 0, "cases": []}
    assert report["merged"]["count"] == 2
    assert len(report["merged"]["cases"]) == min(limit, 2)
    assert report["merged"]["cases"][0]["session_id"] == "x"
    assert report["merged"]["cases"][0]["parts"][1] == {
        "session_id": "b",
        "exchanges": 2,
        "began": "2026-01-01T00:00:02+00:00",
        "ended": "2026-01-01T00:00:03+00:00",
        "first_words": "question 2",
        "request_id": "r2",
        "a": {"relation": "continue", "source": "prefix", "reason": "because of b"},
        "b": {"relation": "continue", "source": "prefix", "reason": "because of x"},
    }
    assert report["partings"][0]["times"] == 1
