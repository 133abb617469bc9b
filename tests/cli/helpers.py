"""Running the command as users do: as a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

COMMAND = (sys.executable, "-m", "gateway_sessions")
INSTALLED = (str(Path(sys.executable).with_name("gateway-sessions")),)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Return an environment without settings of the person who runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_SESSIONS_")}
    return kept | {"HOME": str(home), "COLUMNS": "120"} | variables


def run(
    *arguments: str,
    cwd: Path,
    stdin: str | bytes = b"",
    command: tuple[str, ...] = COMMAND,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a folder that is also its home."""
    done = subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env=environment(cwd, **variables),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def run_watched(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Run a command with a terminal as standard error; return exit code and output."""
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=environment(cwd, TERM="xterm"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=follower,
            timeout=60,
            check=False,
        )
    finally:
        os.close(leader)
        os.close(follower)
    return done.returncode, done.stdout.decode()


@dataclass
class Service:
    """A command that serves."""

    process: subprocess.Popen[str]
    url: str
    first_line: str

    def stop(self, signal: int) -> tuple[int, str]:
        """Send a signal and return the exit code and what was left of standard error."""
        self.process.send_signal(signal)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextlib.contextmanager
def service(
    *arguments: str,
    cwd: Path,
    errors: BinaryIO | None = None,
    command: tuple[str, ...] = COMMAND,
    **variables: str,
) -> Iterator[Service]:
    """Run a command that prints its URL when it is ready; ``first_line`` is where.

    Standard error goes into the file ``errors``, if there is one: it may be more than a pipe takes.
    """
    with subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env=environment(cwd, **variables),
        stdout=subprocess.PIPE,
        stderr=errors or subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "http://" in line), "")
            assert line, process.stderr.read() if process.stderr else ""
            url = "http://" + line.partition("http://")[2].split()[0].rstrip('",.;')
            yield Service(process, url, line)
        finally:
            if process.poll() is None:
                process.kill()
