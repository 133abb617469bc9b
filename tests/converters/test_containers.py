"""Rows out of lines, lists and tables, whatever the cut of the bytes and wherever they end."""

from __future__ import annotations

import io
import json
from typing import Any, ClassVar

import pytest

from gateway_sessions.converters import containers
from gateway_sessions.converters.containers import Row, Source, rows
from gateway_sessions.errors import UnreadableLog


def source(data: bytes | str) -> Source:
    return Source(io.BytesIO(data.encode() if isinstance(data, str) else data), "log")


def places(data: bytes | str) -> list[tuple[str, object]]:
    return [(row.place, row.values()) for row in rows(source(data))]


class TestLines:
    def test_each_line_is_a_row_and_blank_ones_are_none(self) -> None:
        assert places('{"a": 1}\n\n  \n{"a": 2}') == [
            ("log, line 1", {"a": 1}),
            ("log, line 4", {"a": 2}),
        ]

    def test_lines_longer_than_the_look_ahead_are_whole(self) -> None:
        text = "x" * (3 * containers.CHUNK)
        found = places(json.dumps({"a": text}) + '\n{"a": 2}\n')
        assert found == [("log, line 1", {"a": text}), ("log, line 2", {"a": 2})]

    def test_short_lines_before_the_look_ahead_is_full_are_kept(self) -> None:
        data = "".join(f'{{"a": {n}}}\n' for n in range(20))
        assert [values for _, values in places(data)] == [{"a": n} for n in range(20)]

    def test_a_byte_order_mark_is_no_part_of_the_first_row(self) -> None:
        assert places(b"\xef\xbb\xbf" + b'{"a": 1}\n') == [("log, line 1", {"a": 1})]

    def test_nothing_has_no_rows(self) -> None:
        assert places("") == places("\n \n") == []

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("[1", "log ends in the middle of its list, after entry 0."),
            ("5", "log, line 1: no JSON object."),
            ("{x", "log, line 1: no JSON object (JSON is malformed: "),
        ],
    )
    def test_what_is_no_object_is_named(self, line: str, error: str) -> None:
        with pytest.raises(UnreadableLog) as raised:
            places(line)
        assert str(raised.value).startswith(error)

    def test_a_line_without_end_is_refused_before_it_fills_the_memory(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(containers, "LONGEST_ROW", 1024 * 1024)
        with pytest.raises(UnreadableLog) as raised:
            places(
                '{"a": 1, "b": "a longer line, so that nothing is looked at beyond"}\n'
                + "x" * 3_000_000
            )
        assert str(raised.value) == "log, line 2: longer than 1 MB, which no exchange is."

    def test_a_line_is_read_before_the_next_one_is_there(self) -> None:
        class Pipe(io.BytesIO):
            def readline(self, size: int | None = -1, /) -> bytes:
                line = super().readline(size)
                assert line, "the next line is not there yet"
                return line

        long = json.dumps({"a": "x" * 100}).encode() + b"\n"
        found = rows(Source(Pipe(long), "log"))
        assert next(found).number == 1


class TestLists:
    ROWS: ClassVar[list[dict[str, Any]]] = [{"a": 1, "b": "],{"}, {"a": [2, {"c": "\\"}]}, {"a": 3}]

    @pytest.mark.parametrize("indent", [None, 1])
    @pytest.mark.parametrize(
        "around", ["%s", '{"data": %s, "total": 3}', '\n {"object": "list",\n"data":%s}']
    )
    def test_elements_are_rows(self, indent: int | None, around: str) -> None:
        assert places(around % json.dumps(self.ROWS, indent=indent)) == [
            (f"log, entry {n}", values) for n, values in enumerate(self.ROWS, 1)
        ]

    def test_archives_are_lists_of_entries(self) -> None:
        log = {"version": "1.2", "comment": '"entries": [{"a": 9}]', "pages": [{"a": 8}]}
        archive = json.dumps({"log": log | {"entries": self.ROWS}}, indent=1)
        assert [values for _, values in places(archive)] == self.ROWS

    @pytest.mark.parametrize("chunk", [1, 7, 64])
    def test_chunks_may_end_anywhere(self, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers, "CHUNK", chunk)
        archive = json.dumps({"log": {"pages": ["x" * 90], "entries": self.ROWS}})
        assert [values for _, values in places(archive)] == self.ROWS

    def test_an_empty_list_has_no_rows(self) -> None:
        assert places("[]") == []

    def test_a_list_that_breaks_off_says_so_after_its_rows(self) -> None:
        found = rows(source(json.dumps(self.ROWS)[:-3]))
        assert [next(found).number, next(found).number] == [1, 2]
        with pytest.raises(UnreadableLog) as raised:
            next(found)
        assert str(raised.value) == "log ends in the middle of its list, after entry 2."

    def test_an_archive_without_entries_says_so(self) -> None:
        with pytest.raises(UnreadableLog, match=r"^log has no list of entries\.$"):
            places('{"log": {"version": "1.2", "pages": []}}' + " " * 100)

    def test_a_list_is_not_looked_for_forever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers, "LONGEST_START", 1000)
        monkeypatch.setattr(containers, "CHUNK", 100)
        archive = json.dumps({"log": {"pages": ["x" * 5000], "entries": []}}, indent=0)
        stream = io.BytesIO(archive.encode())
        with pytest.raises(UnreadableLog, match=r"^log has no list of entries\.$"):
            list(rows(Source(stream, "log")))

    def test_an_entry_that_is_too_long_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers, "LONGEST_ROW", 1024 * 1024)
        with pytest.raises(UnreadableLog) as raised:
            places(json.dumps([{"a": 1}, {"a": "x" * 1_100_000}, {"a": 3}]))
        assert str(raised.value) == "log, near entry 3: longer than 1 MB, which no exchange is."


