"""Blocks of a mapped file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.index.mapped_file import ENTRY, SLOT, TABLES, WORDS, MappedFile, kind_for
from gateway_sessions.index.store import StoreFailed


@pytest.fixture
def file(tmp_path: Path) -> MappedFile:
    return MappedFile(tmp_path / "sessions", 16)


def test_nobody_else_can_read_it(tmp_path: Path, file: MappedFile) -> None:
    assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o600
    file.close()
    file.close()


def test_blocks_never_overlap_and_are_used_again(file: MappedFile) -> None:
    assert file.lock()
    kinds = [ENTRY, SLOT, kind_for(9), kind_for(100)] * 5
    blocks = [(file.take(kind), kind) for kind in kinds]
    used = [word for block, kind in blocks for word in range(block, block + WORDS[kind])]
    assert len(used) == len(set(used))
    assert min(used) == TABLES + 16
    for block, kind in blocks:
        file.give(block, kind)
    assert sorted((file.take(kind), kind) for kind in kinds) == sorted(blocks)
    file.close()


def test_a_block_that_was_given_back_keeps_its_first_word(file: MappedFile) -> None:
    """Where the number of a session stands: 0, so that nothing leads to it any more."""
    first, second = file.take(SLOT), file.take(SLOT)
    for block in (first, second):
        file.words[block] = 0
        file.give(block, SLOT)
    assert [file.words[block] for block in (first, second)] == [0, 0]
    file.close()


def test_the_kind_for_a_size_is_the_smallest_that_has_room() -> None:
    for words in (1, 32, 33, 48, 49, 1000, 100_000):
        kind = kind_for(words)
        assert kind > SLOT
        assert WORDS[kind] >= words
        assert kind == SLOT + 1 or WORDS[kind - 1] < words
    with pytest.raises(StoreFailed):
        kind_for(2 * WORDS[-1])


def test_who_comes_second_finds_what_the_first_has_made(tmp_path: Path, file: MappedFile) -> None:
    block = file.take(SLOT)
    file.words[block] = 77
    other = MappedFile(tmp_path / "sessions", 16)
    assert other.words[block] == 77
    file.reserve(10**6)
    block = file.take(kind_for(10**6))
    file.words[block + 10**6 - 1] = 78
    assert other.lock()
    assert other.words[block + 10**6 - 1] == 78
    other.close()
    file.close()


def test_a_process_that_was_killed_while_it_made_room_harms_nobody(
    tmp_path: Path, file: MappedFile
) -> None:
    with (tmp_path / "sessions").open("r+b") as grown:
        grown.truncate(2**23)  # and nobody has said so
    late = MappedFile(tmp_path / "sessions", 16)
    assert late.lock()
    late.reserve(2**19)
    block = late.take(kind_for(2**19))
    late.words[block + 2**19 - 1] = 5
    late.unlock()
    assert file.lock()
    assert file.words[block + 2**19 - 1] == 5
    file.close()
    late.close()


def test_a_file_that_was_left_half_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "half").write_bytes(bytes(5000))
    file = MappedFile(tmp_path / "half", 16)
    assert file.take(SLOT) == TABLES + 16
    file.close()
