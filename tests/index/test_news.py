from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from random import Random

import pytest

from gateway_sessions.index.news import News, append, packed, unpacked


@pytest.fixture
def file() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE news (seq INTEGER PRIMARY KEY, n, added, outdated)")
    yield connection
    connection.close()


def rows(file: sqlite3.Connection) -> int:
    (found,) = file.execute("SELECT COUNT(*) FROM news").fetchone()
    return int(found)


def test_keys_survive_as_bytes() -> None:
    keys = (-(2**63), -1, 0, 2**63 - 1)
    assert unpacked(packed(keys)) == keys
    assert unpacked(b"") == ()


def test_what_was_said_last_counts(file: sqlite3.Connection) -> None:
    news = News()
    append(file, 1, [10, 11], [])
    append(file, 2, [10], [11])
    append(file, 1, [12], [11])
    news.read(file, 0)
    assert sorted(news.of(10, [], 99)) == [1, 2]
    assert list(news.of(11, [1, 3], 99)) == [3]
    assert list(news.of(12, (), 99)) == [1]
    assert list(news.of(99, [5], 99)) == [5]


def test_what_was_told_here_need_not_be_read(file: sqlite3.Connection) -> None:
    news = News()
    news.wrote(append(file, 1, [10], []), 1, [10], [])
    file.execute("UPDATE news SET added = x''")  # nobody reads it any more
    news.read(file, 0)
    assert list(news.of(10, (), 99)) == [1]


def test_what_others_told_in_between_comes_first(file: sqlite3.Connection) -> None:
    news = News()
    append(file, 1, [10], [])
    news.wrote(append(file, 1, [], [10]), 1, [], [10])
    news.read(file, 0)
    assert list(news.of(10, (), 99)) == []


def test_no_change_is_no_news(file: sqlite3.Connection) -> None:
    assert append(file, 1, [], []) == 0
    assert rows(file) == 0


def test_who_reads_again_learns_what_is_new(file: sqlite3.Connection) -> None:
    news = News()
    append(file, 1, [10], [])
    news.read(file, 0)
    append(file, 2, [10], [])
    news.read(file, 0)
    assert sorted(news.of(10, [], 99)) == [1, 2]


def test_of_very_many_those_that_were_added_last_are_enough(file: sqlite3.Connection) -> None:
    news = News()
    for number in (*range(1, 50), 3):
        append(file, number, [10], [])
    append(file, 49, [], [10])
    news.read(file, 0)
    assert set(news.of(10, [1, 49], 3)) == {1, 3, 48, 47}


def test_what_is_in_the_table_is_forgotten(file: sqlite3.Connection) -> None:
    news = News()
    append(file, 1, [10, 11], [])
    append(file, 1, [], [10])
    news.read(file, 0)
    news.read(file, 1)
    assert list(news.of(10, [1], 99)) == []
    assert list(news.of(11, [], 99)) == []
    news.read(file, 2)
    assert list(news.of(10, [1], 99)) == [1]
    assert (news._said, len(news._order)) == ({}, 0)


def test_a_random_walk_like_a_plain_set(file: sqlite3.Connection) -> None:
    """Whatever was moved into the table, both together say what was said."""
    random, news = Random(1), News()
    truth: set[tuple[int, int]] = set()
    table: set[tuple[int, int]] = set()
    said: list[tuple[int, list[int], list[int]]] = []
    moved = 0
    for _ in range(400):
        number = random.randrange(4)
        added, outdated = [[key for key in range(5) if random.random() < 0.2] for _ in range(2)]
        outdated = [key for key in outdated if key not in added]
        if added or outdated:
            row = append(file, number, added, outdated)
            if random.random() < 0.5:
                news.wrote(row, number, added, outdated)
            said.append((number, added, outdated))
            truth = {pair for pair in truth if pair[1] != number or pair[0] not in outdated}
            truth |= {(key, number) for key in added}
        while moved < len(said) and random.random() < 0.4:
            of, new, gone = said[moved]
            table = {pair for pair in table if pair[1] != of or pair[0] not in gone}
            table |= {(key, of) for key in new}
            moved += 1
        news.read(file, moved if random.random() < 0.5 else 0)
        for key in range(5):
            known = [n for k, n in table if k == key]
            assert set(news.of(key, known, 99)) == {n for k, n in truth if k == key}
