"""The interceptors at work: called in order, each on its own risk.

An interceptor that raises, is late or answers nonsense is logged, counted and passed over; no
hook can break traffic or keep the next one from running.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.exchange import Exchange, Headers, Refusal
from gateway_sessions.hooks import Context, Interceptor
from gateway_sessions.recording.delivery import Delivery
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.quiet import Quiet, summary, trimmed
from gateway_sessions.telemetry import InterceptorFailed, Telemetry

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 0.25
"""What one inline hook may take; a client notices more."""

CLOSE_SECONDS = 5.0
"""What one ``close`` may take; after that the process ends without it."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""What HTTP allows in a header: anything else could smuggle in a second one."""

Named = Sequence[tuple[str, object]]
"""Interceptors with the names that logs and metrics call them by, in order."""


class InterceptorChain:
    """All interceptors of a gateway.

    ``named`` gives them in the order of the configuration; ``disabled`` the names of those that
    are configured but off, for the statistics.  All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        named: Named,
        telemetry: Telemetry,
        *,
        disabled: Sequence[str] = (),
        deadline_seconds: float = DEADLINE_SECONDS,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._named = tuple(named)
        self._disabled = tuple(disabled)
        self._telemetry = telemetry
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._opened: list[tuple[str, object]] = []
        self._quiet: dict[tuple[str, str], Quiet] = {}
        self._request_hooks = _having("request_started", self._named)
        self._upstream_hooks = _having("upstream_headers", self._named)
        self._client_hooks = _having("client_headers", self._named)
        self._finished_hooks = _having("exchange_finished", self._named)
        self._before_hooks = _having("before_write", self._named)
        self._failing = threading.Lock()
        """Held while a failure is logged: some happen on writers' threads."""
        writing = dict(_having("write", self._named))
        writers: list[Any] = [named for named in self._named if named[0] in writing]
        prepare = self._before_write if self._before_hooks else None
        self._delivery = Delivery(writers, telemetry, limits, prepare=prepare) if writers else None
        self.needs_request_hook = bool(self._request_hooks)
        """False where awaiting `request_started` would change nothing."""
        self.needs_exchange = bool(self._finished_hooks or writers)
        """False where nobody looks at finished exchanges."""
        self.needs_headers = any(getattr(i, "needs_headers", True) for _, i in self._named)
        """False where all interceptors say, by an attribute of this name, that they read none."""
        self.needs_body = any(getattr(i, "needs_body", True) for _, i in self._named)
        """False where all interceptors say, by an attribute of this name, that they read no
        request's body after its response has begun."""
        self.wants_raw_stream = any(getattr(i, "wants_raw_stream", False) for _, i in self._named)
        """True where an interceptor asks for `Response.raw_stream` by an attribute of this name."""

    async def open(self, context: Context) -> None:
        """Open all in order; if one refuses, close those that were opened and raise.

        Raises `StartError` or `ConfigError`, naming the interceptor.
        """
        context = replace(context, stats=self._with_own_stats(context.stats))
        for name, interceptor in self._named:
            self._opened.append((name, interceptor))
            try:
                for _, hook in _having("open", ((name, interceptor),)):
                    await _settled(hook(context))
            except BaseException as exc:
                await self.close()
                if isinstance(exc, (StartError, ConfigError)):
                    raise type(exc)(f"interceptor {name}: {exc}") from exc
                if isinstance(exc, Exception):
                    raise StartError(f"interceptor {name} could not be opened: {exc!r}") from exc
                raise
        if self._delivery is not None:
            self._delivery.open()

    async def close(self) -> None:
        """Write what is queued, then close all that were opened, the last one first.

        Idempotent.  A ``close`` that fails or takes too long is logged.
        """
        if self._delivery is not None:
            await self._delivery.shutdown()
        while self._opened:
            name, interceptor = self._opened.pop()
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    for _, hook in _having("close", ((name, interceptor),)):
                        await _settled(hook())
            except Exception as exc:  # noqa: BLE001 - the others must be closed too
                self._failed(name, "close", exc)

    async def request_started(self, exchange: Exchange) -> Refusal | None:
        """Ask all in order; the first `Refusal` wins and ends the asking."""
        for name, hook in self._request_hooks:
            started = self._monotonic()
            answer = None
            try:
                answer = hook(exchange)
                if answer is not None and not isinstance(answer, Refusal):
                    answer = await self._in_time(answer)
            except Exception as exc:  # noqa: BLE001 - a plug-in may raise anything
                self._failed(name, "request_started", exc)
                continue
            if self._is_late(name, "request_started", started) or answer is None:
                continue
            if isinstance(answer, Refusal):
                return answer
            self._failed(name, "request_started", TypeError(f"{answer!r} is not a Refusal"))
        return None

    def upstream_headers(self, exchange: Exchange) -> Headers:
        """Return what the interceptors add to the request to the upstream."""
        return self._headers("upstream_headers", self._upstream_hooks, exchange)

    def client_headers(self, exchange: Exchange) -> Headers:
        """Return what the interceptors add to the response to the client."""
        return self._headers("client_headers", self._client_hooks, exchange)

    def finished(self, exchange: Exchange) -> None:
        """Show a finished exchange to all hooks in order, then queue it for the writers."""
        for name, hook in self._finished_hooks:
            started = self._monotonic()
            try:
                hook(exchange)
            except Exception as exc:  # noqa: BLE001 - a plug-in may raise anything
                self._failed(name, "exchange_finished", exc)
                continue
            self._is_late(name, "exchange_finished", started)
        if self._delivery is not None:
            self._delivery.offer(exchange)

    def routes(self) -> list[AbstractRouteDef]:
        """Return the routes that the interceptors serve."""
        routes: list[AbstractRouteDef] = []
        for name, hook in _having("routes", self._named):
            try:
                routes.extend(hook())
            except Exception as exc:  # noqa: BLE001 - a plug-in may raise anything
                self._failed(name, "routes", exc)
        return routes

    def problems(self) -> list[str]:
        """Return one sentence for each writer that fails at present, for ``/readyz``."""
        return [] if self._delivery is None else self._delivery.problems()

    async def flush(self) -> None:
        """Return when everything finished before the call is written, or given up as failed."""
        if self._delivery is not None:
            await self._delivery.flush()

    def _headers(self, hook_name: str, hooks: _Hooks, exchange: Exchange) -> Headers:
        if not hooks:
            return ()
        added: list[tuple[str, str]] = []
        for name, hook in hooks:
            started = self._monotonic()
            try:
                headers = _checked(hook(exchange))
            except Exception as exc:  # noqa: BLE001 - a plug-in may raise anything
                self._failed(name, hook_name, exc)
                continue
            if not self._is_late(name, hook_name, started):
                added.extend(headers)
        return tuple(added)

    def _before_write(self, exchange: Exchange) -> Exchange | None:
        """Return what writers get of an exchange; runs on a writer's thread.

        None where a hook fails: what it would have taken out must not be written.
        """
        for name, hook in self._before_hooks:
            try:
                answer = hook(exchange)
                if not isinstance(answer, Exchange):
                    raise TypeError(f"a {type(answer).__name__} is no Exchange")  # noqa: TRY301
            except BaseException as exc:  # noqa: BLE001 - it must not end the writer's thread
                self._failed(name, "before_write", exc)
                return None
            exchange = answer
        return exchange

    async def _in_time(self, answer: Awaitable[Any]) -> Any:
        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                return await answer
        except TimeoutError:
            if limit.expired():
                raise Late(self._deadline) from None
            raise

    def _is_late(self, name: str, hook: str, started: float) -> bool:
        """Blame a hook that held up the event loop; it can not be stopped, only passed over."""
        if self._monotonic() - started <= self._deadline:
            return False
        self._failed(name, hook, Late(self._deadline))
        return True

    def _failed(self, name: str, hook: str, error: BaseException) -> None:
        self._telemetry.emit(InterceptorFailed(name, hook, summary(error)))
        with self._failing:
            count = self._quiet.setdefault((name, hook), Quiet()).count()
        if count:
            logger.error(
                "interceptor %s: %s failed: %s%s",
                name,
                hook,
                summary(error),
                "" if count == 1 else f" ({count} failures lately)",
                exc_info=None if isinstance(error, Late) else trimmed(error),
            )

    def _with_own_stats(self, stats: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        def with_interceptors() -> dict[str, Any]:
            queued = {} if self._delivery is None else self._delivery.queued()
            states = {
                name: {"enabled": True, "writer": name in queued, "queued": queued.get(name, 0)}
                for name, _ in self._named
            }
            off = {"enabled": False, "writer": False, "queued": 0}
            return stats() | {"interceptors": states | dict.fromkeys(self._disabled, off)}

        return with_interceptors


_Hooks = tuple[tuple[str, Callable[..., Any]], ...]


class Late(Exception):
    """A hook took more time than it has."""

    def __init__(self, deadline_seconds: float) -> None:
        super().__init__(f"it took more than {deadline_seconds * 1000:g} ms")


def _having(hook: str, named: Named) -> _Hooks:
    """Return the hook's implementations, without what subclasses of the protocol inherit."""
    return tuple(
        (name, getattr(interceptor, hook))
        for name, interceptor in named
        if implements(interceptor, hook)
    )


def implements(interceptor: object, hook: str) -> bool:
    """Tell whether an interceptor has a hook of its own, not just the protocol's."""
    own = getattr(Interceptor, hook)
    return hasattr(interceptor, hook) and getattr(type(interceptor), hook, None) is not own


async def _settled(result: object) -> None:
    if isinstance(result, Awaitable):
        await result


def _checked(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = list(headers)
    for name, value in pairs:
        if _TOKEN.fullmatch(name) is None or _FIELD_VALUE.fullmatch(value) is None:
            raise ValueError(f"{name!r}: {value!r} is no valid header")
    return pairs
