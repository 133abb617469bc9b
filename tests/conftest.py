"""What every test folder shares: a home to write into, tests that need an outside program."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from tests.redis import Server

_HOME = tempfile.TemporaryDirectory(prefix="home-of-tests-", ignore_cleanup_errors=True)
os.environ["HOME"] = _HOME.name
"""Sessions are recorded by default, into the home of whoever runs a gateway."""


_POSTGRES = map(str, Path("/usr/lib/postgresql").glob("*/bin"))
PATH = os.pathsep.join((os.environ.get("PATH", ""), *_POSTGRES, "/usr/sbin"))
"""Where outside programs are; Debian keeps PostgreSQL's server off the path, and what makes file
systems off that of users."""


def pytest_configure() -> None:
    """Let processes that tests start be interrupted.

    A shell lets what it runs in the background ignore interrupts, and so would all that starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Remove the home."""
    _HOME.cleanup()


def pytest_collection_finish() -> None:
    """Hide from the garbage collector what stays to the end: to go through it takes 0.3 s."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose outside program is missing; in CI, where it must be there, fail it.

    A test names what it runs as ``@pytest.mark.needs("jq", "apt-get install jq")``.
    """
    for marker in item.iter_markers("needs"):
        tool, install = marker.args
        if shutil.which(tool, path=PATH) is not None:
            continue
        lacking(f"{tool} is not installed: {install}")


def lacking(sentence: str) -> NoReturn:
    """Skip the test that lacks something; in CI, where it must be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def mounting(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the words before a command that mounts images of ext4 file systems.

    What it mounts and starts is seen by nobody else and ends with it.
    """
    sudo = () if os.geteuid() == 0 else ("sudo", "-n")
    words = (*sudo, "unshare", "--mount", "--pid", "--fork", "--kill-child")
    script = "truncate -s 1M image && mkfs.ext4 -q image && mount -o loop image ."
    folder = tmp_path_factory.mktemp("mounting")
    try:
        subprocess.run(
            [*words, "sh", "-c", script], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "").strip() or error
        lacking(
            f"a file system in an image can not be mounted ({reason}): run the tests as root, or"
            " where sudo asks for no password, with the kernel's module loop"
        )
    return words


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Start a PostgreSQL server of our own; return the URL of its first database."""
    # Only tests that need one have the driver.
    from tests.postgres import running  # noqa: PLC0415

    with running(PATH) as url:
        yield url


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    """Start a Redis server for all tests that leave it running."""
    from tests.redis import running  # noqa: PLC0415

    with running() as server:
        yield server


@pytest.fixture
def redis(shared_redis: Server) -> Server:
    """Return an empty Redis server that is not to be stopped or frozen."""
    shared_redis.empty()
    return shared_redis
