"""Sessions inside of somebody else's aiohttp application."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from gateway_sessions.config import Config, Server
from gateway_sessions.embed import SESSION, SessionASGIMiddleware, session_middleware, setup
from gateway_sessions.errors import ConfigError

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Any]:
    return {
        "state_directory": str(tmp_path / "state"),
        "interceptors": [{"type": "trace", "config": {"directory": str(tmp_path / "traces")}}],
    }


async def chat(request: web.Request) -> web.Response:
    tag = request[SESSION]
    body = await request.json()
    return web.json_response({"session": tag and tag.session_id, "model": body["model"]})


async def page(request: web.Request) -> web.Response:
    return web.json_response({"session": request[SESSION]})


def host(**options: Any) -> web.Application:
    app = web.Application(**options)
    app.router.add_post(CHAT, chat)
    app.router.add_get("/page", page)
    return app


async def ask(app: web.Application) -> tuple[dict[str, Any], str | None, dict[str, Any]]:
    """Serve an app for one chat request and one other; return answers and the tag header."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ClientSession() as client:
            async with client.post(url + CHAT, json=BODY) as response:
                answer = await response.json()
                header = response.headers.get("X-Gateway-Session-Id")
            async with client.get(f"{url}/page") as response:
                return answer, header, await response.json()
    finally:
        await runner.cleanup()


def traces(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (tmp_path / "traces").glob("*.json")]


async def test_setup_gives_requests_their_session(source: dict[str, Any], tmp_path: Path) -> None:
    app = host()
    setup(app, source)
    answer, header, other = await ask(app)
    assert answer["model"] == "m"
    assert header
    assert answer["session"] == header
    assert other == {"session": None}
    assert [trace["session_id"] for trace in traces(tmp_path)] == [header]


def test_the_middleware_opens_by_itself_and_closes_with_the_loop(
    source: dict[str, Any], tmp_path: Path
) -> None:
    async def main() -> tuple[dict[str, Any], str | None, dict[str, Any]]:
        return await ask(host(middlewares=[session_middleware(source)]))

    answer, header, other = asyncio.run(main())
    assert answer["session"] == header
    assert header
    assert other == {"session": None}
    assert [trace["session_id"] for trace in traces(tmp_path)] == [header]


def test_a_host_that_serves_already_goes_on_without_sessions(
    source: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "traces").write_text("a file where the folder should be")

    async def main() -> tuple[dict[str, Any], str | None, dict[str, Any]]:
        return await ask(host(middlewares=[session_middleware(source)]))

    assert asyncio.run(main()) == ({"session": None, "model": "m"}, None, {"session": None})
    assert [message for message in caplog.messages if message.startswith("no sessions: ")]


async def test_the_headers_of_responses_can_be_switched_off(tmp_path: Path) -> None:
    config = Config(
        server=Server(response_headers="none"),
        interceptors=(),
        state_directory=str(tmp_path / "state"),
    )
    app = host()
    setup(app, config)
    answer, header, _ = await ask(app)
    assert answer["session"]
    assert header is None


async def test_a_file_can_be_named(source: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(json.dumps(source))
    app = host()
    setup(app, path)
    answer, header, _ = await ask(app)
    assert answer["session"] == header


@pytest.mark.parametrize("give", [session_middleware, lambda config: setup(host(), config)])
def test_a_wrong_configuration_is_told_at_once(give: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        give({"sesion": {}})
    assert str(caught.value) == ("the configuration: unknown key sesion; did you mean session?")


async def test_asgi_from_a_configuration(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["gateway_sessions"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    wrapped = SessionASGIMiddleware(
        app,
        {
            "interceptors": [],
            "state_directory": str(tmp_path),
            "server": {"response_headers": "id"},
            # Nothing tells an app without a lifespan to end what records.
            "session_recording": {"enabled": False},
        },
    )
    sent: list[Any] = []
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"host", b"x")],
        "client": ("192.0.2.7", 4711),
    }
    await wrapped(scope, receive, send)
    tags = {name.lower(): value for name, value in sent[0]["headers"] if b"gateway" in name.lower()}
    assert tags == {b"x-gateway-session-id": seen[0].session_id.encode()}
