from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.session import Session
from gateway_sessions.index import committer as module
from gateway_sessions.index.committer import ATTEMPTS, BATCH, Committer
from gateway_sessions.index.held import Held, HeldSession
from gateway_sessions.index.store import Change, StoredSession, StoreFailed
from tests.index.stored import StoreInMemory

NOW = 1_700_000_000.0


def held(name: str = "sess_1", scope: int = 1) -> HeldSession:
    return HeldSession(Session(id=name, scope=scope, started=NOW, used=NOW), Memories())


class Counting(StoreInMemory):
    """A store that notes how many changes came with each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.called = asyncio.Event()

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        self.sizes.append(len(changes))
        self.called.set()
        await asyncio.sleep(0)
        return await super().commit(scope, changes)


class Log:
    """A committer over a store, and what it told."""

    def __init__(self, store: StoreInMemory) -> None:
        self.worked = 0
        self.failures: list[str] = []
        self.merged: list[Held] = []
        self.committer = Committer(
            store, self.note_worked, lambda e: self.failures.append(str(e)), self.merged.append
        )

    def note_worked(self) -> None:
        self.worked += 1


async def test_what_changes_in_one_turn_of_the_loop_goes_together() -> None:
    log = Log(store := Counting())
    several = [held(f"sess_{number}") for number in range(5)]
    for each in several:
        log.committer.changed(each)
        log.committer.changed(each)
    await log.committer.flush()
    assert (store.sizes, log.worked, log.committer.unsent) == ([5], 1, 0)
    assert [each.version for each in several] == [1] * 5


async def test_each_scope_for_itself() -> None:
    log = Log(store := Counting())
    for scope in (1, 2):
        log.committer.changed(held(scope=scope))
    await log.committer.flush()
    assert store.sizes == [1, 1]


async def test_what_changes_on_the_way_goes_with_the_next() -> None:
    log = Log(store := Counting())
    one = held()
    log.committer.changed(one)
    await store.called.wait()
    one.session.messages = 7
    log.committer.changed(one)
    await log.committer.flush()
    assert [change.version for change in store.committed] == [0, 1]
    assert not one.dirty


async def test_who_waits_for_what_changed_on_the_way_waits_for_the_next() -> None:
    log = Log(store := Counting())
    one = held()
    log.committer.changed(one)
    await store.called.wait()
    log.committer.changed(one)
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    one.waiting.append(waiter)
    await waiter
    assert [change.version for change in store.committed] == [0, 1]


async def test_very_many_go_in_portions() -> None:
    log = Log(store := Counting())
    for number in range(BATCH + 1):
        log.committer.changed(held(f"sess_{number}"))
    await log.committer.flush()
    assert store.sizes == [BATCH, 1]


async def test_whoever_was_slower_joins_both() -> None:
    log = Log(store := Counting())
    first, second = held(), held()
    first.session.answer(10, 11, 12, 13, NOW)
    second.session.answer(20, 21, 22, 23, NOW + 1)
    log.committer.changed(first)
    await log.committer.flush()
    log.committer.changed(second)
    await log.committer.flush()
    assert log.merged == [second]
    assert (second.version, second.session.answered(10)) == (2, True)
    assert store.sizes == [1, 1, 1]


class Restless(Counting):
    """A store in which somebody else is always faster."""

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        self.sizes.append(len(changes))
        return [StoredSession(each.id, each.version + 1, each.used, each.state) for each in changes]


async def test_nobody_tries_for_ever() -> None:
    log = Log(store := Restless())
    one = held()
    log.committer.changed(one)
    await log.committer.flush()
    assert len(store.sizes) == ATTEMPTS
    assert not one.dirty


async def test_bytes_of_others_are_left_alone() -> None:
    log = Log(store := Counting())
    store.sessions[1, "sess_1"] = StoredSession("sess_1", 3, NOW, b"\x77 of a later version")
    one = held()
    log.committer.changed(one)
    await log.committer.flush()
    assert store.sessions[1, "sess_1"].state == b"\x77 of a later version"
    assert not one.dirty


class Prompt(Counting):
    """A store that answers within the call, unless it is ``busy``."""

    is_prompt = True
    wants_batches = True

    def __init__(self) -> None:
        super().__init__()
        self.busy = False
        self.at_once: list[int] = []
        """How many changes came with each commit that was answered so."""

    def fetch_now(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession] | None:
        return None

    def commit_now(self, scope: int, changes: Sequence[Change]) -> list[StoredSession] | None:
        if self.busy:
            return None
        self._check()
        self.at_once.append(len(changes))
        newer = []
        for change in changes:
            kept = self.sessions.get((scope, change.id))
            if kept is not None and kept.version != change.version:
                newer.append(kept)
            else:
                made = StoredSession(change.id, change.version + 1, change.used, change.state)
                self.sessions[scope, change.id] = made
        return newer


class TestAtOnce:
    async def test_what_changes_in_one_turn_of_the_loop_goes_together(self) -> None:
        log = Log(store := Prompt())
        several = [held(f"sess_{number}") for number in range(3)]
        for each in several:
            log.committer.changed(each)
        assert store.at_once == []
        await asyncio.gather(*map(log.committer.wait, several))
        assert (store.at_once, store.sizes, log.worked) == ([3], [], 1)
        assert [each.version for each in several] == [1] * 3

    async def test_what_has_to_be_waited_for_goes_by_the_task(self) -> None:
        log = Log(store := Prompt())
        store.busy = True
        one = held()
        log.committer.changed(one)
        await log.committer.wait(one)
        assert (store.at_once, store.sizes, one.version, one.dirty) == ([], [1], 1, False)

    async def test_whoever_was_slower_joins_both(self) -> None:
        log = Log(store := Prompt())
        first, second = held(), held()
        for each in (first, second):
            log.committer.changed(each)
            await log.committer.flush()
        assert (log.merged, second.version, store.at_once) == ([second], 2, [1, 1, 1])

    async def test_changes_wait_while_the_store_is_away(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "SETTLED_SECONDS", 0.001)
        log = Log(store := Prompt())
        store.failing = True
        one, later = held(), held("sess_2")
        log.committer.changed(one)
        await log.committer.wait(one)
        assert (log.failures, log.committer.unsent) == (["it was told to fail"], 1)
        log.committer.changed(later)
        await log.committer.wait(later)  # in vain, but not for long
        store.failing = False
        log.committer.resume()
        await log.committer.flush()
        assert (store.at_once, log.committer.unsent) == ([2], 0)

    async def test_a_fault_of_our_own_is_said_and_ends_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = Log(store := Prompt())
        store.sessions = None  # type: ignore[assignment]
        one = held()
        log.committer.changed(one)
        await log.committer.flush()
        assert not one.dirty
        assert "sessions could not be stored" in caplog.text


class TestOutage:
    async def test_changes_wait_and_go_when_the_store_is_back(self) -> None:
        log = Log(store := Counting())
        store.failing = True
        one = held()
        log.committer.changed(one)
        await log.committer.flush()
        assert (log.failures, one.dirty, log.committer.is_waiting) == (
            ["it was told to fail"],
            True,
            True,
        )
        log.committer.changed(held("sess_2"))
        assert (store.sizes, log.committer.unsent) == ([1], 2)
        store.failing = False
        log.committer.resume()
        await log.committer.flush()
        assert (store.sizes, log.committer.unsent) == ([1, 2], 0)

    async def test_it_tries_again_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Once(StoreInMemory):
            failed, stored = False, asyncio.Event()

            async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
                if not self.failed:
                    self.failed = True
                    raise StoreFailed("once")
                self.stored.set()
                return await super().commit(scope, changes)

        monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
        log = Log(store := Once())
        log.committer.changed(held())
        await store.stored.wait()
        assert log.failures == ["once"]
        await log.committer.close()

    async def test_who_waits_for_a_commit_goes_on_when_it_fails(self) -> None:
        log = Log(store := Counting())
        store.failing = True
        one = held()
        waiter = asyncio.get_running_loop().create_future()
        one.waiting.append(waiter)
        log.committer.changed(one)
        await waiter
        await log.committer.close()

    async def test_only_so_many_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "UNSENT_KEPT", 2)
        log = Log(store := Counting())
        store.failing = True
        several = [held(f"sess_{number}") for number in range(4)]
        for each in several:
            log.committer.changed(each)
        await log.committer.flush()
        assert log.committer.unsent == 2
        assert [each.dirty for each in several] == [False, False, True, True]

    async def test_closing_tries_once_more(self) -> None:
        log = Log(store := Counting())
        store.failing = True
        log.committer.changed(held())
        await log.committer.flush()
        store.failing = False
        await log.committer.close()
        assert len(store.committed) == 1

    async def test_a_fault_of_our_own_is_said_and_ends_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(Counting):
            async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
                raise ZeroDivisionError

        log = Log(Broken())
        one = held()
        log.committer.changed(one)
        await log.committer.flush()
        assert not one.dirty
        assert "sessions could not be stored" in caplog.text

    def test_what_a_store_says_is_what_is_told(self) -> None:
        assert str(StoreFailed("the server is away")) == "the server is away"
