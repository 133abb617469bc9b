"""The dashboard in a real browser, in front of a real gateway."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway_sessions import app
from gateway_sessions.config import load
from gateway_sessions.samples import LEAD, SampleExchange, run_samples
from tests.e2e.chromium import COMMAND, INSTALL, Page, chromium

pytestmark = pytest.mark.needs(COMMAND, INSTALL)

TOKEN = "a-token-of-some-length"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@asynccontextmanager
async def gateway(folder: Path, **admin: Any) -> AsyncIterator[app.Running]:
    running = await app.start(
        load(
            {
                "state_directory": str(folder / "state"),
                "server": {"port": 0, "response_headers": "all"},
                "admin": admin,
                "upstream": "builtin://echo",
                "logging": {"level": "WARNING"},
                "session_recording": {
                    "jsonl": {"directory": str(folder / "sessions")},
                    "sqlite": {"path": str(folder / "sessions.db")},
                },
            }
        )
    )
    try:
        yield running
    finally:
        await running.stop()


async def sampled(running: app.Running) -> list[SampleExchange]:
    """Hold the sample conversations; return when they are recorded."""
    exchanges = await run_samples(running.url)
    await running.assembly.gateway.flush()
    return exchanges


@asynccontextmanager
async def looking(folder: Path) -> AsyncIterator[tuple[app.Running, Page, str]]:
    """Yield a gateway with recorded traffic, a browser, and the lead agent's session."""
    async with gateway(folder) as running, chromium(folder / "profile") as page:
        exchanges = await sampled(running)
        lead = next(each for each in exchanges if each.conversation == LEAD)
        await page.looks()
        yield running, page, lead.session_id


def addresses(running: app.Running, session_id: str) -> list[str]:
    base = running.dashboard_url
    places = ["", "?period=hour", "/list", f"/session/{session_id}", "/models", "/tail"]
    return [f"{base}{place}" for place in places]


def assert_calm(page: Page, running: app.Running) -> None:
    """Nothing went wrong in the browser, and nothing left for elsewhere."""
    assert page.console == []
    assert page.dialogs == []
    ours = (running.admin_url, running.admin_url.replace("http", "ws", 1), "about:")
    assert [url for url in page.requests if not url.startswith(ours)] == []


async def test_clicking_through_every_page(tmp_path: Path) -> None:
    async with looking(tmp_path) as (running, page, lead):
        await page.open(f"{running.dashboard_url}?period=hour")
        await page.until("document.querySelector('#live').textContent === 'Live'")
        figures = await page.run("document.querySelector('.figures').innerText")
        assert re.search(r"Requests\s+46\b", figures)
        for place in ("models", "tail", "list"):
            await page.click(f".top a[href$='/{place}']")
            assert await page.run("document.querySelectorAll('.card').length") > 0
        assert len(await rows(page)) == 18
        await page.click(f"a.row[href$='{lead}']")
        tree = await page.run("document.querySelector('.tree').innerText")
        assert tree.count("sess_") == 2
        assert await page.run("document.querySelectorAll('.turn').length") == 4
        await page.click(".turn:nth-child(2) a.number")
        assert await page.run("document.querySelector('h1').innerText") == "Turn 2 of 4"
        body = await page.run("document.querySelector('pre').innerText")
        assert '"model": "claude' in body
        await page.click("a[rel=next]")
        assert await page.run("document.querySelector('h1').innerText") == "Turn 3 of 4"
        await page.click(".crumbs a:nth-child(2)")
        await page.click(".tree a")
        assert "started by" in await page.run("document.querySelector('.crumbs').innerText")
        assert_calm(page, running)


async def rows(page: Page) -> list[str]:
    found: list[str] = await page.run(
        "[...document.querySelectorAll('[data-rows] a.row')].map((row) => row.innerText)"
    )
    return found


async def test_searching_and_paging(tmp_path: Path) -> None:
    async with looking(tmp_path) as (running, page, _):
        await page.open(f"{running.dashboard_url}/list")
        await page.run("document.querySelector('#search').value = 'lighthouse'")
        await page.click("form.filter button")
        found = await rows(page)
        assert found
        assert all("lighthouse" in row for row in found)
        await page.run("document.querySelector('[name=min_cost]').value = 'much'")
        await page.click("form.filter button")
        alert = await page.run("document.querySelector('[role=alert]').innerText")
        assert alert.startswith("Least cost must be an amount in dollars")
        assert await page.run("document.querySelector('[name=min_cost]').value") == "much"


