"""The worked examples of how detection works are what the detector says."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import Block, every
from tests.docs.conversations import Conversations

BLOCKS = every("conversation")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_detector_says_what_the_page_says(block: Block) -> None:
    names: dict[str, str] = {}
    for line, said, wanted in Conversations().run(block.text):
        # Sessions are numbered in the order in which they first appear.
        session = said.split()[0]
        names.setdefault(session, str(len(names) + 1))
        numbered = re.sub(r"sess_\w+", lambda match: names.get(match.group(), "?"), said)
        assert numbered == wanted, line


def test_there_are_at_least_ten() -> None:
    assert len(BLOCKS) >= 10
