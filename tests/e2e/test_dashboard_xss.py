"""Recorded text never becomes markup: 200 payloads in every field, none runs, none calls home."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from gateway_sessions import FeedEvent
from tests.e2e.chromium import COMMAND, INSTALL, Page, chromium
from tests.interceptors.dashboard.served import database, serving
from tests.interceptors.dashboard.test_live import Recording
from tests.storage.recorded import Talk

pytestmark = pytest.mark.needs(COMMAND, INSTALL)

HOME = "//evil.example/"
_ACTS = ("alert(1)", "window.hit=1", f"fetch('{HOME}')", f"new Image().src='{HOME}'")
_SHAPES = (
    "<script>{}</script>",
    "</script><script>{}</script>",
    '"><script>{}</script>',
    "'><img src=x onerror={}>",
    '<img src=x onerror="{}">',
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<body onload={}>",
    "<iframe srcdoc='<script>{}</script>'></iframe>",
    '<iframe src="javascript:{}"></iframe>',
    '<a href="javascript:{}" autofocus onfocus="{}">x</a>',
    "<input autofocus onfocus={}>",
    "<details open ontoggle={}>x</details>",
    "<video><source onerror={}></video>",
    '<object data="javascript:{}"></object>',
    "<style>@import '//evil.example/s.css';</style><script>{}</script>",
    "<link rel=stylesheet href=//evil.example/s.css onload={}>",
    '<meta http-equiv=refresh content="0;url=javascript:{}">',
    "<base href=//evil.example/><script>{}</script>",
    "<form action=//evil.example/ id=f></form><button form=f autofocus onfocus={}>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror={}>",
    '<noscript><p title="</noscript><img src=x onerror={}>">',
    "<template><script>{}</script></template>",
    "<!--><img src=x onerror={}>-->",
    "<![CDATA[<script>{}</script>]]>",
    "</title><script>{}</script>",
    "</textarea><script>{}</script>",
    "</style><script>{}</script>",
    "</pre></div><script>{}</script>",
    '" onmouseover="{}" onfocus="{}" autofocus x="',
    "' onfocus='{}' autofocus x='",
    "javascript:{}",
    "data:text/html,<script>{}</script>",
    "{{{{constructor.constructor('{}')()}}}}",
    "${{{}}}",
    "{{% raw %}}<script>{}</script>",
    "&lt;script&gt;{}&lt;/script&gt;",
    "\\u003cscript\\u003e{}\\u003c/script\\u003e",
    "<scr\0ipt>{}</scr\0ipt>",
    "<\u202escript>{}</script>",
    "\x1b]8;;javascript:{}\x07<script>{}</script>",
    "<ScRiPt/x>{}</sCrIpT>",
    "<img/src=x/onerror={}//",
    "<x onclick={} tabindex=1 autofocus>",
    "<audio src=x onerror={}>",
    "<select autofocus onfocus={}>",
    "<marquee onstart={}>x</marquee>",
    "\r\nContent-Type: text/html\r\n\r\n<script>{}</script>",
    "<img srcset='//evil.example/i 1x' onerror={}>",
)
PAYLOADS = [shape.replace("{}", act).replace("{{", "{").replace("}}", "}")
            for shape, act in itertools.product(_SHAPES, _ACTS)]  # fmt: skip
NOW = datetime.now(UTC)


def talks() -> list[Talk]:
    """Return a session for each payload, and ten that are full of them."""
    found = []
    for number, payload in enumerate(PAYLOADS):
        started = NOW - timedelta(seconds=4_000 - number)
        clean = payload.replace("\0", "")
        talk = Talk(
            f"{number}{clean}", started=started, provider=clean, client_ip=clean, user_agent=clean
        )
        talk.ask(clean, clean, model_name=clean, model_requested=clean, relation=clean,
                 source=clean, error_message=clean, finish_reason=clean,
                 success=number % 2, request_id=f"r{number}{clean}")  # fmt: skip
        found.append(talk.call(clean, clean, tool_arguments=clean))
    for ten in range(10):
        talk = Talk(f"full_{ten}", started=NOW - timedelta(seconds=60))
        for number in range(20):
            text = PAYLOADS[20 * ten + number].replace("\0", "")
            talk.ask(text, text, relation="fork", source=text, error_message=text, success=0)
            talk.call(text, f"c{number}", tool_arguments=text, success=0)
        found.append(talk)
    return found


def places() -> list[str]:
    """Return the pages that together show every payload in every place."""
    numbered = [f"{number}{PAYLOADS[number]}".replace("\0", "") for number in range(0, 200, 9)]
    found = ["", "?period=hour", "?period=month", "/models?period=hour", "/models?period=month",
             "/tail", f"/list?text={quote(PAYLOADS[0])}", f"/list?x={quote(PAYLOADS[4])}",
             f"/list?min_cost={quote(PAYLOADS[8])}", f"/list?{quote(PAYLOADS[12])}=1",
             f"?period={quote(PAYLOADS[16])}", f"/session/{quote(PAYLOADS[20], '')}"]  # fmt: skip
    found += [f"/list?page={number}" for number in range(1, 6)]
    found += [f"/session/full_{ten}" for ten in range(10)]
    found += [f"/session/{quote(one, safe='')}" for one in numbered]
    found += [
        f"/session/{quote(one, safe='')}/request/{quote('r' + one, safe='')}" for one in numbered
    ]
    return found


def test_there_are_two_hundred_payloads() -> None:
    assert len(set(PAYLOADS)) == 200


async def test_nothing_that_was_recorded_runs_or_calls_home(tmp_path: Path) -> None:
    path, recording = database(tmp_path / "s.db", talks()), Recording()
    async with (
        serving(path, NOW, recording=recording) as client,
        chromium(tmp_path / "profile") as page,
    ):
        base = f"http://{client.host}:{client.port}/sessions"
        for place in places():
            await page.open(base + place)
            await assert_harmless(page, place)
        await assert_live_is_harmless(page, recording, base)
        assert page.dialogs == []
        ours = (base, base.replace("http", "ws", 1), "about:")
        assert [url for url in page.requests if not url.startswith(ours)] == []
        spoken = [text for text in page.console if "status of 40" not in text]
        assert spoken == []


async def assert_harmless(page: Page, place: str) -> None:
    """Nothing ran, and nothing of what was recorded is an element."""
    assert await page.run("window.hit") is None, place
    assert await page.run("document.querySelectorAll('script').length") == 1, place
    strange = (
        "main script, main img, main iframe, main object, main style, main link, main base,"
        " main video, main audio, main template, main math, main marquee, main meta, main x,"
        " [onerror], [onload], [onfocus], [ontoggle], [onclick], [onbegin], [srcdoc], [autofocus],"
        " a[href^='javascript'], a[href^='data']"
    )
    assert await page.run(f'document.querySelectorAll("{strange}").length') == 0, place


async def assert_live_is_harmless(page: Page, recording: Recording, base: str) -> None:
    await page.open(f"{base}/tail")
    await page.until("document.querySelector('#live').textContent === 'Live'")
    for payload in PAYLOADS:
        fields = dict.fromkeys(
            ("request_text", "relation", "model_requested", "reason", "timestamp", "status"),
            payload,
        )
        text = msgspec.json.encode(fields | {"type": "request_recorded"})
        event = FeedEvent(session_id=payload, request_id=payload, type="error", json=text)
        recording.listeners[0](event)
    await page.until("document.querySelectorAll('#tail li.fresh').length === 200")
    await assert_harmless(page, "live")
