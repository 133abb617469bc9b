"""A folder of session files to write events to; everything else about files is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_appending import SessionAppender
from gateway_sessions.recording.session_files import SessionFolder, day_of
from gateway_sessions.recording.session_housekeeper import Housekeeper
from gateway_sessions.recording.session_keeping import KeepLimits
from gateway_sessions.recording.session_lines import Line, line_of, lines_of

_START, _END = "started", "completed"
_GOES_ON = frozenset({"continue", "retry", "regenerate", "compaction"})
"""Relations of a first known exchange that tell of earlier ones: the recorder was started anew."""


class SessionFiles:
    """Writes events to ``DIRECTORY/2026-01-31/<session_id>.jsonl`` and looks after old files.

    All methods belong to one thread.

    Args:
        directory: Made with mode 0700 if it is missing.
        limits: How long files are kept, and in which form.
        interval_seconds: Time between two looks at that.
        max_open: Files held open at a time; None for as many as `SessionAppender` finds right.
    """

    def __init__(
        self,
        directory: Path,
        limits: KeepLimits | None = None,
        interval_seconds: float = 3600.0,
        max_open: int | None = None,
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

    def write(self, batch: Sequence[SessionEvent]) -> None:
        """Write events of any sessions, each file's share of them at once.

        Raises `PartlyWritten` that names what could not be written: from an `OSError` where the
        disk is at fault; from any other error where single events are, or what is in a file's
        place.
        """
        lines: list[Line] = []
        spoilt: list[SessionEvent] = []
        fault: Exception | None = None
        for event in batch:
            try:
                day_of(event.timestamp)
                lines.append(line_of(event))
            except Exception as error:  # noqa: BLE001 - whatever it is, the others can be written
                spoilt.append(event)
                fault = error
        self._write(lines, spoilt, fault)

    def write_json(self, batch: bytes) -> None:
        """Write a batch that is a JSON array; otherwise as `write`.

        Raises `PartlyWritten` with places in the array, and as `lines_of` does.
        """
        self._write(lines_of(batch), [], None)

    def _write(
        self, lines: Sequence[Line], spoilt: Sequence[object], fault: BaseException | None
    ) -> None:
        """Write lines; ``spoilt`` could not be made ones, because of ``fault``."""
        rest = list(spoilt)
        failed: set[str] = set()
        system_fault: OSError | None = None
        for share in _shares(lines):
            session_id = share[0].session_id
            # Not before those that come first.
            written, error = (0, None) if session_id in failed else self._append(session_id, share)
            rest += [line.source for line in share[written:]]
            if isinstance(error, OSError):
                failed.add(session_id)
                system_fault = error
            elif error is not None:
                fault = error
        if rest:
            count = len(lines) + len(spoilt)
            raise PartlyWritten(count - len(rest), rest) from system_fault or fault

    def _append(self, session_id: str, lines: Sequence[Line]) -> tuple[int, BaseException | None]:
        """Append lines to a session's file; return how many are there, and what was wrong."""
        first, texts = lines[0], [line.text for line in lines]
        try:
            self._appender.append(
                session_id,
                day_of(first.timestamp),
                texts,
                starts=first.kind == _START and first.relation not in _GOES_ON,
                ends=lines[-1].kind == _END,
            )
        except PartlyWritten as partly:
            return partly.written, partly.__cause__
        except Exception as error:  # noqa: BLE001 - the other files' turn comes
            return 0, error
        self._housekeeper.added(sum(map(len, texts)))
        return len(lines), None

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


def _shares(lines: Sequence[Line]) -> list[list[Line]]:
    """Return lines by session; a session that starts anew has another share."""
    shares: list[list[Line]] = []
    newest: dict[str, list[Line]] = {}
    for line in lines:
        share = newest.get(line.session_id)
        if share is None or line.kind == _START:
            share = newest[line.session_id] = []
            shares.append(share)
        share.append(line)
    return shares
