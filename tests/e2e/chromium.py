"""A real browser, headless, spoken to by the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

COMMAND = "chromium"
INSTALL = "apt-get install chromium"
SECONDS = 30.0
"""For anything that a browser is asked for; a busy machine may be slow."""

Json = dict[str, Any]


class Page:
    """A tab; what it does is noted: dialogs, messages of the console, requests."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._loaded = asyncio.Event()
        self.dialogs: list[str] = []
        self.console: list[str] = []
        """Messages and errors, those of the content security policy among them."""
        self.requests: list[str] = []
        """Addresses of all requests."""

    async def read(self) -> None:
        """Take in what the browser says, until it is closed."""
        async for message in self._socket:
            found = message.json()
            if "id" in found:
                waiting = self._answers.pop(found["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(found)
            else:
                await self._note(found["method"], found["params"])

    async def _note(self, method: str, params: Json) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            await self._say("Page.handleJavaScriptDialog", {"accept": False})
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(each.get("value")) for each in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif method in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requests.append(params.get("url") or params["request"]["url"])

    async def _say(self, method: str, params: Json) -> int:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        return self._number

    async def send(self, method: str, **params: Any) -> Json:
        """Ask for something and return the answer."""
        number = self._number + 1
        waiting = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._say(method, params)
        answer = await asyncio.wait_for(waiting, SECONDS)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        result: Json = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        await self._loading(self.send("Page.navigate", url=url))

    async def click(self, selector: str) -> None:
        """Click what a selector names, and wait for the page to which that leads."""
        await self._loading(self.run(f"document.querySelector({selector!r}).click()"))

    async def _loading(self, act: Any) -> None:
        self._loaded.clear()
        await act
        await asyncio.wait_for(self._loaded.wait(), SECONDS)

    async def run(self, script: str) -> Any:
        """Return what a script evaluates to."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until a condition holds in the page; it is looked at with every frame."""
        script = f"""new Promise((done) => {{
            const look = () => ({condition}) ? done(true) : setTimeout(look, 20);
            look();
        }})"""
        await asyncio.wait_for(self.run(script), SECONDS)

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        code = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38}.get(key, 0)
        text: Json = (
            {"text": "\r" if key == "Enter" else key} if len(key) == 1 or code == 13 else {}
        )
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )

    async def looks(self, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Take a size in pixels and a colour scheme."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    async def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen, or the whole page, as PNG."""
        answer = await self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own; yield its tab."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        # Without it Chromium refuses to start as root, which it is in containers.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        port = await asyncio.wait_for(_port(process), SECONDS)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/json/list") as tabs,
        ):
            address = next(
                tab["webSocketDebuggerUrl"] for tab in await tabs.json() if tab["type"] == "page"
            )
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(page.read())
                    for area in ("Page", "Runtime", "Log", "Network"):
                        await page.send(f"{area}.enable")
                    yield page
                    reading.cancel()
    finally:
        process.kill()
        await process.wait()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if found := re.search(rb"ws://127\.0\.0\.1:(\d+)/", line):
            return int(found[1])
    raise AssertionError("Chromium did not start")
