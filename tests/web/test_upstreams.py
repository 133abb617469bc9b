from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from gateway_sessions.config.schema import Match
from gateway_sessions.config.schema import Upstream as Config
from gateway_sessions.web.upstreams import PRESETS, UpstreamTable, inject_cache_key
from tests.web.harness import CHAT, QUESTION, answers, gateway, request, response, upstream


class TestRouting:
    @staticmethod
    async def chosen(path: str, headers: dict[str, str], *matches: Match) -> str | None:
        rows = [
            Config(url="http://u", name=str(at), match=match) for at, match in enumerate(matches)
        ]
        table = UpstreamTable(rows)
        await table.open()
        found = table.route(path, headers)
        await table.close()
        return None if found is None else found.upstream.name

    @pytest.mark.parametrize(
        ("pattern", "path", "fits"),
        [
            ("/*", "/anything/at?all", True),
            ("/v1/*", "/v1/chat/completions", True),
            ("/v1/*", "/v1/", True),
            ("/v1/*", "/v1", False),
            ("/v1/*", "/v2/chat", False),
            ("*/messages", "/anthropic/v1/messages?beta=true", True),
            ("/v1/models", "/v1/models", True),
            ("/v1/models", "/v1/models/x", False),
            ("/a.b/*", "/axb/c", False),
            ("/v1/*/files", "/v1/a/b/files", True),
            ("/v1/*", "/v1/%0A", True),
        ],
    )
    async def test_by_path(self, pattern: str, path: str, fits: bool) -> None:
        assert await self.chosen(path, {}, Match(path=pattern)) == ("0" if fits else None)

    @pytest.mark.parametrize(
        ("headers", "fits"),
        [
            ({"x-team": "blue", "x-tier": "gold"}, True),
            ({"x-team": "blue-2", "x-tier": "gold"}, True),
            ({"x-team": "red", "x-tier": "gold"}, False),
            ({"x-team": "blue"}, False),
            ({}, False),
        ],
    )
    async def test_by_headers(self, headers: dict[str, str], fits: bool) -> None:
        match = Match(headers={"x-team": "blue*", "x-tier": "gold"})
        assert await self.chosen("/", headers, match) == ("0" if fits else None)

    async def test_the_first_that_matches_wins(self) -> None:
        rows = (Match(path="/v1/special"), Match(path="/v1/*"), Match(), Match(path="/v1/*"))
        assert await self.chosen("/v1/special", {}, *rows) == "0"
        assert await self.chosen("/v1/other", {}, *rows) == "1"
        assert await self.chosen("/other", {}, *rows) == "2"


async def test_requests_go_where_the_table_says() -> None:
    async with upstream(answers(response(b"a"))) as a, upstream(answers(response(b"b"))) as b:
        rows = (Config(url=a.url, match=Match(path="/a/*")), Config(url=b.url + "/base/"))
        async with gateway(*rows) as gw:
            assert (await gw.ask(request(target="/a/x"))).body == b"a"
            assert (await gw.ask(request(target="/b/x?y"))).body == b"b"
        assert b.requests[0].lines[0] == "POST /base/b/x?y HTTP/1.1"


async def test_a_request_that_no_upstream_wants_is_a_404() -> None:
    async with gateway(Config(url="http://127.0.0.1:9", match=Match(path="/a/*"))) as gw:
        answer = await gw.ask(request())
        assert answer.status == 404
        assert "No upstream" in json.loads(answer.body)["error"]["message"]


async def test_the_embedded_upstream_answers() -> None:
    async with gateway("builtin://echo") as gw:
        answer = await gw.ask(request())
        assert answer.status == 200
        assert json.loads(answer.body)["object"] == "chat.completion"


async def test_credentials_of_an_upstreams_url_are_for_clients_without_any() -> None:
    async with upstream(answers(response())) as up:
        async with gateway(up.url.replace("//", "//me:p%40ss@")) as gw:
            await gw.ask(request())
            await gw.ask(request(QUESTION, "Authorization: Bearer mine"))
        assert up.requests[0].header("authorization") == ["Basic bWU6cEBzcw=="]
        assert up.requests[1].header("authorization") == ["Bearer mine"]


