"""What detection may ask of an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway_sessions.detection.session import Session

CANDIDATES = 16
"""Sessions that one key can lead to.  Where more share a state, those that registered it
last are kept: the work per request stays bounded whatever clients send."""


class View(Protocol):
    """Sessions by key, as they are now."""

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Return the sessions of a scope that registered a key, expired ones included.

        At most `CANDIDATES`; never one of another scope.
        """