class TestTables:
    def test_records_are_rows_without_their_empty_cells(self) -> None:
        data = 'request_id,startTime,messages\nr1,now,"{""a"": ""x,\ny""}"\nr2,,{}\n'
        assert places(data) == [
            ("log, line 2", {"request_id": "r1", "startTime": "now", "messages": '{"a": "x,\ny"}'}),
            ("log, line 4", {"request_id": "r2", "messages": "{}"}),
        ]

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_other_separators_are_seen(self, separator: str) -> None:
        data = f'"id"{separator}"startTime"\n1{separator}2\n'
        assert places(data) == [("log, line 2", {"id": "1", "startTime": "2"})]

    def test_a_record_of_another_length_is_named_and_the_next_one_is_read(self) -> None:
        _, short, good = rows(source("id,startTime\n1,2\n\n1,2,3\n5,6\n"))
        with pytest.raises(UnreadableLog) as raised:
            short.values()
        assert str(raised.value) == "log, line 4: 3 columns where the first line names 2."
        assert (good.place, good.values()) == ("log, line 5", {"id": "5", "startTime": "6"})

    def test_a_quote_that_never_ends_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers, "LONGEST_ROW", 1000)
        with pytest.raises(UnreadableLog) as raised:
            places('id,startTime\n1,"' + "two\n" * 1000)
        assert str(raised.value).startswith("log, line 252: not a row of a table (field larger")

    def test_cells_are_searched(self) -> None:
        cells = Row("log", 2, "line", cells={"a": "1", "b": "x litellm_truncated y"})
        assert cells.holds("litellm_truncated")
        assert not cells.holds("other")
        assert Row("log", 2, "line", b'{"a": "x litellm_truncated"}').holds("litellm_truncated")


def test_bytes_are_counted_as_they_are_taken() -> None:
    data = b'{"a": 1}\n' * 500
    taken: list[int] = []
    found = rows(Source(io.BytesIO(data), "log", taken.append))
    next(found)
    assert sum(taken) < 100
    list(found)
    assert sum(taken) == len(data)
    taken.clear()
    list(rows(Source(io.BytesIO(b"[" + b'{"a": 1},' * 500 + b'{"a": 2}]'), "log", taken.append)))
    assert sum(taken) == 2 + 9 * 500 + 8
