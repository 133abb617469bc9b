"""One exchange, from the database and from its session's file."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from gateway_sessions import WrongQuery
from gateway_sessions.storage.readers import open_reader
from interceptors.dashboard.raw import RawExchange, exchange, pretty, with_events
from tests.interceptors.dashboard.served import database
from tests.recording.session_events import put
from tests.recording.talk import begun
from tests.recording.talk import exchange as events_of
from tests.storage.recorded import NOW, Talk


def read(folder: Path, request_id: str = "req_sess_1_2") -> RawExchange:
    made = Talk("sess_1", started=NOW - timedelta(hours=1)).ask("one").ask("two").call("grep", "c")
    path = database(folder / "s.db", [made.ask("three"), Talk("sess_2").ask("other")])
    with closing(open_reader(path)) as connection:
        return exchange(connection, "sess_1", request_id)


def test_it_knows_its_place(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.number, found.total) == (2, 3)
    assert (found.before, found.after) == ("req_sess_1_1", "req_sess_1_3")
    assert found.exchange.request_text == "two"
    assert [call.tool_name for call in found.calls] == ["grep"]


def test_the_ends_have_one_neighbour(tmp_path: Path) -> None:
    assert read(tmp_path, "req_sess_1_1").before is None


def test_one_of_another_session_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongQuery):
        read(tmp_path, "req_sess_2_1")


def test_the_file_has_what_went_over_the_wire(tmp_path: Path) -> None:
    first, others = begun("sess_1"), events_of(1)
    of_session = [msgspec.structs.replace(each, session_id="sess_1") for each in others]
    put(tmp_path / "files", first, *of_session, day="2026-01-31")
    found = read(tmp_path)
    mine = msgspec.structs.replace(
        found, exchange=msgspec.structs.replace(found.exchange, request_id=first.request_id)
    )
    whole = with_events(mine, tmp_path / "files")
    assert len(whole.events) == 1 + len(others)
    assert whole.response is not None
    assert with_events(found, tmp_path / "files").events == ()
    assert with_events(found, None) is found


@pytest.mark.parametrize(
    ("recorded", "text"),
    [(None, ""), (b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'), (b"no json \xff", "no json \ufffd")],
)
def test_json_as_people_read_it(recorded: bytes | None, text: str) -> None:
    assert pretty(None if recorded is None else msgspec.Raw(recorded)) == text
