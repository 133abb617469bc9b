"""Every relation and every source has its words."""

from __future__ import annotations

import pytest

from interceptors.dashboard.reasons import RELATIONS, SOURCES, because


def test_all_of_the_vocabulary_is_explained() -> None:
    relations = "first continue retry regenerate fork compaction subagent side_call reset"
    sources = "explicit response_id prefix anchor fuzzy echo new"
    assert set(RELATIONS) == set(relations.split())
    assert set(SOURCES) == {*sources.split(), "unknown"}


@pytest.mark.parametrize(
    ("relation", "source", "sentence"),
    [
        ("first", "new", "The first request of its session: no session that is known fits."),
        (None, None, "Placed in this session: it was recorded without a reason."),
        ("continue", "of-tomorrow", "Goes on from the session’s newest turn."),
    ],
)
def test_a_reason_is_one_sentence(relation: str | None, source: str | None, sentence: str) -> None:
    assert because(relation, source) == sentence
