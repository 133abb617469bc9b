"""A desk whose clients talk to running gateways, one request after the other to each in turn.

Everything happens on one thread, over plain sockets, in an order that never differs: a request is
sent, the provider gets it and begins its response, the client reads the response's head; then the
rest follows when a test says so, and the next request goes out right after its last byte.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, cycle
from typing import Any, NamedTuple, Self

from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, Json, assistant, response_to
from tests.traffic import chunks

LIMIT = 20.0
"""Seconds after which anything that a test waits for counts as hanging."""
STREAM = "stream"
"""Stands for the dialect of responses that are streams, OpenAI's."""
_BEGUN = (b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n"
          b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip


class Provider:
    """A provider that begins to answer at once, and has a connection for each request."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listening.settimeout(LIMIT)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def accept(self, *, stream: bool = False) -> socket.socket:
        """Take a request, begin to answer it, and return its connection."""
        connection, _ = self._listening.accept()
        connection.settimeout(LIMIT)
        head, _, body = _until_blank_line(connection)
        length = int(_fields(head).get("content-length", "0"))
        while len(body) < length:
            body += _received(connection)
        connection.sendall(_BEGUN % (b"text/event-stream" if stream else b"application/json"))
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()


class WireDesk(Desk):
    """A desk before gateways.  Clients' keys have its name before them, so that desks before the
    same gateways do not meet."""

    def __init__(self, provider: Provider, ports: Sequence[int], name: str) -> None:
        super().__init__()
        self.provider = provider
        self.name = name
        self.ports = cycle(ports)
        self.numbers = count(1)
        self._sent: list[WireSent] = []

    def client(self, key: str = "key", **options: Any) -> WireClient:
        """Return a client; see `ChatClient`."""
        return WireClient(self, key=key, **options)

    def sent(self, request: WireSent) -> WireSent:
        """Note a request, so that it can be called off in the end."""
        self._sent.append(request)
        return request

    def close(self) -> None:
        """Call off what has no answer."""
        for each in self._sent:
            each.close()


class WireClient(ChatClient):
    """A client that sends its requests over a socket."""

    desk: WireDesk

    def send(self, messages: Sequence[Json], **fields: Any) -> WireSent:  # type: ignore[override]
        """Send exactly these messages and return the request, still unanswered."""
        path, headers, body = self.request(messages, **fields)
        for name in ("authorization", "x-api-key"):
            if name in headers:
                headers[name] = f"{headers[name]}-{self.desk.name}"
        connection = socket.create_connection(("127.0.0.1", next(self.desk.ports)), LIMIT)
        connection.sendall(_written(path, headers, json.dumps(body).encode()))
        streams = bool(body.get("stream"))
        answering = self.desk.provider.accept(stream=streams)
        name = f"{self.desk.name}-{next(self.desk.numbers)}"
        dialect = STREAM if streams else self.dialect
        return self.desk.sent(WireSent(dialect, connection, answering, name))


class WireSent:
    """A request that is in flight."""

    def __init__(
        self, dialect: str, client: socket.socket, provider: socket.socket, name: str
    ) -> None:
        self._dialect = dialect
        self._client, self._provider = client, provider
        self._name = name
        head, _, self._rest = _until_blank_line(client)
        self.tag = _tag(head)

    def answer(self, reply: str | Json, seconds: float = 1.0) -> Json:
        """Let the whole reply arrive; return it as the assistant message a client keeps."""
        message = assistant(reply) if isinstance(reply, str) else dict(reply)
        for piece in self._pieces(message):
            self._provider.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        self._provider.sendall(b"0\r\n\r\n")
        while not self._rest.endswith(b"\r\n0\r\n\r\n"):
            self._rest += _received(self._client)
        self.close()
        return message

    def _pieces(self, message: Json) -> list[bytes]:
        if self._dialect == STREAM:
            return chunks(*re.findall(r"\S+ ?", message["content"]))
        return [json.dumps(response_to(self._dialect, message) | {"id": self._name}).encode()]

    def fail(self, seconds: float = 1.0) -> None:
        """Let the provider go away in the middle of its answer."""
        self._provider.close()
        with suppress(ConnectionError):
            while self._client.recv(65536):
                pass
        self.close()

    def close(self) -> None:
        """Leave, whatever has come."""
        self._client.close()
        self._provider.close()


class Said(NamedTuple):
    """What gateways say about a request, sessions numbered as they appear."""

    session: int
    relation: str
    source: str
    parent: int
    confidence: float


def numbered(tags: Sequence[SessionTag]) -> list[Said]:
    """Return what tags say; sessions have their numbers, 0 is none."""
    numbers: dict[str | None, int] = {None: 0}
    said = []
    for tag in tags:
        for name in (tag.session_id, tag.parent_session_id):
            numbers.setdefault(name, len(numbers))
        parent = numbers[tag.parent_session_id]
        said.append(Said(numbers[tag.session_id], tag.relation, tag.source, parent, tag.confidence))
    return said


def _written(path: str, headers: dict[str, str], body: bytes) -> bytes:
    fields = {"host": "gateway", "connection": "close", "content-length": str(len(body))} | headers
    lines = [f"POST {path} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()]]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _tag(head: bytes) -> SessionTag:
    fields = _fields(head)
    own = "x-gateway-"
    return SessionTag(
        session_id=fields[own + "session-id"],
        relation=fields[own + "session-relation"],
        source=fields[own + "session-source"],
        confidence=float(fields[own + "session-confidence"]),
        root_session_id="",
        parent_session_id=fields.get(own + "parent-session-id"),
    )


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.split(": ", 1) for line in lines)
    return {name.lower(): value for name, value in pairs}


def _until_blank_line(connection: socket.socket) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    return data.partition(b"\r\n\r\n")


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed in the middle")
    return data
