"""What the detector remembers beside the sessions themselves."""

from __future__ import annotations

import msgspec

from gateway_sessions.detection.asides import Asides
from gateway_sessions.detection.clients import RecentSessions
from gateway_sessions.detection.echo import EchoIndex
from gateway_sessions.detection.histories import Histories
from gateway_sessions.detection.turns import RecentTurns


class Memories(msgspec.Struct, frozen=True, gc=False):
    """Recent texts and habits, all bounded."""

    echo: EchoIndex = msgspec.field(default_factory=EchoIndex)
    """Summaries, and what was handed to tools."""
    turns: RecentTurns = msgspec.field(default_factory=RecentTurns)
    """The newest turn of each session."""
    histories: Histories = msgspec.field(default_factory=Histories)
    """What was said lately in each session."""
    recent: RecentSessions = msgspec.field(default_factory=RecentSessions)
    """Which sessions each client began last."""
    asides: Asides = msgspec.field(default_factory=Asides)
    """Which instructions serve for side calls."""
