"""What session files hold, in batches, to put it into a database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from gateway_sessions.errors import UnreadableLog
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.session_files import (
    COMPRESSED,
    PLAIN,
    SessionFolder,
    file_stem,
    is_day,
)
from gateway_sessions.recording.session_lines import BadLine
from gateway_sessions.recording.session_reading import read_events

logger = logging.getLogger(__name__)

BATCH = 200
"""Events of a batch: a few milliseconds of writing, for which live events wait."""


def recorded_events(directory: Path, since: float = 0.0) -> Iterator[list[SessionEvent]]:
    """Yield the events of all session files that were written to at ``since`` or later.

    ``since`` is in unix time.  A batch holds events of one session, in their order.  What can
    not be read is logged and left out.  A folder that is not there holds nothing.
    """
    if not directory.is_dir():
        return
    for file in SessionFolder(directory).all_files():
        if file.changed < since:
            continue
        batch: list[SessionEvent] = []
        try:
            for event in read_events(file.path):
                if isinstance(event, BadLine):
                    logger.warning("%s", event.problem)
                    continue
                batch.append(event)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        except UnreadableLog as error:
            logger.warning("%s", error)
        if batch:
            yield batch


def events_of_session(directory: Path, session_id: str, day: str) -> Iterator[SessionEvent]:
    """Yield what the session files hold of one session, in its order.

    ``day`` is the UTC day on which it started, ``2026-01-31``.  Lines that can not be read are
    left out; where there is no file there is nothing.  Raises `UnreadableLog` for a file that
    can not be read at all.
    """
    for ending in (COMPRESSED, PLAIN) if is_day(day) else ():
        path = directory / day / f"{file_stem(session_id)}{ending}"
        if not path.is_file():
            continue
        for event in read_events(path):
            if not isinstance(event, BadLine):
                yield event
