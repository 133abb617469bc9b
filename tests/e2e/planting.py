"""Credentials planted in every place of a request or a response where one can be.

`Planter` makes canaries, each of its own, and knows how many it has made; what it makes are raw
requests and responses, since no client library would send most of them.
"""

from __future__ import annotations

import base64
import json

from tests.web.harness import Connection, Received, chunked, request, response

CANARY = "PLantEd"
"""What is looked for, in any case of its letters."""
ENCODED = base64.b64encode(f"user:{CANARY}".encode()).rstrip(b"=")
"""Looked for too: the beginning of a canary as HTTP's basic authentication writes it."""

NAMES = (
    "Authorization", "Proxy-Authorization", "X-Api-Key", "api-key", "x-goog-api-key", "Cookie",
    "X-Auth-Token", "X-Amz-Security-Token", "Helicone-Auth", "x-litellm-api-key", "Openai-Api-Key",
    "cf-aig-authorization", "x-client-secret", "x-portkey-api-key", "X-Vault-Password",
)  # fmt: skip
"""Headers whose name says that they hold a credential, whatever that looks like."""
SHAPES = (
    "Bearer {}", "Basic {}", "Token {}", "sk-{}", "sk-ant-{}", "ghp_{}", "xoxb-{}", "AIza{}",
    "AKIA{}", "eyJ{}.eyJ{}.sig", "hf_{}", "gsk_{}", "note; token={}", "https://user:{}@example.org/",
    "https://example.org/?api_key={}",
)  # fmt: skip
"""Values that look like credentials, under names that say nothing."""
QUERY = (
    "key={}", "api_key={}", "apikey={}", "token={}", "access_token={}", "sig={}", "signature={}",
    "X-Amz-Signature={}", "X-Amz-Credential={}", "client_secret={}", "password={}", "auth={}",
    "subscription-key={}", "api%5Fkey={}", "q=sk-{}",
)  # fmt: skip
ANSWERED = (
    ("Set-Cookie", "session={}; Path=/"), ("Set-Cookie", "second={}"), ("X-Api-Key", "{}"),
    ("Location", "https://user:{}@example.org/?key={}"), ("X-Refreshed-Token", "{}"),
    ("WWW-Authenticate", "Bearer {}"), ("X-From-Upstream", "sk-{}"),
)  # fmt: skip
"""What the upstream answers."""
FROM_UPSTREAM = b"X-From-Upstream"
"""Is in all that the upstream answers."""

QUESTIONS: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {
        "model": "claude-sonnet-4",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    },
    "/v1beta/models/gemini-2.5-pro:generateContent": {"contents": [{"parts": [{"text": "hi"}]}]},
    "/v1/responses": {"model": "gpt-4o", "input": "hi"},
}
CHAT = "/v1/chat/completions"


