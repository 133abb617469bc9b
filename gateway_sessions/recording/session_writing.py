"""A folder of session files to write events to; everything else about files is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway_sessions.events import Completed, SessionEvent, Started
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_appending import MAX_OPEN, SessionAppender
from gateway_sessions.recording.session_files import SessionFolder, day_of
from gateway_sessions.recording.session_housekeeper import Housekeeper
from gateway_sessions.recording.session_keeping import KeepLimits
from gateway_sessions.recording.session_lines import event_line

_GOES_ON = frozenset({"continue", "retry", "regenerate", "compaction"})
"""Relations of a first known exchange that tell of earlier ones: the recorder was started anew."""


class SessionFiles:
    """Writes events to ``DIRECTORY/2026-01-31/<session_id>.jsonl`` and looks after old files.

    All methods belong to one thread.

    Args:
        directory: Made with mode 0700 if it is missing.
        limits: How long files are kept, and in which form.
        interval_seconds: Time between two looks at that.
        max_open: Files held open at a time.
    """

    def __init__(
        self,
        directory: Path,
        limits: KeepLimits | None = None,
        interval_seconds: float = 3600.0,
        max_open: int = MAX_OPEN,
    ) -> None:
        self._appender = SessionAppender(directory, max_open)
        self._housekeeper = Housekeeper(
            SessionFolder(directory),
            limits or KeepLimits(),
            interval_seconds,
            self._appender.unsynced,
        )

    def open(self) -> None:
        """Make the folder; raises `StartError` if files can not be made in it."""
        self._appender.open()
        self._housekeeper.start()

    def append(self, session_id: str, events: Sequence[SessionEvent]) -> None:
        """Append events of one session to its file.

        Only the first may be a `Started`.  Raises `PartlyWritten` that names what could not be
        written: from an `OSError` where the disk is at fault; from any other error where single
        events are, or what is in the file's place.
        """
        good: list[SessionEvent] = []
        lines: list[bytes] = []
        spoilt: list[SessionEvent] = []
        fault: Exception | None = None
        for event in events:
            try:
                day_of(event.timestamp)
                lines.append(event_line(event))
                good.append(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others can be written
                spoilt.append(event)
                fault = error
        if lines:
            failed, failure = self._write(session_id, good, lines)
            spoilt += failed
            fault = failure or fault
        if spoilt:
            raise PartlyWritten(len(events) - len(spoilt), spoilt) from fault

    def sync(self) -> None:
        """Return when everything is on the disk, names of files included; raises `OSError`."""
        self._appender.unsynced.sync()

    def tick(self, now: float) -> None:
        """Note that about a minute has passed; ``now`` is unix time in seconds."""
        self._appender.turn()
        self._housekeeper.tick(now)

    def close(self) -> None:
        """Close everything; raises `OSError` if what was written can not be made durable."""
        self._housekeeper.stop()
        self._appender.close()

    def _write(
        self, session_id: str, events: list[SessionEvent], lines: list[bytes]
    ) -> tuple[list[SessionEvent], Exception | None]:
        """Write lines; return the events of those that failed, and why."""
        first = events[0]
        try:
            self._appender.append(
                session_id,
                day_of(first.timestamp),
                lines,
                starts=isinstance(first, Started) and first.relation not in _GOES_ON,
                ends=isinstance(events[-1], Completed),
            )
        except PartlyWritten as partly:
            cause = partly.__cause__
            assert isinstance(cause, OSError)
            return events[partly.written :], cause
        except Exception as error:  # noqa: BLE001 - the other files' turn comes
            return events, error
        self._housekeeper.added(sum(map(len, lines)))
        return [], None
