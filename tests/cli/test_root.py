"""What all commands have in common."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
from pathlib import Path

import click
import pytest

from gateway_sessions.cli import root
from gateway_sessions.cli.root import COMMANDS
from gateway_sessions.cli.root import run as run_here
from tests.cli.helpers import COMMAND, INSTALLED, environment, run


def command(name: str) -> click.Command:
    with click.Context(root.root) as context:
        found = root.root.get_command(context, name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_they_say_themselves(name: str) -> None:
    assert command(name).name == name
    assert command(name).get_short_help_str() == COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"  gateway-sessions {name}" in shown.partition("Examples:")[2]
    assert "Exit codes: 0 " in shown


def test_help_lists_the_commands_without_importing_them(tmp_path: Path) -> None:
    code = (
        "import sys; from gateway_sessions.cli.root import run; run(['--help']);"
        " print(*sys.modules)"
    )
    done = run("-c", code, cwd=tmp_path, command=COMMAND[:1])
    assert "detect           Find the sessions in a log of exchanges." in done.stdout
    assert "gateway_sessions.cli.detect" not in done.stdout.split()
    assert "aiohttp" not in done.stdout.split()


def test_detect_starts_without_the_server(tmp_path: Path) -> None:
    code = (
        "import sys; from gateway_sessions.cli.root import run; run(['detect', '/dev/null']);"
        " print(*sys.modules)"
    )
    done = run("-c", code, cwd=tmp_path, command=COMMAND[:1])
    assert {"aiohttp", "prometheus_client", "jinja2"}.isdisjoint(done.stdout.split())


def test_the_module_and_the_installed_command_are_the_same(tmp_path: Path) -> None:
    for arguments in (["--version"], ["--help"], ["nonsense"]):
        by_module = run(*arguments, cwd=tmp_path)
        installed = run(*arguments, cwd=tmp_path, command=INSTALLED)
        assert (by_module.returncode, by_module.stdout, by_module.stderr) == (
            installed.returncode,
            installed.stdout,
            installed.stderr,
        )


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["--version"]) == 0
    name, version = capsys.readouterr().out.split()
    assert name == "gateway-sessions"
    assert version[0].isdigit()


def test_a_bare_checkout_has_no_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert run_here(["--version"]) == 0
    assert capsys.readouterr().out == "gateway-sessions, not installed\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "Error: No such command 'nonsense'."),
        (["detect", "--nonsense"], "Error: No such option '--nonsense'."),
        (["serve", "surplus"], "Error: Got unexpected extra argument (surplus)"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1] == sentence


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_errors_of_ours_are_a_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_here(["check-config", "--set", "server.port=x"]) == 2
    assert capsys.readouterr() == (
        "",
        (
            "Error: option --set server.port: server.port must be a whole number from 0 to 65535,"
            ' not "x".\n'
        ),
    )


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "generate-config"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_is_exit_code_130_without_a_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "detect"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Enough lines to fill the output buffer: once one comes out, the command is reading.
        line = b'{"timestamp":"2026-01-01T00:00:00Z","request":{"path":"/x"},"request_id":"r"}\n'
        process.stdin.write(line * 1000)
        process.stdin.flush()
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")
