"""Ways to a server: addresses, batches, and clusters of real servers."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest
from redis.crc import key_slot

from gateway_sessions.errors import ConfigError
from gateway_sessions.index.redis import RedisStore
from gateway_sessions.index.redis_link import Script, link_to
from gateway_sessions.index.store import Change, StoreFailed
from tests.redis import NEEDED, Server, cluster, free_port, running

ECHO = Script("return {KEYS[1], ARGV[1]}")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis://:s3cret@localhost:port",
        "redis://:s3cret@localhost?s3cret=1",
        "redis+cluster://:s3cret@localhost:port",
        "",
    ],
)
async def test_an_address_that_is_none_is_refused_with_its_cure(url: str) -> None:
    with pytest.raises(ConfigError, match=r"redis://user:password@host:6379/0") as refused:
        link_to(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://me:s3cret@db.example:7000/2", "db.example:7000"),
        ("rediss://db.example", "db.example:6379"),
        ("redis://", "localhost:6379"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock"),
        ("redis+cluster://:s3cret@db.example:7000", "db.example:7000"),
    ],
)
async def test_messages_name_the_server_alone(url: str, place: str) -> None:
    link = link_to(url)
    assert link.name == f"Redis at {place}"
    await link.close()


@NEEDED
async def test_calls_at_once_go_out_in_batches_and_each_gets_its_own_answer(
    redis: Server,
) -> None:
    link = link_to(redis.url)
    numbers = [b"%d" % number for number in range(200)]
    answers = await asyncio.gather(*[link.run(ECHO, (b"k" + n,), n) for n in numbers])
    assert answers == [[b"k" + n, n] for n in numbers]
    await link.close()


@NEEDED
async def test_who_was_called_off_does_not_disturb_the_others(redis: Server) -> None:
    link = link_to(redis.url)
    await link.run(ECHO, (b"k",), b"first")
    loop = asyncio.get_running_loop()
    calls = [loop.create_task(link.run(ECHO, (b"k",), b"%d" % n)) for n in range(6)]
    await asyncio.sleep(0)  # the first three wait for the next batch, or are under way in it
    for call in calls[::2]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [each for each in answers if isinstance(each, list)] == [
        [b"k", b"%d" % n] for n in (1, 3, 5)
    ]
    await link.close()


@NEEDED
async def test_closing_fails_what_is_under_way(redis: Server) -> None:
    link = link_to(redis.url)
    loop = asyncio.get_running_loop()
    calls = []
    for _ in range(3):  # not yet sent, under way, behind one that is
        calls.append(loop.create_task(link.run(ECHO, (b"k",), b"v")))
        await asyncio.sleep(0)
    await link.close()
    for call in calls:
        with pytest.raises(StoreFailed, match="the connection was closed"):
            await call
    with pytest.raises(StoreFailed, match="the connection was closed"):
        await link.run(ECHO, (b"k",), b"v")
    await link.close()


async def test_a_server_that_is_not_there_is_named() -> None:
    link = link_to(f"redis://:s3cret@127.0.0.1:{free_port()}")
    with pytest.raises(
        StoreFailed, match=r"Redis at 127\.0\.0\.1:\d+: .*Connect call failed"
    ) as failed:
        await link.run(ECHO, (b"k",), b"v")
    assert "s3cret" not in str(failed.value)
    await link.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate of this machine; its key is beside it."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=me"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@NEEDED
@pytest.mark.needs("openssl", "apt-get install openssl")
async def test_tls_and_passwords(certificate: Path) -> None:
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate)]
    tls += ["--tls-key-file", str(certificate.with_name("key.pem")), "--tls-auth-clients", "no"]
    address = f"127.0.0.1:{port}"
    with running("--bind", "127.0.0.1", "--port", "0", *tls, "--requirepass", "s3cret"):
        trusting = f"?ssl_ca_certs={certificate}"
        link = link_to(f"rediss://:s3cret@{address}{trusting}")
        assert await link.run(ECHO, (b"k",), b"v") == [b"k", b"v"]
        await link.close()
        for wrong, why in {
            f"rediss://:s3cret@{address}": "CERTIFICATE_VERIFY_FAILED",
            f"rediss://:guessed@{address}{trusting}": "invalid username-password",
            f"rediss://{address}{trusting}": "Authentication required",
            f"redis://:s3cret@{address}": "onnection",
        }.items():
            link = link_to(wrong)
            with pytest.raises(StoreFailed, match=why) as failed:
                await link.run(ECHO, (b"k",), b"v")
            assert "s3cret" not in str(failed.value)
            assert "guessed" not in str(failed.value)
            await link.close()


@NEEDED
async def test_a_cluster_keeps_each_scope_on_one_of_its_servers() -> None:
    with cluster() as url:
        store = RedisStore(url, max_sessions=1, ttl_seconds=60.0)
        await store.open()
        scopes = range(8)
        for scope in scopes:
            changes = [Change(name, 0, time.time(), name.encode(), (1,)) for name in ("a", "b")]
            assert await store.commit(scope, changes) == []
        answers = await asyncio.gather(*[store.fetch(scope, (1,), {}) for scope in scopes])
        assert [[each.state for each in found] for found in answers] == [[b"b"]] * len(scopes)
        halves = {key_slot(b"%x" % scope) < 8192 for scope in scopes}
        assert halves == {True, False}
        await store.close()
        await store.close()


@NEEDED
async def test_a_cluster_that_comes_later_is_found() -> None:
    port, bus = free_port(), free_port()
    link = link_to(f"redis+cluster://127.0.0.1:{port}")
    with pytest.raises(StoreFailed, match=rf"Redis at 127\.0\.0\.1:{port}: .*Connect call failed"):
        await link.run(ECHO, (b"k",), b"v")
    with cluster(port, bus):
        assert await link.run(ECHO, (b"k",), b"v") == [b"k", b"v"]
    await link.close()
