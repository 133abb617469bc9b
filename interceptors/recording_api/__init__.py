"""The recording API: editors and agents that know their sessions report them, live."""

from __future__ import annotations

import asyncio
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from gateway_sessions import Context, has_admin_scope, reporting
from interceptors.recording_api.journal import FILE
from interceptors.recording_api.rest import Rest
from interceptors.recording_api.service import Options, Service
from interceptors.recording_api.sockets import Sockets

PREFIXES = ("/recording", "/api/recording")
"""Where it is served."""


class RecordingApi:
    """Takes in what clients report, acknowledges what is durable, and gives it back after a crash.

    It runs unless ``recording_api.enabled`` is false, with the options of that block.

    Args:
        persist_interval_secs: Seconds until changed sessions are handed to the recorder.
        max_memory_messages: Changed messages of a session at which it is handed over at once.
        session_timeout_secs: Silence after which a session is closed.
        max_event_bytes: Bytes of one event at most.
    """

    needs_headers = False
    needs_body = False

    def __init__(
        self,
        persist_interval_secs: Annotated[float, Meta(gt=0)] = 5.0,
        max_memory_messages: Annotated[int, Meta(ge=1)] = 100,
        session_timeout_secs: Annotated[float, Meta(gt=0)] = 3600.0,
        max_event_bytes: Annotated[int, Meta(ge=1)] = 1_048_576,
    ) -> None:
        self._options = Options(
            persist_interval_secs=persist_interval_secs,
            max_memory_messages=max_memory_messages,
            session_timeout_secs=session_timeout_secs,
            max_event_bytes=max_event_bytes,
        )
        self._service: Service | None = None
        self._sockets: Sockets | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def open(self, context: Context) -> None:
        """Open the journal; raises `StartError`."""
        recording = context.effective_config.get("session_recording", {})
        service = Service(
            context.state_directory / FILE,
            self._options,
            context.recording,
            texts=recording.get("content") != "metadata",
        )
        await service.open()
        self._service = service
        self._sockets = sockets = Sockets(service, is_admin=has_admin_scope)

        async def stop() -> None:
            await context.stopping.wait()
            await sockets.close()

        self._stopping = asyncio.get_running_loop().create_task(stop())

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoints, under both prefixes; there are none before `open`."""
        if self._service is None or self._sockets is None:
            return []
        rest, serve = Rest(self._service, is_admin=has_admin_scope), self._sockets.serve
        routes = []
        for prefix in PREFIXES:
            routes += [*rest.routes(prefix), web.get(f"{prefix}/ws", serve)]
        return [web.RouteDef(r.method, r.path, reporting(r.handler), r.kwargs) for r in routes]

    async def close(self) -> None:
        """Hand everything to the recorder; what clients reported stays in the journal, too."""
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.gather(self._stopping, return_exceptions=True)
        if self._sockets is not None:
            await self._sockets.close()
        if self._service is not None:
            await self._service.close()
