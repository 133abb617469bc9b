"""What goes wrong on the way to one writer: counted, announced, and logged at a limited rate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway_sessions.recording.quiet import Quiet, summary, trimmed
from gateway_sessions.telemetry import Dropped, Telemetry

logger = logging.getLogger(__name__)


class Troubles:
    """The drops and failures of one writer.  Every drop is announced, whatever is logged.

    `refused` belongs to the thread that offers items, everything else to the writer's, but for
    `abandoned`, which is said once and by whoever gives the writer up.
    """

    def __init__(
        self,
        name: str,
        telemetry: Telemetry,
        what: str,
        full: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without any.

        Args:
            name: the writer's.
            telemetry: where to announce drops.
            what: log lines call items so.
            full: the log line of a full buffer, with ``%(name)s``, ``%(what)s``, ``%(count)d``.
            monotonic: seconds that never go back.
        """
        self.problem: str | None = None
        """Why the last write failed, until one succeeds."""
        self._name = name
        self._telemetry = telemetry
        self._what = what
        self._full_line = full
        self._lost = 0  # items dropped since the last success
        self._full = Quiet(monotonic=monotonic)
        self._spoilt = Quiet(monotonic=monotonic)

    def refused(self, *, closed: bool) -> None:
        """Count an item as dropped at the entrance, which is full or closed."""
        self._telemetry.emit(Dropped(self._name, "shutdown" if closed else "queue_full", 1))
        if not closed and (count := self._full.count()):
            facts = {"name": self._name, "what": self._what, "count": count}
            logger.warning(self._full_line, facts)

    def dropped(self, count: int, error: BaseException) -> None:
        """Count items as dropped that the writer did not take."""
        self._lost += count
        self._telemetry.emit(Dropped(self._name, "error", count))
        if count := self._spoilt.count(count):
            logger.error(
                "%s: could not write %d %s: %s",
                self._name,
                count,
                self._what,
                summary(error),
                exc_info=None if isinstance(error, OSError) else trimmed(error),
            )

    def abandoned(self, count: int) -> None:
        """Count items as dropped because the writer did not come back in time."""
        if count:
            logger.error(
                "%s: still busy at shutdown, dropping %d %s", self._name, count, self._what
            )
            self._telemetry.emit(Dropped(self._name, "shutdown", count))

    def fails(self, error: BaseException) -> None:
        """Note that a write failed and is tried again."""
        if self.problem is None:
            logger.error("%s: writing fails and is tried again: %s", self._name, summary(error))
        self.problem = summary(error)

    def works(self) -> None:
        """Note that a write succeeded."""
        if self.problem is not None:
            self.problem = None
            logger.warning(
                "%s: writing works again, %d %s lost", self._name, self._lost, self._what
            )
        self._lost = 0
