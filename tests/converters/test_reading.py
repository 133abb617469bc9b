"""Which program a log comes from is found out, and the log is read to its end."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from gateway_sessions.converters import FORMATS, Notes, Source, exchanges
from gateway_sessions.converters.reading import recognised
from gateway_sessions.errors import UnreadableLog
from tests.converters.logs import EGG, FIRST, SECOND, Json, chat_reply, lines, read, relations, row


def own(second: int, messages: list[Json]) -> Json:
    return {
        "request_id": f"r{second}",
        "timestamp": f"2026-01-20T10:30:{second:02}Z",
        "request": {"path": "/v1/chat/completions", "body": {"messages": messages}},
        "response": {"body": chat_reply(), "duration_ms": 500},
    }


def spend(second: int, messages: list[Json]) -> Json:
    return {
        "request_id": f"r{second}",
        "call_type": "acompletion",
        "startTime": f"2026-01-20 10:30:{second:02}",
        "endTime": f"2026-01-20 10:30:{second + 1:02}",
        "proxy_server_request": json.dumps({"messages": messages}),
        "response": json.dumps(chat_reply()),
    }


def line(second: int, messages: list[Json]) -> Json:
    time = f"2026-01-20T10:30:{second:02}Z"
    return {"id": f"r{second}", "timestamp": time, "messages": messages, "response": EGG}


def entry(second: int, messages: list[Json]) -> Json:
    return {
        "startedDateTime": f"2026-01-20T10:30:{second:02}Z",
        "time": 500,
        "request": {
            "method": "POST",
            "url": "https://api.example.com/v1/chat/completions",
            "headers": [],
            "postData": {"text": json.dumps({"messages": messages})},
        },
        "response": {"status": 200, "content": {"text": json.dumps(chat_reply())}},
    }


def table(*rows: Json) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


ROWS = {"exchange": own, "litellm": spend, "openai": line, "har": entry}
LOGS = {
    "exchange": lines(own(1, FIRST), own(5, SECOND)),
    "exchanges in a list": json.dumps([own(1, FIRST), own(5, SECOND)]),
    "litellm lines": lines(spend(1, FIRST), spend(5, SECOND)),
    "litellm list": json.dumps([spend(1, FIRST), spend(5, SECOND)], indent=2),
    "litellm page": json.dumps({"data": [spend(1, FIRST), spend(5, SECOND)], "total": 2}),
    "litellm table": table(spend(1, FIRST), spend(5, SECOND)),
    "openai lines": lines(line(1, FIRST), line(5, SECOND)),
    "openai list": json.dumps([line(1, FIRST), line(5, SECOND)]),
    "har": json.dumps({"log": {"version": "1.2", "entries": [entry(1, FIRST), entry(5, SECOND)]}}),
    "har, indented": json.dumps(
        {"log": {"entries": [entry(1, FIRST), entry(5, SECOND)]}}, indent=2
    ),
}


@pytest.mark.parametrize("log", LOGS)
def test_every_log_is_recognised_and_its_conversation_found(log: str) -> None:
    assert relations(read(LOGS[log])) == ["first", "continue"]


@pytest.mark.parametrize("form", ROWS)
def test_a_row_is_known_by_its_fields(form: str) -> None:
    assert recognised(row(ROWS[form](1, FIRST))) == form
    assert tuple(ROWS) == FORMATS


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"request_id": "x"}])
def test_other_rows_are_of_no_format(values: Json) -> None:
    assert recognised(row(values)) is None


def test_the_format_can_be_told() -> None:
    with pytest.raises(UnreadableLog, match=r"^log, line 1: not a row of LiteLLM's"):
        read(LOGS["openai lines"], "litellm")
    assert len(read(lines(entry(1, FIRST), entry(5, SECOND)), "har")) == 2


@pytest.mark.parametrize("log", ["litellm lines", "openai lines", "har"])
def test_other_programs_logs_are_put_into_order(log: str) -> None:
    def backwards(text: str) -> str:
        if log == "har":
            return json.dumps({"log": {"entries": [entry(5, SECOND), entry(1, FIRST)]}})
        return "".join(reversed(text.splitlines(keepends=True)))

    assert relations(read(backwards(LOGS[log]))) == ["first", "continue"]


def test_our_own_logs_are_read_line_by_line() -> None:
    given: list[bytes] = []

    class Pipe(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            given.append(super().readline(size))
            return given[-1]

    found = exchanges(Source(Pipe(LOGS["exchange"].encode()), "log"), Notes(), _never)
    assert next(found).request_id == "r1"
    assert len(given) == 1


def _never(error: UnreadableLog) -> None:
    raise AssertionError(error)


def test_exchanges_without_an_id_are_named_by_their_place() -> None:
    assert [found.request_id for found in read(LOGS["har"], name="page.har")] == [
        "page.har:1",
        "page.har:2",
    ]


@pytest.mark.parametrize("log", ["exchange", "litellm lines", "openai lines"])
def test_bad_rows_are_told_and_left_out(log: str) -> None:
    told: list[str] = []
    good = LOGS[log].splitlines(keepends=True)
    data = "{broken\n" + good[0] + '{"a": 1}\n' + good[1]
    source = Source(io.BytesIO(data.encode()), "log")
    found = list(exchanges(source, Notes(), lambda error: told.append(str(error))))
    assert relations(found) == ["first", "continue"]
    assert [text.partition(": ")[0] for text in told] == ["log, line 1", "log, line 3"]


def test_a_log_that_breaks_off_is_told_after_what_it_has() -> None:
    told: list[str] = []
    source = Source(io.BytesIO(LOGS["litellm list"][:-4].encode()), "log")
    found = list(exchanges(source, Notes(), lambda error: told.append(str(error))))
    assert len(found) == 1
    assert told == ["log ends in the middle of its list, after entry 1."]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("{broken\n", "log, line 1: not an exchange (JSON is malformed: "),
        ('{"timestamp": 5}\n', "log, line 1: not an exchange (Expected `datetime`"),
        ('[{"timestamp": 5}]', "log, entry 1: not an exchange (Expected `datetime`"),
        (
            "name,age\nann,5\n",
            (
                "log, line 2: of a table of unknown kind; LiteLLM's spend logs have the columns"
                " startTime, call_type and proxy_server_request."
            ),
        ),
    ],
)
def test_what_is_no_log_is_told_in_a_sentence(data: str, error: str) -> None:
    with pytest.raises(UnreadableLog) as raised:
        read(data)
    assert str(raised.value).startswith(error)


def test_nothing_holds_nothing() -> None:
    assert read("") == read("[]") == read('{"log": {"entries": []}}' + " " * 80) == []


def test_entries_of_no_interest_are_counted() -> None:
    script: dict[str, Any] = entry(1, FIRST)
    script["request"] = script["request"] | {"method": "GET"}
    notes = Notes()
    found = read(json.dumps({"log": {"entries": [script, entry(5, FIRST)]}}), notes=notes)
    assert len(found) == 1
    assert notes == Notes(exchanges=1, others=1)
