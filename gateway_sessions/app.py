"""The standalone gateway: its listeners, their start and their end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import TypeVar

from aiohttp import web

from gateway_sessions.assembly import Assembly, assemble
from gateway_sessions.config import Admin, Config, Loaded, effective, notices
from gateway_sessions.errors import StartError
from gateway_sessions.web.admin import AdminGuard, Problems, admin_routes, exposed
from gateway_sessions.web.listening import refusal
from gateway_sessions.web.login import AREA
from gateway_sessions.web.proxy import proxy_application
from gateway_sessions.web.server import GRACE_SECONDS, make_runner
from gateway_sessions.web.upstreams import UpstreamTable

DEFAULT_ADMIN = ("127.0.0.1", 3001)
"""Where our own endpoints go when others can reach the main port and no token guards them."""
INTERRUPTED = 130
"""Exit code of a gateway that was told twice to stop and did not wait for its exchanges."""

T_ = TypeVar("T_")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Running:
    """A gateway that serves."""

    assembly: Assembly
    url: str
    """Where clients reach it."""
    admin_url: str
    """Where its own endpoints are: the same, or a listener of their own."""
    runners: list[web.AppRunner]

    @property
    def dashboard_url(self) -> str | None:
        """Where people look at sessions; None where the dashboard is switched off."""
        config = self.assembly.config
        if any(entry.type == "dashboard" and not entry.enabled for entry in config.interceptors):
            return None
        return f"{self.admin_url}{config.admin.prefix}{AREA}"

    async def stop(self, hurry: asyncio.Event | None = None) -> bool:
        """Stop listening, let exchanges finish, write everything down.

        ``hurry``, once set, ends the waiting for exchanges.  Returns whether none was cut off.
        """
        self.assembly.gateway.stopping.set()
        finished = True
        for runner in self.runners:
            finished = await unless(hurry, runner.cleanup()) and finished
        await self.assembly.close()
        return finished


async def start(loaded: Loaded) -> Running:
    """Start a gateway; when this returns, it serves.

    Raises `StartError` (`PortInUse` among them) or `ConfigError`, one sentence each, with
    nothing left open.
    """
    config = loaded.config
    listen = admin_address(config)
    assembly = assemble(loaded, serves=True)
    runners: list[web.AppRunner] = []
    try:
        await assembly.open()
        routes = own_routes(assembly, assembly.gateway.problems)
        main = make_runner(proxy(assembly, [] if listen else routes))
        runners.append(main)
        server = config.server
        url = await listen_on(main, server.host, server.port, "server.port")
        if listen is None:
            return Running(assembly, url, url, runners)
        own = web.Application()
        own.add_routes(routes)
        runners.append(make_runner(own))
        admin_url = await listen_on(runners[-1], *listen, "admin.listen")
    except BaseException:
        for runner in runners:
            await runner.cleanup()
        await assembly.close()
        raise
    return Running(assembly, url, admin_url, runners)


def admin_address(config: Config) -> tuple[str, int] | None:
    """Return host and port of the listener of our own endpoints; None is the main one.

    Raises `StartError` where anybody could read them.
    """
    admin = config.admin
    if admin.listen is None:
        return DEFAULT_ADMIN if exposed(config.server.host) and admin.token is None else None
    host, _, port = admin.listen.rpartition(":")
    if exposed(host) and admin.token is None:
        raise StartError(
            f"admin.listen {admin.listen} can be reached from other machines; set admin.token, or"
            " listen on 127.0.0.1."
        )
    return host.strip("[]"), int(port)


GARBAGE_THRESHOLDS = (20_000, 20, 50)
"""Objects that may be made before the collector looks through them, and how often it looks at
older ones; Python's own numbers are for programs with few objects."""


def run(main: Callable[[], Coroutine[None, None, T_]]) -> T_:
    """Run a coroutine in an event loop of its own, a uvloop where there is one."""
    try:
        # Not on every platform, and a third faster where it is.
        import uvloop  # noqa: PLC0415

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    # What is loaded by now stays; and a request leaves few cycles behind, so that looking for
    # them less often saves a tenth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


class StopSignals:
    """SIGTERM and SIGINT, from its construction on: the first one stops, a second one hurries."""

    def __init__(self) -> None:
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, number.name)

    async def stop(self, running: Running) -> int:
        """Wait for a signal, stop the gateway, and return the exit code.

        That is 0, and all exchanges were finished within the time for it; or 130 after a second
        signal, which cuts them off.
        """
        await self._stop.wait()
        finished = await running.stop(self._hurry)
        logger.info("stopped")
        return 0 if finished else INTERRUPTED

    def _told(self, name: str) -> None:
        if self._stop.is_set():
            self._hurry.set()
        else:
            logger.info("%s: stopping, up to %g s for exchanges under way", name, GRACE_SECONDS)
            self._stop.set()


async def serve(
    loaded: Loaded,
    ready: Callable[[Running], None],
    starting: Callable[[Loaded], Awaitable[Running]] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code, as `StopSignals.stop` does.

    ``ready`` is called once, when clients can connect; ``starting`` takes the place of `start`.
    """
    signals = StopSignals()
    for sentence in notices(loaded):
        logger.warning("%s", sentence)
    running = await (starting or start)(loaded)
    logger.info("ready on %s", running.url)
    ready(running)
    return await signals.stop(running)


def own_version() -> str:
    """Return the version of this package, ``unknown`` where it is not installed."""
    try:
        return version("gateway-sessions")
    except PackageNotFoundError:
        return "unknown"


def own_routes(assembly: Assembly, problems: Problems) -> list[web.RouteDef]:
    """Return the routes of a gateway's own endpoints, guarded as its configuration says."""
    admin: Admin = assembly.config.admin
    interceptors = assembly.gateway.interceptors
    return admin_routes(
        version=own_version(),
        started_at=time.time(),
        effective_config=effective(assembly.config),
        problems=problems,
        extra=interceptors.routes(),
        guard=AdminGuard(
            admin.token,
            prefix=admin.prefix,
            reporting_token=assembly.config.recording_api.token,
        ),
        prefix=admin.prefix,
    )


def proxy(assembly: Assembly, routes: list[web.RouteDef]) -> web.Application:
    """Return the app that serves ``routes`` and forwards everything else."""
    config = assembly.config
    return proxy_application(
        assembly.gateway,
        UpstreamTable(config.upstreams),
        response_headers=config.server.response_headers,
        trusted_proxies=config.server.trusted_proxies,
        admin=routes,
    )


async def listen_on(runner: web.AppRunner, host: str, port: int, key: str) -> str:
    """Listen and return the URL; raises `StartError` that names the key to change."""
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise refusal(error, host, port, key) from None
    return url_of(host, runner.addresses[0][1])


def url_of(host: str, port: int) -> str:
    """Return a URL that clients on this machine can use."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


async def unless(hurry: asyncio.Event | None, work: Coroutine[None, None, None]) -> bool:
    """Await ``work``, but not beyond ``hurry``; tell whether it was finished."""
    if hurry is None:
        await work
        return True
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(hurry.wait())
        working = group.create_task(work)
        await asyncio.wait({waiting, working}, return_when=asyncio.FIRST_COMPLETED)
        finished = working.done()
        waiting.cancel()
        working.cancel()
    return finished
