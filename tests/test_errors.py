from __future__ import annotations

import inspect

import pytest

from gateway_sessions import errors
from gateway_sessions.errors import (
    ConfigError,
    GatewaySessionsError,
    StartError,
    UnreadableBody,
    UnreadableLog,
    WrongQuery,
)

KINDS = [ConfigError, UnreadableBody, UnreadableLog, StartError, WrongQuery]


def test_no_kind_is_forgotten_here() -> None:
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)}
    assert defined == {GatewaySessionsError, *KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_one_clause_catches_them_all_and_each_its_own(kind: type[GatewaySessionsError]) -> None:
    with pytest.raises(GatewaySessionsError, match=r"^place and cure$") as caught:
        raise kind("place and cure")
    assert [other for other in KINDS if issubclass(type(caught.value), other)] == [kind]


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_taken_for_a_fault_of_the_language(kind: type[GatewaySessionsError]) -> None:
    assert not issubclass(kind, (ValueError, OSError, LookupError, RuntimeError, SystemExit))
