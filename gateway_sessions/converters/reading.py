"""Finds out what a log is, and reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from gateway_sessions.converters import har, litellm, openai_log
from gateway_sessions.converters.containers import Row, Source, rows
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.order import in_order
from gateway_sessions.converters.shapes import ASKING
from gateway_sessions.converters.values import mapping
from gateway_sessions.dialects.parsing import Json
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange, read_line

EXCHANGE, LITELLM, OPENAI, HAR = "exchange", "litellm", "openai", "har"

Convert = Callable[[Row, Notes], LoggedExchange | None]


def _own(row: Row, notes: Notes) -> LoggedExchange:
    if row.cells is not None:
        row.values()
        raise UnreadableLog(
            f"{row.place}: of a table of unknown kind; LiteLLM's spend logs have the columns "
            "startTime, call_type and proxy_server_request."
        )
    exchange = read_line(row.raw, row.name, row.number, row.unit)
    notes.exchanges += 1
    return exchange


_CONVERT: Mapping[str, Convert] = {
    EXCHANGE: _own,
    LITELLM: litellm.exchange,
    OPENAI: openai_log.exchange,
    HAR: har.exchange,
}
FORMATS = tuple(_CONVERT)
"""The names of all formats; the first is our own."""


def exchanges(
    source: Source,
    notes: Notes,
    bad: Callable[[UnreadableLog], None],
    form: str | None = None,
) -> Iterator[LoggedExchange]:
    """Yield the exchanges of a log, in the order of time where it is another program's.

    Args:
        source: the log.
        notes: where to count what it does not tell.
        bad: called with the error for a row that can not be read; if it returns, the row is
            left out.
        form: one of `FORMATS`; None to go by the first row that is of any.
    """
    reader = _Reader(source, notes, bad, form)
    found = reader.exchanges()
    first = next(found, None)
    if first is None:
        return
    found = chain([first], found)
    # Our own logs are in order, and a pipe's verdicts must not wait for what is yet to come.
    yield from found if reader.form == EXCHANGE else in_order(found, source.name)


class _Reader:
    """Reads the rows of one log."""

    def __init__(
        self, source: Source, notes: Notes, bad: Callable[[UnreadableLog], None], form: str | None
    ) -> None:
        self.form = form
        self._source = source
        self._notes = notes
        self._bad = bad

    def exchanges(self) -> Iterator[LoggedExchange]:
        for row in self._rows():
            if self.form is None:
                self.form = recognised(row)
            try:
                exchange = _CONVERT[self.form or EXCHANGE](row, self._notes)
            except UnreadableLog as error:
                self._bad(error)
                continue
            if exchange is not None:
                exchange.request_id = exchange.request_id or f"{row.name}:{row.number}"
                yield exchange

    def _rows(self) -> Iterator[Row]:
        try:
            yield from rows(self._source)
        except UnreadableLog as error:
            self._bad(error)  # What follows in the file can not be told from it.


def recognised(row: Row) -> str | None:
    """Return the format of a row, None if it is of none."""
    try:
        values = row.values()
    except UnreadableLog:
        return None
    return next((form for form, is_its in _SIGNS if is_its(values)), None)


def _is_exchange(values: Json) -> bool:
    return "timestamp" in values and "path" in mapping(values.get("request"))


def _is_litellms(values: Json) -> bool:
    return "startTime" in values and any(name in values for name in ("call_type", "api_key"))


def _is_openais(values: Json) -> bool:
    return "request" in values or any(name in values for name in ASKING)


_SIGNS: tuple[tuple[str, Callable[[Json], bool]], ...] = (
    (EXCHANGE, _is_exchange),
    (HAR, lambda values: "startedDateTime" in values),
    (LITELLM, _is_litellms),
    (OPENAI, _is_openais),
)
"""How rows are told, the first that fits."""