class TestInjection:
    @staticmethod
    async def sent(inject: Any, *lines: str, body: bytes = QUESTION, target: str = CHAT) -> Any:
        """Return the request that an upstream gets, and the session."""
        async with (
            upstream(answers(response())) as up,
            gateway(Config(url=up.url, inject=inject)) as gw,
        ):
            await gw.ask(request(body, *lines, target=target))
            tag = (await gw.exchanges())[0].session
        return up.requests[0], tag

    async def test_the_session_is_told_by_default(self) -> None:
        received, tag = await self.sent(True)
        assert received.header("x-gateway-session-id") == [tag.session_id]
        assert not [line for line in received.lines if "X-Gateway-Request" in line]

    async def test_but_not_over_an_id_of_the_client(self) -> None:
        received, _ = await self.sent(True, "x-gateway-session-id: mine")
        assert received.header("x-gateway-session-id") == ["mine"]

    async def test_off_means_that_nothing_of_ours_passes(self) -> None:
        lines = ("X-Gateway-Session-Id: mine", "X-Gateway-Parent-Session-Id: yours")
        received, _ = await self.sent(False, *lines)
        assert not [line for line in received.lines if line.lower().startswith("x-gateway")]

    async def test_our_other_request_headers_never_pass(self) -> None:
        received, _ = await self.sent(True, "X-Gateway-Parent-Session-Id: yours")
        assert received.header("x-gateway-parent-session-id") == []

    async def test_a_mapping_takes_the_place_of_our_header(self) -> None:
        mapping = {"x-s": "session", "x-r": "root", "x-p": "parent", "x-q": "request"}
        received, tag = await self.sent(mapping, "X-Gateway-Session-Id: mine")
        assert received.header("x-s") == [tag.session_id]
        assert received.header("x-r") == [tag.root_session_id]
        assert received.header("x-p") == []
        assert received.header("x-q")[0].startswith("req_")
        assert received.header("x-gateway-session-id") == []

    async def test_a_mapped_header_of_the_client_is_left_as_it_is(self) -> None:
        received, _ = await self.sent({"X-S": "session"}, "x-s: mine")
        assert received.header("x-s") == ["mine"]

    @pytest.mark.parametrize("preset", [name for name in PRESETS if name != "openai"])
    async def test_a_preset_is_a_mapping(self, preset: str) -> None:
        received, tag = await self.sent(preset)
        (name,) = PRESETS[preset]
        assert received.header(name) == [tag.session_id]

    async def test_openai_gets_the_session_in_the_body(self) -> None:
        received, tag = await self.sent("openai")
        body = json.loads(received.body)
        assert body.pop("prompt_cache_key") == tag.session_id
        assert body == json.loads(QUESTION)
        assert received.header("content-length") == [str(len(received.body))]

    async def test_but_not_where_the_body_is_not_plain_openai(self) -> None:
        packed = gzip.compress(QUESTION)
        received, _ = await self.sent("openai", "Content-Encoding: gzip", body=packed)
        assert received.body == packed
        received, _ = await self.sent("openai", target="/v1/messages")
        assert received.body == QUESTION

    @pytest.mark.parametrize(
        "body", [b"{}", b"[]", b"", b'"x"', b"{", b'{"prompt_cache_key": "mine"}', b'{"a": "\xff"']
    )
    def test_a_body_without_room_for_it_stays_as_it_is(self, body: bytes) -> None:
        assert inject_cache_key(body, "s") in (body, b'{"prompt_cache_key":"s","a": "\xff"')

    def test_all_other_bytes_stay_as_they_are(self) -> None:
        body = b' \n{ "z" : 1.0 , "z":\t2}\n'
        assert inject_cache_key(body, "s") == b' \n{"prompt_cache_key":"s", "z" : 1.0 , "z":\t2}\n'
