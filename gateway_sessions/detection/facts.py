"""What is easily seen of a request, so that rules with nothing to say are not even asked.

Most requests have no id, no history or no tool call that waits for somebody.  A rule that needs
one of these is left out by a look at a number, which costs a tenth of asking it.
"""

from __future__ import annotations

from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.echo import CALL, SUMMARY

NAMED = 1
"""Its client names the session."""
FIELDS = 2
"""Fields of the body name something."""
HISTORY = 4
"""It is more than one message of the user side's."""
CALLS = 8
"""Tool calls wait in its scope."""
SUMMARIES = 16
"""Summaries were given in its scope."""


def facts_of(ask: Ask) -> int:
    """Return the facts that hold, added up."""
    plan, echo = ask.plan, ask.echo
    walk, scope = plan.walk, plan.scope.seed
    tail = walk.tail
    facts = 0 if plan.explicit is None else NAMED
    if plan.conversation.fields:
        facts |= FIELDS
    if tail is None or tail.before is not None or tail.model_side or len(walk.prompt()) != 1:
        facts |= HISTORY
    if echo.holds(scope, CALL):
        facts |= CALLS
    if echo.holds(scope, SUMMARY):
        facts |= SUMMARIES
    return facts
