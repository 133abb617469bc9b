"""The sessions that each client began last."""

from __future__ import annotations

from gateway_sessions.detection.clients import SESSIONS_KEPT, RecentSessions
from gateway_sessions.detection.session import Session


def session(number: int, *, scope: int = 1, client: int = 7) -> Session:
    return Session(id=f"sess_{number}", scope=scope, started=0.0, used=0.0, client=client)


def names(recent: RecentSessions, scope: int = 1, client: int = 7) -> list[str]:
    return [found.id for found in recent.of(scope, client)]


def test_the_newest_come_last_and_the_oldest_give_way() -> None:
    recent = RecentSessions()
    for number in range(SESSIONS_KEPT + 2):
        recent.began(session(number))
    assert names(recent) == [f"sess_{n}" for n in range(2, SESSIONS_KEPT + 2)]


def test_clients_and_scopes_are_apart() -> None:
    recent = RecentSessions()
    recent.began(session(1))
    assert names(recent, client=8) == names(recent, scope=2) == []


def test_a_session_that_another_client_uses_is_that_ones() -> None:
    recent = RecentSessions()
    moved = session(1)
    recent.began(moved)
    moved.client = 8
    assert names(recent) == []


def test_no_more_clients_than_allowed() -> None:
    recent = RecentSessions(kept=2)
    for client in (1, 2, 3):
        recent.began(session(client, client=client))
    assert [names(recent, client=client) for client in (1, 2, 3)] == [[], ["sess_2"], ["sess_3"]]


def test_what_others_tell_of_takes_its_place_in_time() -> None:
    recent = RecentSessions()
    for number in (3, 1, 2, 2):
        told = session(number)
        told.started = float(number)
        recent.put(told, 7)
    assert names(recent) == ["sess_1", "sess_2", "sess_3"]
    recent.forget(session(2), 7)
    recent.forget(session(2), 8)
    assert names(recent) == ["sess_1", "sess_3"]
