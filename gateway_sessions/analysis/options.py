"""What is recorded, and how much of it."""

from __future__ import annotations

from typing import Literal

import msgspec


class ScribeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How exchanges become events."""

    content: Literal["full", "metadata"] = "full"
    """Whether texts, bodies and arguments are recorded, or only facts about them."""
    include_streaming_events: bool = False
    capture_user_agent: bool = True
    max_user_agent_length: int = 255
    """Characters; the rest is cut off."""
    snapshot_every_requests: int = 10
    """Exchanges of a live session between two snapshots; 0 for none."""
    snapshot_every_seconds: float = 300.0
    """Seconds after which an exchange brings a snapshot in any case; 0 for none."""
    idle_seconds: float = 0.0
    """After which the gateway takes a session for over; 0 where that is not known."""
    max_sessions: int = 100_000
    """Live sessions whose sums are kept; beyond them the longest unused is completed."""

    @property
    def full(self) -> bool:
        """Whether content is recorded."""
        return self.content == "full"
