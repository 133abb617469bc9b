"""Pages as bytes: what goes with every answer, and what recorded texts may not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway_sessions import look
from interceptors.dashboard import rendering
from interceptors.dashboard.database import Problem
from interceptors.dashboard.rendering import HEADERS, LOGGED_IN, page, serve_static, static_files

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m\u2028"


def shown(title: str = "No", sentence: str = "Nothing", base: str = "/sessions") -> str:
    problem = Problem(title, sentence, 404)
    text = page("problem.html", base, 404, here="", problem=problem).text
    assert text is not None
    return text


def test_a_page_says_what_browsers_may_do_with_it() -> None:
    made = page("problem.html", "/sessions", 404, here="", problem=Problem("a", "b", 404))
    assert (made.status, made.content_type, made.charset) == (404, "text/html", "utf-8")
    assert made.headers.items() >= HEADERS.items()


def test_recorded_texts_are_nothing_but_texts() -> None:
    text = shown(sentence=HOSTILE)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_lines_of_texts_stay_lines_and_hide_nothing() -> None:
    said = rendering._environment().filters["said"]
    assert said("a\tb\nc") == "a   b\nc"
    for character in "\u202e\x1b":
        assert character not in said(f"x{character}y")


@pytest.mark.parametrize(
    ("others", "query"),
    [
        ({}, "?sort=cost&page=2"),
        ({"page": None}, "?sort=cost"),
        ({"page": 3, "text": "a&b"}, "?sort=cost&page=3&text=a%26b"),
        ({"page": "", "sort": ""}, "?"),
    ],
)
def test_addresses_are_put_otherwise_in_parts(others: dict[str, object], query: str) -> None:
    assert rendering._query({"sort": "cost", "page": 2}, **others) == query


def test_ids_are_quoted_in_addresses() -> None:
    assert rendering._environment().filters["path"]("a/b?c#d") == "a%2Fb%3Fc%23d"


def test_all_addresses_are_below_where_the_page_was_asked_for() -> None:
    assert 'href="/behind/sessions/list"' in shown(base="/behind/sessions")


def test_who_came_with_a_login_can_end_it() -> None:
    assert "/logout" not in shown()
    token = LOGGED_IN.set(True)
    try:
        assert "/logout" in shown()
    finally:
        LOGGED_IN.reset(token)


def test_the_style_sheet_begins_with_the_look_of_all_our_pages() -> None:
    assert static_files()["dashboard.css"].startswith(look().encode())


@pytest.mark.parametrize("name", sorted(static_files()))
async def test_static_files_are_kept_under_the_address_of_their_version(name: str) -> None:
    request = make_mocked_request("GET", "/", match_info={"name": name})
    answer = await serve_static(request)
    assert answer.body == static_files()[name]
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert (
        answer.content_type
        == {
            ".js": "text/javascript",
            ".css": "text/css",
            ".svg": "image/svg+xml",
        }[Path(name).suffix]
    )
    assert len(rendering._version(name)) == 12


@pytest.mark.parametrize("name", ["../rendering.py", "nothing.js", ""])
async def test_other_files_are_not_there(name: str) -> None:
    request = make_mocked_request("GET", "/", match_info={"name": name})
    with pytest.raises(web.HTTPNotFound):
        await serve_static(request)
