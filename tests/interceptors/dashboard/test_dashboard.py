"""The dashboard's routes, over HTTP."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway_sessions.web.admin import AdminGuard, admin_routes
from interceptors.dashboard import Dashboard
from interceptors.dashboard.rendering import static_files
from tests.interceptors.dashboard.served import dashboard, database, serving
from tests.interceptors.exchanges import context
from tests.storage.recorded import NOW, Talk, many

PAGES = ["", "/list", "/session/sess_1", "/session/sess_1/request/req_sess_1_2", "/models", "/tail"]
ANSWERS = ["/overview", "/sessions", "/session/sess_1", "/models"]
BEARER = {"Authorization": "Bearer a-token"}
WEIGHT = 150_000
"""Bytes of a page with everything that it loads."""


def talk() -> Talk:
    made = Talk("sess_1", started=NOW - timedelta(hours=2))
    return made.ask("What is the <b>rounding</b>?").ask("And then?").call("grep", "call_1")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database(tmp_path_factory.mktemp("dashboard") / "sessions.db", [talk()])


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_keeps_browsers_from_running_or_sending_anything(
    recorded: Path, path: str
) -> None:
    async with serving(recorded) as client:
        answer = await client.get(f"/sessions{path}")
        text = await answer.text()
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?! src=\"/sessions/static/)|<style|\sstyle=|\son\w+=", text)
    assert not re.search(r"(src|href|action)=\"(?!/sessions)(?!#content)", text)
    assert "<b>rounding</b>" not in text


@pytest.mark.parametrize("path", PAGES)
async def test_links_hold_below_any_path(recorded: Path, path: str) -> None:
    made = dashboard(recorded)
    app = web.Application()
    app.add_routes(
        web.RouteDef(route.method, f"/own{route.path}", route.handler, route.kwargs)
        for route in made.routes()
    )
    async with TestClient(TestServer(app)) as client:
        text = await (await client.get(f"/own/sessions{path}")).text()
        places = set(re.findall(r"(?:src|href|action)=\"([^\"#]+)", text))
        assert all(place.startswith("/own/sessions") for place in places)
        for place in sorted(places - {"/own/sessions/logout"}):
            found = await client.get(place.replace("&amp;", "&"))
            assert found.status == 200, place
    made.close()


@pytest.mark.parametrize("path", ANSWERS)
async def test_figures_are_there_as_json(recorded: Path, path: str) -> None:
    async with serving(recorded) as client:
        answer = await client.get(f"/sessions/api{path}")
        assert answer.status == 200
        assert await answer.json()


async def test_pages_weigh_little(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", many(400, seed=3))
    long = Talk("sess_long", started=NOW - timedelta(hours=1))
    for _ in range(25):
        long.ask("<&'\"> " * 2_000, "\u2028ü😀" * 5_000)
        long.call("<tool>" * 20, f"call_{len(long.tools)}", tool_arguments="<" * 5_000)
    with closing(sqlite3.connect(path)) as connection:
        long.record(connection)
        connection.commit()
    loaded = sum(map(len, static_files().values()))
    session = "/session/sess_long"
    pages = ["", "?period=quarter", "?period=hour", "/list", "/models?period=month", "/tail"]
    async with serving(path) as client:
        for place in [*pages, session, f"{session}/request/req_sess_long_1"]:
            body = await (await client.get(f"/sessions{place}")).read()
            assert len(body) + loaded <= WEIGHT, place


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/list?min_cost=abc", 400, "Least cost must be an amount in dollars such as 0.25"),
        ("/list?nonsense=1", 400, "is nothing that can be asked for"),
        ("/list?text=zebra", 200, "No session fits"),
        ("/list?page=99", 200, "There is no such page"),
        ("?period=year", 400, "period must be one of hour, day"),
        ("/session/none", 404, "No such session is recorded."),
        ("/session/sess_1?page=0", 400, "page must be a whole number of at least 1."),
        ("/session/sess_1/request/none", 404, "No such request is recorded"),
        ("?period=hour", 200, "Nothing in this period"),
        ("/models?period=hour", 200, "Nothing in this period"),
    ],
)
async def test_what_can_not_be_shown_is_said(
    recorded: Path, path: str, status: int, words: str
) -> None:
    async with serving(recorded) as client:
        answer = await client.get(f"/sessions{path}")
        assert answer.status == status
        assert words in await answer.text()


@pytest.mark.parametrize(
    ("path", "words"),
    [("", "No requests yet"), ("/list", "No sessions yet"), ("/tail", "No requests yet")],
)
async def test_without_traffic_a_page_says_what_will_come(
    tmp_path: Path, path: str, words: str
) -> None:
    async with serving(database(tmp_path / "s.db", [])) as client:
        answer = await client.get(f"/sessions{path}")
        assert answer.status == 200
        assert words in await answer.text()


async def test_without_a_database_it_says_how_to_get_one(tmp_path: Path) -> None:
    for path in (None, tmp_path / "missing.db"):
        async with serving(path) as client:
            page = await client.get("/sessions")
            assert page.status == 404
            assert "session_recording.sqlite.enabled" in await page.text()
            answer = await client.get("/sessions/api/overview")
            assert answer.status == 404
            assert "session_recording.sqlite.enabled" in (await answer.json())["error"]


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_text("no database " * 100)
    async with serving(path) as client:
        answer = await client.get("/sessions")
        assert answer.status == 503
        assert "can not be read" in await answer.text()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a database so that nobody can read it: its journal is no log then."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        yield


async def test_a_database_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway_sessions.storage.readers.BUSY_SECONDS", 0.01)
    path = database(tmp_path / "s.db", [talk()])
    with _locked(path):
        async with serving(path) as client:
            answer = await client.get("/sessions")
            assert answer.status == 503
            text = await answer.text()
    assert "The database is busy" in text
    assert "Try again" in text


async def test_a_session_with_an_id_of_another_kind(tmp_path: Path) -> None:
    odd = "a/../b?c=<d>#é %2F{e}"
    path = database(tmp_path / "s.db", [Talk(odd, started=NOW - timedelta(minutes=5)).ask()])
    async with serving(path) as client:
        text = await (await client.get("/sessions/list")).text()
        (place,) = set(re.findall(r'class="row" href="([^"]+)"', text))
        page = await client.get(place, allow_redirects=False)
        assert page.status == 200
        (turn,) = set(re.findall(r'class="row number" href="([^"]+)"', await page.text()))
        assert (await client.get(turn)).status == 200


async def test_static_files_may_be_kept_and_others_are_not_there(recorded: Path) -> None:
    async with serving(recorded) as client:
        answer = await client.get("/sessions/static/dashboard.js?v=1")
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.content_type == "text/javascript"
        for name in ("nothing.js", "..%2F__init__.py", "%2e%2e%2f__init__.py"):
            assert (await client.get(f"/sessions/static/{name}")).status == 404


async def test_without_the_token_no_route_answers(recorded: Path) -> None:
    made = dashboard(recorded)
    routes = made.routes()
    app = web.Application()
    app.add_routes(
        admin_routes(
            version="1",
            started_at=0.0,
            effective_config={},
            problems=list,
            extra=routes,
            guard=AdminGuard("a-token"),
        )
    )
    async with TestClient(TestServer(app)) as client:
        for route in routes:
            path = re.sub(r"{(\w+)(:[^}]+)?}", "x", route.path)
            for method in ("GET", "HEAD", "POST", "DELETE"):
                for accept in ("*/*", "text/html"):
                    headers = {"Accept": accept}
                    answer = await client.request(method, path, headers=headers)
                    assert answer.status == 401, (method, path)
        assert (await client.ws_connect("/sessions/live", headers=BEARER)).closed is False
    made.close()


@pytest.mark.parametrize("connections", [2, 7])
def test_so_many_connections_read_as_are_configured(tmp_path: Path, connections: int) -> None:
    config = {"session_recording": {"sqlite": {"max_connections": connections}}}
    board = Dashboard()
    board.open(replace(context(), effective_config=config, database=tmp_path / "sessions.db"))
    assert board._database._threads._max_workers == connections
    board.close()
