"""Lines get to the right file, whichever day it is, however few files may be open."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_sessions.errors import StartError
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_appending import SessionAppender, UnwritableFile
from gateway_sessions.recording.session_files import file_stem
from tests.recording.session_events import DAY, strictly
from tests.recording.test_session_files import HOSTILE

NEXT_DAY = "2026-02-01"
LATER = "2026-02-03"


def line(number: int) -> bytes:
    return b'{"n":%d}\n' % number


def numbers(path: Path) -> list[int]:
    return [found["n"] for found in strictly(path.read_bytes())]


def placed(root: Path) -> dict[str, list[int]]:
    """Return the numbers in all files, and check that each begins as it has to."""
    found = {}
    for path in sorted(root.rglob("*.jsonl")):
        versions = ["record_version" in entry for entry in strictly(path.read_bytes())]
        assert versions == [True] + [False] * (len(versions) - 1)
        found[str(path.relative_to(root))] = numbers(path)
    return found


@pytest.fixture
def appender(tmp_path: Path) -> Iterator[SessionAppender]:
    made = SessionAppender(tmp_path, max_open=2)
    made.open()
    yield made
    made.close()


def restarted(root: Path) -> SessionAppender:
    made = SessionAppender(root)
    made.open()
    return made


def test_sessions_that_alternate_keep_their_order(
    appender: SessionAppender, tmp_path: Path
) -> None:
    for number in range(60):
        appender.append(f"s{number % 6}", DAY, [line(number)], starts=number < 6)
    assert placed(tmp_path) == {f"{DAY}/s{n}.jsonl": [*range(n, 60, 6)] for n in range(6)}


def test_no_more_files_are_open_than_allowed(appender: SessionAppender) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(10):
        appender.append(f"s{number}", DAY, [line(number)], starts=True)
    assert len(list(Path("/dev/fd").iterdir())) - before <= 3  # two files and the day's folder


def test_a_session_stays_in_the_folder_of_its_first_day(
    appender: SessionAppender, tmp_path: Path
) -> None:
    appender.append("a", DAY, [line(1)], starts=True)
    appender.append("a", NEXT_DAY, [line(2)])
    for other in ("b", "c"):  # so that it is opened again
        appender.append(other, NEXT_DAY, [line(0)], starts=True)
    appender.append("a", NEXT_DAY, [line(3)])
    assert placed(tmp_path)[f"{DAY}/a.jsonl"] == [1, 2, 3]
    assert placed(tmp_path).keys() == {f"{DAY}/a.jsonl", *(f"{NEXT_DAY}/{n}.jsonl" for n in "bc")}


def test_after_a_restart_a_session_goes_on_in_its_old_file(tmp_path: Path) -> None:
    first = restarted(tmp_path)
    first.append("a", DAY, [line(1)], starts=True)
    first.append("b", NEXT_DAY, [line(1)], starts=True)
    first.close()
    second = restarted(tmp_path)
    second.append("a", LATER, [line(2)])
    second.close()
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1, 2], f"{NEXT_DAY}/b.jsonl": [1]}


def test_a_session_without_a_beginning_gets_a_file_of_its_first_event(
    appender: SessionAppender, tmp_path: Path
) -> None:
    appender.append("a", DAY, [line(1), line(2)])
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1, 2]}


def test_a_session_that_starts_anew_gets_a_file_of_the_new_day(
    appender: SessionAppender, tmp_path: Path
) -> None:
    appender.append("a", DAY, [line(1)], starts=True)
    appender.append("a", NEXT_DAY, [line(2)], starts=True)
    appender.append("a", NEXT_DAY, [line(3)], starts=True)
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1], f"{NEXT_DAY}/a.jsonl": [2, 3]}


def test_what_follows_a_compressed_part_is_put_beside_it(
    appender: SessionAppender, tmp_path: Path
) -> None:
    appender.append("b", DAY, [line(0)], starts=True)
    (tmp_path / DAY / "a.jsonl.zst").write_bytes(b"")
    appender.append("a", NEXT_DAY, [line(1)])
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1], f"{DAY}/b.jsonl": [0]}


def test_a_session_that_has_ended_is_closed(appender: SessionAppender, tmp_path: Path) -> None:
    appender.append("a", DAY, [line(1)], starts=True, ends=True)
    with (tmp_path / DAY / "a.jsonl").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_files_that_rest_are_closed_and_found_again(
    appender: SessionAppender, tmp_path: Path
) -> None:
    appender.append("a", DAY, [line(1)], starts=True)
    appender.turn()
    with (tmp_path / DAY / "a.jsonl").open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        appender.turn()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    appender.append("a", DAY, [line(2)])
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1, 2]}


def test_a_removed_day_is_made_again(appender: SessionAppender, tmp_path: Path) -> None:
    appender.append("a", DAY, [line(1)], starts=True, ends=True)
    (tmp_path / DAY / "a.jsonl").unlink()
    (tmp_path / DAY).rmdir()
    appender.append("a", DAY, [line(2)])
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [2]}


@pytest.mark.parametrize(
    "place",
    [
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("../outside"),
        lambda path: path.mkdir(),
        os.mkfifo,
    ],
    ids=["link", "dangling", "folder", "pipe"],
)
@pytest.mark.parametrize("starts", [True, False])
def test_what_is_in_a_files_place_fails_that_file_only(
    appender: SessionAppender, tmp_path: Path, place: Callable[[Path], None], starts: bool
) -> None:
    appender.append("b", DAY, [line(0)], starts=True)
    place(tmp_path / DAY / "a.jsonl")
    with pytest.raises(UnwritableFile, match=r"a\.jsonl: can not be written .*; remove what is"):
        appender.append("a", DAY, [line(1)], starts=starts)
    appender.append("b", DAY, [line(1)])
    assert not (tmp_path / "outside").exists()
    assert numbers(tmp_path / DAY / "b.jsonl") == [0, 1]


def test_a_day_that_is_a_link_is_not_followed(appender: SessionAppender, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / DAY).symlink_to(outside)
    with pytest.raises(UnwritableFile):
        appender.append("a", DAY, [line(1)], starts=True)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.EIO, errno.EROFS])
def test_a_fault_of_the_system_is_told_as_such(
    appender: SessionAppender, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=rf"\[Errno {code}\]"):
        appender.append("a", DAY, [line(1)], starts=True)


def test_a_half_written_line_is_taken_back_and_the_rest_follows_it(
    appender: SessionAppender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appender.append("a", DAY, [line(1)], starts=True)
    really_write, room = os.write, [12]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = really_write(descriptor, data[: room[0]])
        room[0] -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(PartlyWritten) as error:
            appender.append("a", DAY, [line(2), line(3)])
    assert error.value.written == 1
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1, 2]}
    appender.append("a", DAY, [line(3)])
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1, 2, 3]}


def test_a_first_line_that_failed_begins_the_file_when_it_is_written_again(
    appender: SessionAppender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(PartlyWritten):
            appender.append("a", DAY, [line(1)], starts=True)
    appender.append("a", DAY, [line(1)], starts=True)
    assert placed(tmp_path) == {f"{DAY}/a.jsonl": [1]}


def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "down" / "root"
    appender = restarted(root)
    for number, session_id in enumerate(HOSTILE):
        appender.append(session_id, DAY, [line(number)], starts=True)
    appender.close()
    files = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert {path.parent for path in files} == {root / DAY}
    assert {path.name for path in files} == {f"{file_stem(one)}.jsonl" for one in HOSTILE}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    folders = (root / DAY, root, root.parent)
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_folder_that_can_not_be_locked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StartError, match=r"can not be locked there .* on a local disk"):
        SessionAppender(tmp_path).open()


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not write there"):
        SessionAppender(tmp_path / "file" / "d").open()


def test_a_file_whose_folder_is_always_removed_is_an_error(
    appender: SessionAppender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def without_folder(path: str | Path, *arguments: int, **more: int) -> int:
        if str(path).endswith(".jsonl"):
            (tmp_path / DAY).rmdir()
        return really_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", without_folder)
    with pytest.raises(OSError, match="again and again"):
        appender.append("a", DAY, [line(1)], starts=True)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from([DAY, NEXT_DAY, LATER]),
            st.sampled_from(["start", "go on", "end", "turn", "restart"]),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_or_mixed_up_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    appender = SessionAppender(root, max_open=2)
    appender.open()
    written: dict[str, list[int]] = {}
    for number, (session, day, step) in enumerate(steps):
        if step == "turn":
            appender.turn()
        elif step == "restart":
            appender.close()
            appender = SessionAppender(root, max_open=2)
            appender.open()
        else:
            appender.append(
                session, day, [line(number)], starts=step == "start", ends=step == "end"
            )
            written.setdefault(session, []).append(number)
    appender.close()
    found: dict[str, list[int]] = {}
    for name, content in placed(root).items():
        assert content == sorted(content)
        found.setdefault(Path(name).stem, []).extend(content)
    assert {name: sorted(content) for name, content in found.items()} == written


@pytest.mark.parametrize(
    ("allowed", "held"), [(resource.RLIM_INFINITY, 4096), (1024, 256), (100_000, 4096), (2, 1)]
)
def test_as_many_files_are_held_open_as_the_system_allows_four_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int, held: int
) -> None:
    appender = SessionAppender(tmp_path)
    # Its process may be allowed more than the one in which it was made.
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    appender.open()
    assert appender.max_open == held
    appender.close()
