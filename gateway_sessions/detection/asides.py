"""Which instructions serve for side calls alone.

A check for a new topic that is sent beside the first request of a session says the same as that
request, word for word.  What tells it apart is that its instructions have been seen before: with
prompts and replies of other sessions, and never with a history of their own.
"""

from __future__ import annotations

ASIDES_KEPT = 4096
"""Instructions remembered; those that came first give way, and come back with the next side call
that is known by more than its instructions."""


class Asides:
    """Instructions that have come with side calls."""

    def __init__(self, kept: int = ASIDES_KEPT) -> None:
        """Remember ``kept`` instructions."""
        self._kept = kept
        self._alone: dict[int, bool] = {}
        """By scope and instructions: whether nobody has gone on under them."""

    def asked(self, scope: int, agent: int) -> None:
        """Note a side call.

        Args:
            scope: the scope's seed.
            agent: digest of instructions and tools.
        """
        key = scope ^ agent
        if key not in self._alone:
            if len(self._alone) == self._kept:
                del self._alone[next(iter(self._alone))]
            self._alone[key] = True

    def went_on(self, scope: int, agent: int) -> None:
        """Note that a conversation goes on under some instructions: they serve for that too."""
        key = scope ^ agent
        if key in self._alone:
            self._alone[key] = False

    def known(self, scope: int, agent: int) -> bool:
        """Whether some instructions have come with side calls and with nothing else."""
        return self._alone.get(scope ^ agent, False)

    def of(self, scope: int, agent: int) -> bool | None:
        """Return what is known of some instructions.

        True where they have come with side calls alone, False where a conversation went on
        under them as well, None where nothing is known.
        """
        return self._alone.get(scope ^ agent)

    def put(self, scope: int, agent: int, *, alone: bool) -> None:
        """Learn from others what instructions serve for; those that serve for more stay so."""
        self.asked(scope, agent)
        if not alone:
            self.went_on(scope, agent)
