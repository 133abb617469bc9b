"""Sockets that clients connect to, and why there can be none, as one sentence."""

from __future__ import annotations

import errno
import socket
import sys

from gateway_sessions.errors import StartError

BACKLOG = 1024
"""Connections that wait to be accepted: a burst, while a worker is busy."""

SHARED_BY_SYSTEM = sys.platform == "linux"
"""Whether the system spreads connections over several sockets on one port.  Measured with 128
connections and two workers, the busier one gets 52 % of them; of one socket that both wait at, it
gets 57 to 97 %, since whoever wakes up first takes what is there."""


Address = tuple[str | int | bytes, ...]
"""Host, port and what else an address of its family has."""


class PortInUse(StartError):
    """Another program listens on the port already."""


def refusal(error: OSError, host: str, port: int, key: str) -> StartError:
    """Return what to say when nobody can listen; ``key`` is the one to change."""
    if isinstance(error, socket.gaierror):
        return StartError(f"{host} is no address of this machine; change {key}.")
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            f"port {port} of {host} is in use by another program; stop that, or set {key}"
            " to another."
        )
    reason = {
        errno.EACCES: "only an administrator may",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
    }.get(error.errno or 0, (error.strerror or str(error)).lower())
    return StartError(f"can not listen on port {port} of {host} ({reason}); change {key}.")


def listeners(host: str, port: int, count: int, key: str) -> list[list[socket.socket]]:
    """Return listening sockets on one port for ``count`` processes, a list for each.

    A name may stand for several addresses; port 0 takes a free one, the same for all of them.
    Where the system does not spread connections, all processes have the same sockets.  Raises
    `StartError` as `refusal` words it.
    """
    groups: list[list[socket.socket]] = [[] for _ in range(count)]
    found: list[socket.socket] = []
    wanted = port
    try:
        for family, address in _addresses(host, port):
            # Alone at first: who shares a port would not notice that another program has it.
            with _bound(family, _at(address, wanted), shared=False) as alone:
                wanted = alone.getsockname()[1]
                if not SHARED_BY_SYSTEM:
                    alone.listen(BACKLOG)
                    found.append(alone.dup())
            for group in groups:
                if SHARED_BY_SYSTEM:
                    found.append(_bound(family, _at(address, wanted), shared=True))
                    found[-1].listen(BACKLOG)
                group.append(found[-1])
    except OSError as error:
        for each in found:
            each.close()
        raise refusal(error, host, port, key) from None
    return groups


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Address]]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((info[0], tuple(info[4])) for info in infos))


def _at(address: Address, port: int) -> Address:
    host, _, *rest = address
    return (host, port, *rest)


def _bound(family: socket.AddressFamily, address: Address, *, shared: bool) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(address)
    except BaseException:
        found.close()
        raise
    return found
