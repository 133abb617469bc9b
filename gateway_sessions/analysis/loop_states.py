"""The life of a loop: one table.

A loop is *pending* when its request has come, *running* when the model has been asked and the
answer, or a tool, is awaited, and then *completed*, *rejected* or *aborted*, for good.  What
comes after that, such as a tool's late result or a sub-agent's end, adds to the record and
changes no status.  So does what comes in another order than it happened in.

====================  =========  =========  ======================================
event                 pending    running    completed, rejected, aborted
====================  =========  =========  ======================================
TurnStart             running    running    stays; the turn is recorded all the same
InputRejected         rejected   rejected   stays
AgentEnd              outcome    outcome    stays
flush, session's end  aborted    aborted    stays
all others            stays      stays      stays
====================  =========  =========  ======================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway_sessions.analysis.agent_events import AgentEnd, AgentEvent, InputRejected, TurnStart
from gateway_sessions.analysis.agent_tree import LoopStatus

OPEN: frozenset[LoopStatus] = frozenset({"pending", "running"})
"""A loop in one of these is not over."""

MOVING: frozenset[type[AgentEvent]] = frozenset({AgentEnd, InputRejected, TurnStart})
"""Events that can change a loop's status; most are none of these."""

_NEXT: Mapping[tuple[LoopStatus, type[AgentEvent]], LoopStatus] = MappingProxyType(
    {
        ("pending", TurnStart): "running",
        ("running", TurnStart): "running",
        ("pending", InputRejected): "rejected",
        ("running", InputRejected): "rejected",
    }
)


def next_status(status: LoopStatus, event: AgentEvent) -> LoopStatus:
    """Return the status of a loop after an event."""
    if type(event) is AgentEnd and status in OPEN:
        return event.outcome
    return _NEXT.get((status, type(event)), status)
