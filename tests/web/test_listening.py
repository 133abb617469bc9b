"""Sockets for clients, one or several on a port."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.web import listening
from gateway_sessions.web.listening import PortInUse, listeners, refusal


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(held: ExitStack, host: str, count: int, port: int = 0) -> list[list[socket.socket]]:
    groups = listeners(host, port, count, "server.port")
    for group in groups:
        for each in group:
            held.callback(each.close)
    return groups


def test_each_process_has_its_own_on_the_same_port(held: ExitStack) -> None:
    groups = opened(held, "127.0.0.1", 3)
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len({group[0].getsockname() for group in groups}) == 1
    assert len({group[0].fileno() for group in groups}) == 3


def test_connections_are_spread(held: ExitStack) -> None:
    (one,), (two,) = opened(held, "127.0.0.1", 2)
    taken = 0
    for _ in range(64):
        held.enter_context(socket.create_connection(one.getsockname()))
    one.setblocking(False)
    while True:
        try:
            held.enter_context(one.accept()[0])
        except BlockingIOError:
            break
        taken += 1
    assert 0 < taken < 64
    two.settimeout(10)
    for _ in range(64 - taken):
        held.enter_context(two.accept()[0])


def test_a_name_is_all_of_its_addresses_on_one_port(
    held: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in ("127.0.0.1", "127.0.0.2")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: infos + infos)
    groups = opened(held, "gateway", 2)
    assert [[each.getsockname()[0] for each in group] for group in groups] == [
        ["127.0.0.1", "127.0.0.2"]
    ] * 2
    assert len({each.getsockname()[1] for group in groups for each in group}) == 1


def test_version_6_is_itself_alone(held: ExitStack) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    ((six,),) = opened(held, "::1", 1)
    assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_where_the_system_does_not_spread_all_have_the_same(
    held: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SHARED_BY_SYSTEM", False)
    (one,), (two,) = opened(held, "127.0.0.1", 2)
    assert one is two
    held.enter_context(socket.create_connection(one.getsockname()))


def test_a_port_that_another_gateway_shares_out_is_in_use(held: ExitStack) -> None:
    groups = opened(held, "127.0.0.1", 2)
    port = groups[0][0].getsockname()[1]
    with pytest.raises(PortInUse, match=f"port {port} of 127.0.0.1 is in use by another program"):
        listeners("127.0.0.1", port, 2, "server.port")


def test_an_address_that_is_not_ours_is_a_sentence() -> None:
    with pytest.raises(StartError, match=r"does not have that address\); change server.port"):
        listeners("192.0.2.1", 0, 2, "server.port")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (socket.gaierror(-2, "x"), "h is no address of this machine; change k."),
        (
            OSError(errno.EADDRINUSE, "x"),
            "port 1 of h is in use by another program; stop that, or set k to another.",
        ),
        (
            OSError(errno.EACCES, "x"),
            "can not listen on port 1 of h (only an administrator may); change k.",
        ),
        (OSError(errno.EIO, "Broken"), "can not listen on port 1 of h (broken); change k."),
        (OSError("odd"), "can not listen on port 1 of h (odd); change k."),
    ],
)
def test_why_nobody_can_listen(error: OSError, sentence: str) -> None:
    assert str(refusal(error, "h", 1, "k")) == sentence
