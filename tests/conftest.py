"""What every test folder shares: tests that need an outside program."""

from __future__ import annotations

import os
import shutil

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose outside program is missing; in CI, where it must be there, fail it.

    A test names what it runs as ``@pytest.mark.needs("jq", "apt-get install jq")``.
    """
    for marker in item.iter_markers("needs"):
        tool, install = marker.args
        if shutil.which(tool) is not None:
            continue
        sentence = f"{tool} is not installed: {install}"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
