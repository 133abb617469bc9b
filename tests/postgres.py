"""A PostgreSQL server that lives as long as the tests, and databases in it."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

NEEDED = pytest.mark.needs("initdb", "apt-get install postgresql")
"""For tests that use the fixture ``postgres``."""

_numbers = itertools.count(1)


@contextmanager
def running(path: str) -> Iterator[str]:
    """Run a server, found on a path, that listens on a socket in a folder of its own."""
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        as_user: dict[str, Any] = {"cwd": folder}
        if user:
            as_user |= {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        initdb = shutil.which("initdb", path=path)
        assert initdb is not None
        subprocess.run(
            [initdb, "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"],
            check=True,
            capture_output=True,
            **as_user,
        )
        with _server(Path(initdb).with_name("postgres"), data, folder, as_user):
            yield f"postgresql://tester@/postgres?host={quote(str(folder), safe='')}"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _server(program: Path, data: Path, folder: Path, as_user: dict[str, Any]) -> Iterator[None]:
    settings = ("listen_addresses=", "fsync=off", "shared_buffers=32MB", "max_connections=20")
    options = [part for setting in settings for part in ("-c", setting)]
    server = subprocess.Popen(
        [str(program), "-D", str(data), "-k", str(folder), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
        **as_user,
    )
    assert server.stderr is not None
    try:
        said = []
        for line in server.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            pytest.fail("PostgreSQL did not start: " + "".join(said))
        yield
    finally:
        server.send_signal(signal.SIGINT)  # ends connections and stops
        server.communicate(timeout=30)


def _user() -> str | None:
    """Return whom to run the server as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


@contextmanager
def database(url: str) -> Iterator[str]:
    """Make a database in a server, return its URL, and drop it at the end."""
    name = f"tests_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield url.replace("/postgres?", f"/{name}?")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
