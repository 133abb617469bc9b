"""Each check of a set-up finds what it looks for."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from importlib import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway_sessions.cli import check_ups
from gateway_sessions.cli.check_ups import Finding, examine
from gateway_sessions.config import load
from tests.redis import NEEDED, Server


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


SHARING = (
    "session.persistence.enabled=true",
    "session.persistence.connection=redis://:s3cret@127.0.0.1:1/0",
    "secret=sixteen characters and more",
)


async def found(*settings: str) -> dict[str, Finding]:
    given = ["server.port=0", *settings]
    return {finding.what: finding for finding in await examine(load(None, overrides=given))}


async def test_an_upstream_that_answers_whatever_it_says_is_fine() -> None:
    app = web.Application()
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        finding = (await found(f"upstream={url}"))[f"upstream {url}"]
    assert finding == ("ok", f"upstream {url}", "answers (status 404).")


async def test_an_upstream_that_speaks_no_http_is_a_problem() -> None:
    async def hang_up(_: Any, writer: Any) -> None:
        writer.write(b"SSH-2.0-nobody\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finding = (await found(f"upstream={url}"))[f"upstream {url}"]
    server.close()
    assert finding.state == "problem"
    assert "does not answer in HTTP" in finding.said


async def test_a_silent_upstream_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_ups, "ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finding = (await found(f"upstream={url}"))[f"upstream {url}"]
    assert finding.state == "problem"
    assert finding.said.startswith("says nothing within 0.05 seconds")


async def test_credentials_of_an_upstream_are_not_shown() -> None:
    told = await found("upstream=http://me:sk-secret@127.0.0.1:1")
    assert not [finding for finding in told.values() if "sk-secret" in "".join(finding)]


async def test_a_port_of_another_program_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        app = web.Application()
        async with TestServer(app) as server:
            told = await found(f"server.port={server.port}")
            assert told[f"port {server.port}"].state == "problem"
            assert "another program has it" in told[f"port {server.port}"].said
    assert (await found(f"server.port={port}"))[f"port {port}"].said == "free on 127.0.0.1."


async def test_what_troubles_a_running_gateway_is_told() -> None:
    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"problems": ["sqlite: the disk is full"]}, status=503)

    app = web.Application()
    app.router.add_get("/own/readyz", ready)
    async with TestServer(app) as server:
        told = await found(f"server.port={server.port}", "admin.prefix=/own")
    assert told["running gateway"] == ("problem", "running gateway", "sqlite: the disk is full")


async def test_an_address_of_another_machine_is_a_problem() -> None:
    told = await found("server.host=192.0.2.1", "admin.token=x")
    assert told["port 0"].state == "problem"
    assert "set server.host" in told["port 0"].said


async def test_a_folder_that_can_not_be_made_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != tmp_path)
    finding = (await found(f"state_directory={tmp_path}/new/state"))["state directory"]
    assert finding.state == "problem"
    assert finding.said.endswith(f"can not be made: {tmp_path} can not be written to.")


async def test_little_space_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=2**40, used=2**40, free=5 * 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    finding = (await found())["session files"]
    assert finding.state == "warning"
    assert "5 MB are free" in finding.said


async def test_a_secret_that_others_can_read_is_a_problem(tmp_path: Path) -> None:
    secret = tmp_path / ".gateway-sessions" / "secret"
    secret.parent.mkdir()
    secret.touch(0o644)
    secret.chmod(0o644)
    finding = (await found())["secret"]
    assert finding.state == "problem"
    assert finding.said.endswith(f"chmod 600 {secret}.")
    secret.chmod(0o600)
    assert "secret" not in await found()


async def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    finding = (await found())["open files"]
    assert finding.state == "warning"
    assert "512 requests at once" in finding.said


@pytest.mark.parametrize(
    ("settings", "extra"),
    [
        (("session_recording.postgres.enabled=true",), "postgres"),
        ((*SHARING, "session.persistence.backend=redis"), "redis"),
        ((*SHARING, "session.persistence.backend=postgres"), "postgres"),
    ],
)
async def test_a_missing_extra_is_a_problem(
    settings: tuple[str, ...], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"psycopg", "redis", "uvloop"}
    real = util.find_spec
    monkeypatch.setattr(
        check_ups, "find_spec", lambda name: None if name in missing else real(name)
    )
    told = await found(*settings)
    problems = [finding.said for finding in told.values() if finding.state == "problem"]
    assert problems == [f"it needs an extra: pip install 'gateway-sessions[{extra}]'."]
    assert told["Python"].state == "warning"


async def test_a_server_of_sessions_that_is_away_is_a_problem() -> None:
    told = await found(*SHARING, "session.persistence.backend=redis")
    finding = told["sessions in redis"]
    assert finding.state == "problem"
    assert "s3cret" not in finding.said


@NEEDED
async def test_a_server_of_sessions_that_answers_is_fine(redis: Server) -> None:
    backend = ("session.persistence.backend=redis", f"session.persistence.connection={redis.url}")
    told = await found(*SHARING, *backend)
    assert told["sessions in redis"] == ("ok", "sessions in redis", "can be reached.")


@pytest.mark.needs("openssl", "apt-get install openssl")
async def test_a_certificate_that_nobody_trusts_is_a_problem(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=me"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = TestServer(web.Application(), scheme="https")
    await server.start_server(ssl=context)
    url = f"https://127.0.0.1:{server.port}"
    finding = (await found(f"upstream={url}"))[f"upstream {url}"]
    await server.close()
    assert finding.state == "problem"
    assert "its certificate is not trusted" in finding.said
