"""Session files get back what only the database has, after a crash that ended both writers.

Each writer may be ahead of the other when a machine stops.  What session files have more is read
into the database; here is the other way round, for the last exchanges before the crash.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gateway_sessions.errors import GatewaySessionsError
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import row_events
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_appending import SessionAppender
from gateway_sessions.recording.session_days import LOOK_BACK_DAYS
from gateway_sessions.recording.session_files import COMPRESSED, PLAIN, SessionFolder, file_stem
from gateway_sessions.recording.session_lines import BadLine, event_line
from gateway_sessions.recording.session_reading import read_events
from gateway_sessions.storage.readers import open_reader

logger = logging.getLogger(__name__)

_SESSIONS = "SELECT DISTINCT session_id FROM session_stats WHERE id > ? AND id <= ?"


def restore(database: Path, directory: Path, after: int, until: int) -> Iterator[int]:
    """Append to session files what they lack of the exchanges with ids in a range.

    Yields the number of events for each session that has such exchanges, so that whoever asks
    can do other things in between.  Raises `OSError`, `sqlite3.Error` or `StartError` where
    database or folder can not be used; one file that can not be is logged.
    """
    appender = SessionAppender(directory, max_open=1)
    appender.open()
    try:
        with closing(open_reader(database)) as connection:
            folder = SessionFolder(directory)
            days = folder.days()[: -LOOK_BACK_DAYS - 1 : -1]
            for (session_id,) in connection.execute(_SESSIONS, (after, until)).fetchall():
                try:
                    lost = _lost(connection, directory, days, session_id, (after, until))
                    yield _appended(appender, session_id, lost)
                except GatewaySessionsError as error:
                    logger.warning("%s", error)
                except PartlyWritten as partly:
                    raise partly.__cause__ or partly from None
    finally:
        appender.close()


def _lost(
    connection: sqlite3.Connection,
    directory: Path,
    days: list[str],
    session_id: str,
    ids: tuple[int, int],
) -> list[SessionEvent]:
    """Return the events that a session's file lacks."""
    session = connection.execute(row_events.FIND_SESSION, (session_id,)).fetchone()
    if session is None:
        return []
    there: dict[str, set[str]] = {}
    for path in _files(directory, days, session_id):
        for event in read_events(path):
            if not isinstance(event, BadLine):
                kinds = there.setdefault(event.request_id, set())
                kinds.add(str(event.__struct_config__.tag))
    lost: list[SessionEvent] = []
    for row in connection.execute(row_events.FIND_EXCHANGES, (session_id, *ids)).fetchall():
        exchange, asked, answered = row_events.exchange(row)
        if not there and not lost:
            lost.append(row_events.started(session, exchange))
        tools = connection.execute(row_events.FIND_TOOLS, (session_id, exchange.request_id))
        kinds = there.get(exchange.request_id, set())
        lost += row_events.lacking(exchange, asked, answered, tools.fetchall(), kinds)
    return lost


def _files(directory: Path, days: list[str], session_id: str) -> Iterator[Path]:
    """Yield the files of a session, from the newest day that has one."""
    stem = file_stem(session_id)
    for day in days:
        found = [directory / day / f"{stem}{ending}" for ending in (COMPRESSED, PLAIN)]
        if any(path.is_file() for path in found):
            yield from (path for path in found if path.is_file())
            return


def _appended(appender: SessionAppender, session_id: str, events: list[SessionEvent]) -> int:
    """Append events to a session's file; return how many there were."""
    lines: list[bytes] = []
    for event in events:
        try:
            lines.append(event_line(event))
        except ValueError as error:  # arguments of a tool that were cut
            logger.warning("%s", error)
    if lines:
        appender.append(session_id, events[0].timestamp[:10], lines)
    return len(lines)
