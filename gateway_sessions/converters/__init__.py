"""Logs of other programs as exchanges, so that people can try detection on what they have.

A log is first cut into rows (`containers`: lines, the elements of a list, the records of a
table), then each row is turned into a `LoggedExchange` by the module of its format:
`litellm`, `openai_log`, `har`.  `reading` finds out which, and puts what is a little out of
order into the order of time (`order`).  Nothing is ever read as a whole.
"""

from __future__ import annotations

from gateway_sessions.converters.containers import Source
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.reading import FORMATS, exchanges

__all__ = ["FORMATS", "Notes", "Source", "exchanges"]
