"""The JSONL writer: strict lines, each session's own file, and nothing acknowledged is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_sessions import ConfigError, PartlyWritten, StartError, plugins, session_events
from gateway_sessions.config.recording import WriterEntry
from gateway_sessions.recording.session_files import SessionFolder
from gateway_sessions.recording.session_housekeeper import Housekeeper
from gateway_sessions.recording.session_keeping import Swept
from gateway_sessions.recording.session_reading import read_events
from interceptors.jsonl import JsonlWriter
from tests.recording.session_events import DAY, completed, failed, requested, started, strictly
from tests.recording.writers import PATIENCE

BEFORE_MIDNIGHT = f"{DAY}T23:59:59.999999Z"
MIDNIGHT = "2026-02-01T00:00:00.000000Z"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JsonlWriter]:
    made = JsonlWriter(tmp_path, max_open_files=2)
    made.open()
    yield made
    made.close()


def messages(root: Path, day: str = DAY) -> dict[str, list[str]]:
    """Return the messages of each session of a day, checking each line."""
    return {
        file.stem: [
            line["error_message"]
            for line in strictly(file.path.read_bytes())
            if line["type"] == "error"
        ]
        for file in SessionFolder(root).files(day)
    }


def refused(
    writer: JsonlWriter, batch: list[session_events.SessionEvent]
) -> list[session_events.SessionEvent]:
    """Write a batch and return what was not taken."""
    try:
        writer.write(batch)
    except PartlyWritten as partly:
        return list(partly.rest or batch)
    return []


def test_a_batch_of_alternating_sessions_keeps_the_order_of_each(
    writer: JsonlWriter, tmp_path: Path
) -> None:
    for batch in range(5):
        writer.write(
            [failed(f"s{n % 7}", message=f"{n}") for n in range(batch * 50, batch * 50 + 50)]
        )
    assert messages(tmp_path) == {
        f"s{session}": [f"{n}" for n in range(250) if n % 7 == session] for session in range(7)
    }


def test_a_batch_is_one_write_per_file(
    writer: JsonlWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, writes = os.write, [0]

    def write(descriptor: int, data: bytes) -> int:
        writes[0] += 1
        return really_write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        writer.write([failed(f"s{n % 5}") for n in range(100)])
    assert writes == [5]


def test_midnight_moves_new_sessions_and_no_old_ones(writer: JsonlWriter, tmp_path: Path) -> None:
    writer.write([started("old", BEFORE_MIDNIGHT), failed("old", BEFORE_MIDNIGHT, message="1")])
    writer.write([started("new", MIDNIGHT), failed("old", MIDNIGHT, message="2")])
    assert messages(tmp_path) == {"old": ["1", "2"]}
    assert messages(tmp_path, MIDNIGHT[:10]) == {"new": []}


def test_a_session_that_starts_anew_within_a_batch_gets_its_own_day(
    writer: JsonlWriter, tmp_path: Path
) -> None:
    writer.write(
        [
            started("a", BEFORE_MIDNIGHT),
            failed("a", BEFORE_MIDNIGHT, message="1"),
            completed("a", BEFORE_MIDNIGHT),
            started("a", MIDNIGHT, relation="reset"),
            failed("a", MIDNIGHT, message="2"),
        ]
    )
    assert messages(tmp_path) == {"a": ["1"]}
    assert messages(tmp_path, MIDNIGHT[:10]) == {"a": ["2"]}


def test_after_a_restart_each_session_goes_on_in_its_file(tmp_path: Path) -> None:
    for number, at in enumerate((BEFORE_MIDNIGHT, MIDNIGHT)):
        writer = JsonlWriter(tmp_path)
        writer.open()
        writer.write([failed("a", at, message=f"{number}")])
        writer.close()
    assert messages(tmp_path) == {"a": ["0", "1"]}


def test_one_bad_file_fails_only_its_events(writer: JsonlWriter, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    writer.write([started("good")])
    (tmp_path / DAY / "bad.jsonl").symlink_to(outside)
    bad = [failed("bad", message="x"), failed("bad", message="y")]
    with pytest.raises(PartlyWritten) as error:
        writer.write([bad[0], failed("good", message="1"), bad[1], failed("good", message="2")])
    assert (error.value.written, error.value.rest) == (2, bad)
    assert not isinstance(error.value.__cause__, OSError)
    assert messages(tmp_path) == {"good": ["1", "2"]}
    assert not outside.exists()


def test_on_a_full_disk_what_is_missing_can_be_given_again(
    writer: JsonlWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, room = os.write, [0]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = really_write(descriptor, data[: room[0]])
        room[0] -= count
        return count

    batch: list[session_events.SessionEvent] = [started("a"), started("b"), started("c")]
    batch += [failed("abc"[n % 3], message=f"{n}") for n in range(30)]
    rest, attempts = batch, 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        while rest:
            room[0] = 777
            attempts += 1
            rest = refused(writer, rest)
    assert attempts > 3
    assert messages(tmp_path) == {
        "abc"[n]: [f"{m}" for m in range(30) if m % 3 == n] for n in range(3)
    }


def test_a_session_that_starts_anew_is_not_written_before_its_own_past(
    writer: JsonlWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, failing = os.write, [True]

    def write(descriptor: int, data: bytes) -> int:
        if failing.pop() if failing else False:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really_write(descriptor, data)

    batch = [failed("a", message="1"), started("a"), failed("a", message="2")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(PartlyWritten) as error:
            writer.write(batch)
    assert error.value.rest == batch
    writer.write(batch)
    assert messages(tmp_path) == {"a": ["1", "2"]}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.text(st.characters(exclude_categories=()), max_size=40)),
        min_size=1,
        max_size=20,
    )
)
def test_every_line_is_strict_and_every_event_a_line(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    writer = JsonlWriter(root, max_open_files=2)
    writer.open()
    writer.write([failed(session_id, message=text) for session_id, text in texts])
    writer.close()
    lines = [
        line
        for file in SessionFolder(root).all_files()
        for line in strictly(file.path.read_bytes())
    ]
    told = [text.encode("utf-8", "replace").decode() for _, text in texts]
    assert sorted(line["error_message"] for line in lines) == sorted(told)


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    root = tmp_path / "new" / "sessions"
    before = os.umask(0)
    try:
        writer = JsonlWriter(root)
        writer.open()
        writer.write([started()])
        writer.close()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"new": 0o700, "sessions": 0o700, DAY: 0o700, "sess_a.jsonl": 0o600}


def test_flush_syncs_files_and_their_folders(
    writer: JsonlWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write([failed(f"s{n}") for n in range(3)])  # one of them is closed already
    inodes: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda one: inodes.append(os.fstat(one).st_ino))
        writer.flush()
        places = [*sorted((tmp_path / DAY).iterdir()), tmp_path / DAY]
        assert inodes == [place.stat().st_ino for place in places]
        writer.flush()
        assert len(inodes) == len(places)


def test_a_flush_that_fails_says_so_and_is_made_up_for(
    writer: JsonlWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer.write([started()])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            writer.flush()
    synced: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        writer.flush()
    assert len(synced) == 2


_WRITES_FOR_EVER = """
import sys
from interceptors.jsonl import JsonlWriter
from tests.recording.session_events import failed, started
writer = JsonlWriter(sys.argv[1], max_open_files=2)
writer.open()
sessions = [f"s{n}" for n in range(5)]
writer.write([started(session) for session in sessions])
number = 0
while True:
    batch = [failed(session, message=f"{number + n}", x="y" * 5000)
             for n in range(10) for session in sessions]
    writer.write(batch)
    writer.flush()
    number += 10
    print(number, flush=True)