async def test_what_happens_appears_by_itself(tmp_path: Path) -> None:
    async with looking(tmp_path) as (running, page, _):
        await page.open(f"{running.dashboard_url}/tail")
        await page.until("document.querySelector('#live').textContent === 'Live'")
        question = {"role": "user", "content": "Is this <b>seen</b> at once?"}
        async with aiohttp.ClientSession() as client:
            url = f"{running.url}/v1/chat/completions"
            await client.post(url, json={"model": "echo-1", "messages": [question]})
        await page.until(
            "document.querySelector('#tail').innerText.includes('Is this <b>seen</b> at once?')"
        )
        await page.run("document.querySelector('#pause').click()")
        assert await page.run("document.querySelector('#pause').innerText") == "Go on"
        await page.open(f"{running.dashboard_url}/list")
        await page.until("document.querySelector('#live').textContent === 'Live'")
        async with aiohttp.ClientSession() as client:
            question["content"] = "A second one"
            await client.post(url, json={"model": "echo-1", "messages": [question]})
        await page.until("document.querySelector('.rows').innerText.includes('A second one')")
        assert_calm(page, running)


async def test_keys_walk_through_lists(tmp_path: Path) -> None:
    async with looking(tmp_path) as (running, page, _):
        await page.open(f"{running.dashboard_url}/list")
        order = await page.run("[...document.querySelectorAll('a.row')].map((row) => row.href)")
        focused = "document.activeElement.href"
        for key, place in (("j", 0), ("j", 1), ("ArrowDown", 2), ("k", 1)):
            await page.press(key)
            assert await page.run(focused) == order[place]
        await page.press("/")
        assert await page.run("document.activeElement.id") == "search"
        await page.press("j")
        assert await page.run("document.activeElement.value") == "j"
        await page.open(f"{running.dashboard_url}/list")
        await page.press("Tab")
        assert await page.run("document.activeElement.className") == "skip"
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.run(ring) == "solid"
        await page.press("Enter")
        assert await page.run("document.activeElement.id") == "content"


async def test_on_a_phone_nothing_is_wider_than_the_screen_and_at_night_it_is_dark(
    tmp_path: Path,
) -> None:
    async with looking(tmp_path) as (running, page, lead):
        await page.looks(width=360, height=740)
        for url in addresses(running, lead):
            await page.open(url)
            assert await page.run(WIDE) <= 0, url
        colour = "getComputedStyle(document.body).backgroundColor"
        light = await page.run(colour)
        await page.looks(scheme="dark")
        assert (light, await page.run(colour)) == ("rgb(245, 246, 248)", "rgb(18, 22, 29)")


async def test_pages_do_without_scripts(tmp_path: Path) -> None:
    async with looking(tmp_path) as (running, page, lead):
        await page.send("Emulation.setScriptExecutionDisabled", value=True)
        for url in addresses(running, lead):
            await page.open(url)
            document = await page.send("DOM.getDocument")
            found = await page.send(
                "DOM.querySelectorAll", nodeId=document["root"]["nodeId"], selector="main a"
            )
            assert found["nodeIds"], url


async def test_a_browser_logs_in_with_the_token(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path, token=TOKEN, listen="127.0.0.1:0") as running,
        chromium(tmp_path / "profile") as page,
    ):
        await page.open(f"{running.dashboard_url}/list?sort=cost")
        await page.run("document.querySelector('#token').value = 'wrong'")
        await page.click("form button")
        wrong = await page.run("document.querySelector('#wrong').innerText")
        assert wrong == "That is not the token."
        await page.run(f"document.querySelector('#token').value = '{TOKEN}'")
        await page.click("form button")
        assert await page.run("location.pathname + location.search") == "/sessions/list?sort=cost"
        await page.until("document.querySelector('#live').textContent === 'Live'")
        assert await page.run("document.cookie") == ""
        assert TOKEN not in "".join(page.requests)
        await page.click("footer button")
        assert await page.run("document.querySelector('#token') !== null")
