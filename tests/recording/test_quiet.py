"""Log lines once per interval, and tracebacks that begin with the plug-in."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from gateway_sessions.recording.quiet import LONGEST, Quiet, summary, trimmed


def test_the_first_is_reported_and_the_others_are_summed_up() -> None:
    now = 100.0
    quiet = Quiet(interval_seconds=10, monotonic=lambda: now)
    assert quiet.count() == 1
    assert quiet.count(5) == 0
    now = 109.9
    assert quiet.count() == 0
    now = 110.0
    assert quiet.count() == 7
    now = 120.0
    assert quiet.count() == 1


def test_a_trimmed_traceback_starts_at_the_callee() -> None:
    code = compile("def plugin():\n    raise ValueError('oh')", "plugin.py", "exec")
    module: dict[str, Callable[[], None]] = {}
    exec(code, module)  # noqa: S102 - stands for a module of somebody else's

    def ours() -> None:
        module["plugin"]()

    with pytest.raises(ValueError, match="oh") as raised:
        ours()
    kind, same, remaining = trimmed(raised.value)
    assert kind is ValueError
    assert same is raised.value
    assert [frame.name for frame in traceback.extract_tb(remaining)] == ["plugin"]


def test_an_error_that_was_never_raised_has_no_traceback() -> None:
    assert trimmed(ValueError("x"))[2] is None


def test_a_summary_has_kind_and_text_of_limited_length() -> None:
    assert summary(ValueError("oh")) == "ValueError: oh"
    assert summary(ValueError()) == "ValueError"
    assert summary(ValueError("x" * 10_000)) == f"ValueError: {'x' * LONGEST}…"
