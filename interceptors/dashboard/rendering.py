"""Pages to bytes: templates, the rules that browsers are given for them, and static files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web
from jinja2 import Environment

from gateway_sessions import look, page_environment
from interceptors.dashboard.reasons import because

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not "no-referrer": with it a form of ours would say that it comes from nowhere.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""With every answer.  Even if something recorded got into a page as markup, it could neither run
nor load or send anything."""

_FOLDER = Path(__file__).parent
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@cache
def static_files() -> Mapping[str, bytes]:
    """Return what pages load, by name; the style sheet begins with the look of all our pages."""
    files = {path.name: path.read_bytes() for path in (_FOLDER / "static").iterdir()}
    files["dashboard.css"] = look().encode() + files["dashboard.css"]
    return files


@cache
def _version(name: str) -> str:
    return hashlib.sha256(static_files()[name]).hexdigest()[:12]


async def serve_static(request: web.Request) -> web.Response:
    """Answer with a static file; it may be kept, since its address changes with it."""
    name = request.match_info["name"]
    body = static_files().get(name)
    if body is None:
        raise web.HTTPNotFound
    headers = HEADERS | {"Cache-Control": "private, max-age=31536000, immutable"}
    kind = _TYPES[Path(name).suffix]
    return web.Response(body=body, headers=headers, content_type=kind, charset="utf-8")


LOGGED_IN: ContextVar[bool] = ContextVar("logged_in", default=False)
"""Whether who looks at a page came with a login, and may want to end it."""


def page(template: str, base: str, status: int = 200, **values: Any) -> web.Response:
    """Return a page; ``base`` is the path of the overview, before which there may be a prefix."""
    made = (
        _environment().get_template(template).render(base=base, logged_in=LOGGED_IN.get(), **values)
    )
    return web.Response(
        text=made, status=status, content_type="text/html", charset="utf-8", headers=HEADERS
    )


@cache
def _environment() -> Environment:
    environment = page_environment(_FOLDER / "templates")
    plain = environment.filters["plain"]
    environment.filters |= {
        "said": lambda text: _said(text, plain),
        "path": lambda text: quote(text, safe=""),
        "clock": lambda text: text[11:19],
        "day": lambda text: text[:10],
    }
    environment.globals |= {"because": because, "version": _version, "query": _query}
    return environment


def _said(text: str, plain: Callable[[str], str]) -> str:
    """Return a text of several lines with nothing in it that turns or hides others."""
    return "\n".join(plain(line.expandtabs(4)) for line in text.splitlines())


def _query(pairs: Mapping[str, Any], **others: Any) -> str:
    """Return the query of an address: ``pairs``, some of them put otherwise or left out."""
    found = {name: value for name, value in {**pairs, **others}.items() if value not in (None, "")}
    return f"?{urlencode(found, doseq=True)}" if found else "?"
