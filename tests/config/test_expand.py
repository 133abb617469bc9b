"""References to environment variables."""

from __future__ import annotations

import pytest

from gateway_sessions.config.expand import expanded
from gateway_sessions.errors import ConfigError

ENVIRON = {"HOST": "example.org", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("${HOST}", "example.org"),
        ("http://${HOST}:${PORT:-80}/", "http://example.org:80/"),
        ("${HOST:-other}", "example.org"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${HOST:?is needed}", "example.org"),
        ("$${HOST}", "${HOST}"),
        ("$HOST and $ and }", "$HOST and $ and }"),
    ],
)
def test_references_are_filled_in(text: str, result: str) -> None:
    assert expanded(text, ENVIRON, "here") == result


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "${NONE}",
            (
                "f.yaml, line 3: the environment variable NONE is not set;"
                " set it, or give a default as ${NONE:-default}."
            ),
        ),
        (
            "${EMPTY:?}",
            (
                "f.yaml, line 3: the environment variable EMPTY is not set;"
                " set it, or give a default as ${EMPTY:-default}."
            ),
        ),
        (
            "${NONE:?Say where LiteLLM runs.}",
            "f.yaml, line 3: Say where LiteLLM runs (environment variable NONE).",
        ),
        (
            "${1X}",
            (
                "f.yaml, line 3: a reference is written ${VAR}, ${VAR:-default} or ${VAR:?message};"
                " write $${ for the characters themselves."
            ),
        ),
        (
            "${HOST",
            (
                "f.yaml, line 3: a reference is written ${VAR}, ${VAR:-default} or ${VAR:?message};"
                " write $${ for the characters themselves."
            ),
        ),
    ],
)
def test_bad_references_name_the_place_and_the_cure(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expanded(text, ENVIRON, "f.yaml, line 3")
    assert str(caught.value) == sentence


def test_what_a_variable_contains_is_not_expanded_again() -> None:
    assert expanded("${A}", {"A": "${B}", "B": "secret"}, "here") == "${B}"