class Planter:
    """Makes canaries, and messages that hold them."""

    def __init__(self) -> None:
        self.count = 0

    def canary(self) -> str:
        """Return a credential that was not used before."""
        self.count += 1
        return f"{CANARY}{self.count:03d}Zq8vXw3nT5k"

    def fill(self, template: str) -> str:
        """Return a template with a canary in its places."""
        return template.replace("{}", self.canary())

    def asked(self, target: str, *headers: str, script: str = "", **fields: object) -> bytes:
        """Return a request to an LLM endpoint."""
        path = target.partition("?")[0]
        body = QUESTIONS[path] | fields
        kind = ("Content-Type: application/json", f"X-Script: {script}")
        return request(json.dumps(body).encode(), *kind, *headers, target=target)

    def requests(self) -> list[bytes]:
        """Return requests that are forwarded, with canaries in all their places."""
        named = [self.fill(f"{name}: {{}}") for name in NAMES]
        shaped = [
            self.fill(f"X-Value-{place}: {{}}".replace("{}", shape))
            for place, shape in enumerate(SHAPES)
        ]
        query = "&".join(map(self.fill, QUERY))
        basic = base64.b64encode(f"user:{self.canary()}".encode()).decode()
        bearer = self.fill("Authorization: Bearer {}")
        agent = self.fill("User-Agent: agent/1.0 (sk-{})")
        return [
            *(self.asked(path, *named, *shaped, agent) for path in QUESTIONS),
            *(self.asked(f"{path}?{query}", bearer) for path in QUESTIONS),
            self.asked(CHAT, *named, *shaped, script="stream", stream=True),
            self.asked(CHAT, bearer, bearer, *map(self.fill, ("X-Api-Key: {}", "x-api-key: {}"))),
            self.asked(CHAT, f"Authorization: Basic {basic}", f"X-Upstream: Basic {basic}"),
            self.asked(CHAT, self.fill("Authorization: Custom-Scheme key={}, other={}")),
            self.asked(CHAT, self.fill("X-Session-Id: sk-{}"), bearer),
            self.asked(CHAT, self.fill("Referer: https://u:{}@example.org/?token={}"), bearer),
            self.asked(CHAT, bearer, script="error"),
            self.asked(CHAT, bearer, script="redirect"),
        ]  # fmt: skip

    def broken(self) -> list[bytes]:
        """Return requests that end badly: refused, cut off, unreadable, without an upstream."""
        bearer = self.fill("Authorization: Bearer {}")
        key = self.fill("key={}")
        long = "x" * 70_000
        gone = self.asked(CHAT, bearer, self.fill("X-Api-Key: {}"), "X-Team: gone")
        return [
            gone,
            gone.replace(CHAT.encode(), f"{CHAT}?{key}".encode(), 1),
            self.asked(CHAT, bearer, script="cut", stream=True),
            self.asked(CHAT, bearer, script="drop"),
            request(b"{not json", "Content-Type: application/json", bearer, target=f"{CHAT}?{key}"),
            request(b"\x00\xff", "Content-Encoding: gzip", bearer, target=f"{CHAT}?{key}"),
            request(b"{}", self.fill("Authorization : Bearer {}")),
            request(b"{}", self.fill("Authorization Bearer {}")),
            request(b"{}", self.fill("Authorization: Bearer {}\x00")),
            request(b"{}", self.fill(f"Authorization: Bearer {{}}{long}")),
            request(b"{}", target=self.fill(f"/v1?key={{}}{long}")),
            request(b"{}", "Content-Length: 2", "Transfer-Encoding: chunked", bearer),
            request(b"{}", bearer, target=self.fill("http://user:{}@example.org/v1/messages")),
            request(b"", bearer, method="CONNECT", target=self.fill("user:{}@example.org:443")),
            self.fill("GET /?key={} NONSENSE/1.1\r\n\r\n").encode(),
            self._upgrade(bearer),
        ]  # fmt: skip

    def own(self) -> list[bytes]:
        """Return requests to the gateway's own endpoints that are not let in."""
        bearer = self.fill("Authorization: Bearer {}")
        return [
            request(b"", bearer, target=f"{path}?{self.fill('token={}')}", method="GET")
            for path in ("/metrics", "/config", "/sessions", "/recording/status")
        ]

    async def answer(self, connection: Connection, received: Received) -> None:
        """Answer as an upstream that has credentials of its own in its headers."""
        (script,) = received.header("x-script") or [""]
        headers = [f"{name}: {self.fill(value)}" for name, value in ANSWERED]
        if received.header("upgrade"):
            reply = response(b"", *headers, status="403 Forbidden")
        elif script in {"stream", "cut"}:
            pieces = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b"data: [DONE]\n\n"]
            lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", *headers]
            head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()
            whole = chunked(*pieces)
            reply = head + (whole if script == "stream" else whole[:40])
        elif script == "error":
            said = f"Incorrect API key provided: sk-{self.canary()}. See https://example.org/keys"
            body = json.dumps({"error": {"message": said, "code": "invalid_api_key"}}).encode()
            reply = response(body, *headers, status="401 Unauthorized")
        else:
            status = "302 Found" if script == "redirect" else "200 OK"
            reply = response(b'{"id":"x","usage":{}}', *headers, status=status)
        if script == "drop":
            reply = b""
        connection.writer.write(reply)
        await connection.writer.drain()
        if script in {"cut", "drop"}:
            connection.reset()

    def _upgrade(self, bearer: str) -> bytes:
        key = self.fill("openai-insecure-api-key.sk-{}")
        lines = (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            f"Sec-WebSocket-Protocol: realtime, {key}",
            bearer,
        )
        target = self.fill("/v1/realtime?model=m&api_key={}")
        return request(b"", *lines, target=target, method="GET", length=False)