"""


@pytest.mark.parametrize("flushes", [1, 2, 5, 9, 20])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, flushes: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(flushes)][-1]
        process.send_signal(signal.SIGKILL)
    writer = JsonlWriter(tmp_path)
    writer.open()
    writer.write([failed("s0", message="after")])
    writer.close()
    found = messages(tmp_path)
    assert found["s0"].pop() == "after"
    for session in range(5):
        kept = found[f"s{session}"]
        assert kept == [f"{n}" for n in range(len(kept))]
        assert len(kept) >= acknowledged


def test_a_half_line_is_cut_at_the_next_start(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path)
    writer.open()
    writer.write([failed("a", message="1"), failed("b", message="1")])
    writer.close()
    for name in "ab":
        with (tmp_path / DAY / f"{name}.jsonl").open("ab") as stream:
            stream.write(b'{"type":"error","mess')
    again = JsonlWriter(tmp_path)
    again.open()
    again.write([failed("a", message="2")])
    again.close()
    assert messages(tmp_path) == {"a": ["1", "2"], "b": ["1"]}


def test_old_files_are_seen_to_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked = threading.Event()
    really_work = Housekeeper.work

    def work(keeping: Housekeeper, now: float) -> Swept | None:
        try:
            return really_work(keeping, now)
        finally:
            worked.set()

    monkeypatch.setattr(Housekeeper, "work", work)
    writer = JsonlWriter(tmp_path, compress_after_days=0, max_age_days=None)
    writer.open()
    writer.write([started("a"), completed("a"), started("live")])
    writer.tick((tmp_path / DAY / "live.jsonl").stat().st_mtime + 366 * 86_400)
    assert worked.wait(PATIENCE)
    writer.close()
    found = SessionFolder(tmp_path).files(DAY)
    assert [(file.stem, file.compressed) for file in found] == [
        ("a", True),
        ("live", False),
    ]
    kinds = [type(event) for event in read_events(tmp_path / DAY / "a.jsonl.zst")]
    assert kinds == [session_events.Started, session_events.Completed]


def test_a_folder_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not write there"):
        JsonlWriter(tmp_path / "file" / "d").open()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_age_days", 0),
        ("max_total_size_gb", -1),
        ("compress_after_days", -1),
        ("cleanup_interval_minutes", 0),
        ("max_open_files", 0),
        ("directry", "x"),
    ],
)
def test_its_options_are_checked(tmp_path: Path, option: str, value: object) -> None:
    entry = WriterEntry(type="jsonl", config={"directory": str(tmp_path), option: value})
    with pytest.raises(ConfigError, match=option):
        plugins.check(entry, plugins.WRITER)


def test_bodies_go_in_as_they_are(writer: JsonlWriter, tmp_path: Path) -> None:
    body = {"a": [1, 2.5, None, "é\u2028"], "b": {"c": True}}
    writer.write([requested(body=json.dumps(body, indent=1).encode())])
    (line,) = strictly((tmp_path / DAY / "sess_a.jsonl").read_bytes())
    assert line["request_json"] == body
