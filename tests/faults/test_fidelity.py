"""Random exchanges, once with an upstream directly and once through the gateway: no difference."""

from __future__ import annotations

import random

from tests.web.harness import (
    CHAT,
    Answer,
    Connection,
    Received,
    chunked,
    connected,
    gateway,
    request,
    upstream,
)

EXCHANGES = 400
OURS = "x-gateway-"
NAMES = ["X-A", "x-a", "X-B", "Set-Cookie", "set-cookie", "Via", "Cache-Control", "X_U", "x-Odd!"]
VALUES = ["", "1", "a, b", "caf\xe9", "\xff\xfe", "x" * 3000, 'q="z"', "tab\there", "%7E~"]
REASONS = ["OK", "", "Not Quite", "caf\xe9", "A  B"]


def made_up_request(rng: random.Random) -> bytes:
    lines = [f"{rng.choice(NAMES)}: {rng.choice(VALUES)}" for _ in range(rng.randrange(8))]
    body = rng.randbytes(rng.choice([0, 1, 100, 5000, 300_000]))
    target = rng.choice([CHAT, "/v1/%7Ex?a=%20b", "/v1/messages?", "//a/../b", "/v1/embeddings"])
    method = rng.choice(["POST", "PUT", "PATCH", "DELETE"])
    if rng.random() < 0.3:
        framed = chunked(body) if body else chunked()
        lines.append("Transfer-Encoding: chunked")
        return request(framed, *lines, target=target, method=method, length=False)
    return request(body, *lines, target=target, method=method)


def made_up_response(rng: random.Random) -> bytes:
    status = rng.choice([200, 200, 201, 204, 304, 400, 404, 429, 500, 503, 529, 599])
    lines = [f"HTTP/1.1 {status} {rng.choice(REASONS)}"]
    lines += [f"{rng.choice(NAMES)}: {rng.choice(VALUES)}" for _ in range(rng.randrange(8))]
    body = b""
    if status not in {204, 304}:
        pieces = [rng.randbytes(rng.randrange(1, 500)) for _ in range(rng.randrange(20))]
        if rng.random() < 0.5:
            lines.append("Transfer-Encoding: chunked")
            body = chunked(*pieces)
        else:
            body = b"".join(pieces)
            lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def essence(answer: Answer) -> tuple[object, ...]:
    """Return all that a client can see of a response, but for what we add on purpose."""
    fields = [pair for pair in answer.fields if not pair[0].lower().startswith(OURS)]
    return answer.status_line, fields, answer.body, answer.chunks


def sent(received: Received) -> tuple[object, ...]:
    """Return all that an upstream can see of a request, but for what we change on purpose."""
    kept = [line for line in received.lines if not line.lower().startswith(("host:", OURS))]
    return kept, received.body


async def test_there_is_no_difference() -> None:
    replies: list[bytes] = []

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(replies[-1])

    async with (
        upstream(script) as up,
        gateway(up.url) as gw,
        gw.peer() as proxied,
        connected(int(up.url.rpartition(":")[2])) as direct,
    ):
        for seed in range(EXCHANGES):
            rng = random.Random(seed)
            data = made_up_request(rng)
            replies.append(made_up_response(rng))
            seen = [await peer.ask(data) for peer in (direct, proxied)]
            assert essence(seen[0]) == essence(seen[1]), seed
            assert sent(up.requests[-2]) == sent(up.requests[-1]), seed
