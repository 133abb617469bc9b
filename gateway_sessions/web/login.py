"""Logging in with a browser, which can not send a bearer token by itself.

Whoever sends the token once gets a cookie in exchange.  The cookie is good for the pages only,
not for the other endpoints; it holds nothing of the token, can not be read by scripts, goes out
with requests of our own pages alone, and ends by itself or with the process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

AREA = "/sessions"
"""The path of the pages; what lies below it takes the cookie too."""
LOGIN_COOKIE = "gateway_sessions_login"
LOGIN_SECONDS = 12 * 3600.0
"""How long a login lasts: a working day."""
MAX_FORM_BYTES = 16 * 1024
"""Of a login: more than any token and path take."""

_FOLDER = Path(__file__).parent / "templates"
_LOGIN, _LOGOUT = f"{AREA}/login", f"{AREA}/logout"


class Logins:
    """Gives cookies for the token, and knows those that it gave."""

    def __init__(
        self, token: bytes, prefix: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        """Take the token, and the path before those of our own endpoints."""
        self._token = token
        self._area = prefix + AREA
        self._prefix = prefix
        self._clock = clock
        # Made anew with every start, so that nothing about the token is in a cookie.
        self._key = secrets.token_bytes(32)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes that are open: who calls them has no cookie yet, or is done."""
        return [
            web.post(self._prefix + _LOGIN, self._log_in),
            web.post(self._prefix + _LOGOUT, self._log_out),
        ]

    def allows(self, request: web.Request) -> bool:
        """Tell whether a request for a page comes from one of our own pages, logged in."""
        return (
            request.method in ("GET", "HEAD")
            and self._is_page(request.path)
            and self._is_good(request.cookies.get(LOGIN_COOKIE, ""))
            and not _is_foreign(request)
        )

    def form(self, request: web.Request) -> web.Response | None:
        """Return the page to log in with for a browser that asks for a page; else None."""
        wants_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        if not wants_page or not self._is_page(request.path):
            return None
        return self._form(request.path_qs)

    def _form(self, after: str, *, wrong: bool = False) -> web.Response:
        # Only a page needs templates, and start-up time counts.
        from gateway_sessions.pages.environment import look, page_environment  # noqa: PLC0415

        style = look() + (_FOLDER / "login.css").read_text(encoding="utf-8")
        page = page_environment(_FOLDER).get_template("login.html")
        body = page.render(
            style=style, action=self._prefix + _LOGIN, after=self._after(after), wrong=wrong
        )
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none';"
                " form-action 'self'; frame-ancestors 'none'"
            ),
            "Referrer-Policy": "same-origin",
            "WWW-Authenticate": 'Bearer realm="gateway-sessions"',
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(text=body, status=401, content_type="text/html", headers=headers)

    async def _log_in(self, request: web.Request) -> web.Response:
        if _is_foreign(request):
            return web.Response(status=403, text="Log in on this gateway's own page.")
        body = await request.content.read(MAX_FORM_BYTES + 1)
        while len(body) <= MAX_FORM_BYTES and (more := await request.content.read(MAX_FORM_BYTES)):
            body += more
        if len(body) > MAX_FORM_BYTES:
            return web.Response(status=413, text="That is too long for a token.")
        fields = parse_qs(body.decode("utf-8", "replace"))
        after = fields.get("next", [""])[0]
        given = fields.get("token", [""])[0].strip().encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._token):
            return self._form(after, wrong=True)
        answer = self._sent_to(self._after(after))
        answer.set_cookie(
            LOGIN_COOKIE,
            self._issue(),
            max_age=int(LOGIN_SECONDS),
            path=self._area,
            httponly=True,
            samesite="Strict",
            secure=_is_encrypted(request),
        )
        return answer

    async def _log_out(self, request: web.Request) -> web.Response:
        answer = self._sent_to(self._area)
        if not _is_foreign(request):
            answer.del_cookie(LOGIN_COOKIE, path=self._area)
        return answer

    def _sent_to(self, place: str) -> web.Response:
        return web.Response(status=303, headers={"Location": place, "Cache-Control": "no-store"})

    def _after(self, place: str) -> str:
        """Return where to go after the login: a page of ours, never another site."""
        path = urlsplit(place).path if place.startswith(self._area) else ""
        plain = place.isascii() and place.isprintable() and "\\" not in place
        return place if plain and self._is_page(path) else self._area

    def _is_page(self, path: str) -> bool:
        return path == self._area or path.startswith(f"{self._area}/")

    def _issue(self) -> str:
        end = str(int(self._clock() + LOGIN_SECONDS))
        return f"{end}.{self._signed(end)}"

    def _is_good(self, cookie: str) -> bool:
        end, _, signature = cookie.partition(".")
        same = hmac.compare_digest(
            signature.encode("utf-8", "replace"), self._signed(end).encode("ascii")
        )
        return same and int(end) > self._clock()

    def _signed(self, end: str) -> str:
        return hmac.digest(self._key, end.encode("utf-8", "replace"), "sha256").hex()


def _is_foreign(request: web.Request) -> bool:
    """Tell whether a page of another site made the browser send a request."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    # A browser that does not say more: its page must have come from where the request goes.
    return origin.partition("://")[2] != request.headers.get("Host", "")


def _is_encrypted(request: web.Request) -> bool:
    """Tell whether the browser came over https, if only as far as a proxy before us."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "") == "https"
