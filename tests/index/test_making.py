from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.index.breaker import Breaker
from gateway_sessions.index.making import make_store
from gateway_sessions.index.store import Change


def made(backend: str, connection: str | None, folder: Path = Path("/nowhere")) -> Breaker:
    return make_store(backend, connection, folder, max_sessions=10, ttl_seconds=60.0)


@pytest.mark.parametrize("connection", [None, "named.db"])
async def test_a_file_in_the_state_directory_or_where_it_is_named(
    tmp_path: Path, connection: str | None
) -> None:
    path = str(tmp_path / connection) if connection else None
    store = made("file", path, tmp_path)
    await store.open()
    assert await store.commit(1, [Change("sess_1", 0, 1.0, b"")]) == []
    await store.close()
    assert (tmp_path / (connection or "live.db")).exists()


async def test_a_file_that_can_not_be_made_is_said_at_the_start() -> None:
    with pytest.raises(StartError, match="name another file"):
        await made("file", "/dev/null/live.db").open()


@pytest.mark.parametrize(
    ("backend", "url", "library"),
    [
        ("redis", "redis://127.0.0.1:1", "hiredis"),
        ("postgres", "postgresql://127.0.0.1:1/x", "psycopg"),
    ],
)
def test_a_library_that_is_missing_is_named_with_the_cure(
    backend: str, url: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.startswith("gateway_sessions.index.")]:
        if backend in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError) as raised:
        made(backend, url)
    assert str(raised.value).endswith(f"pip install 'gateway-sessions[{backend}]'.")


def test_an_address_that_can_not_be_read_is_refused() -> None:
    with pytest.raises(ConfigError):
        made("redis", "http://127.0.0.1")
