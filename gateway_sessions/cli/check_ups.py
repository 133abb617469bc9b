"""What ``doctor`` looks at: each check of a set-up, and what it finds.

A check changes nothing but a probe file that it deletes, and may run beside a gateway that
serves with the same configuration.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import sqlite3
import ssl
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp

from gateway_sessions.app import admin_address
from gateway_sessions.config import Config, Loaded, notices
from gateway_sessions.config.masking import masked_text
from gateway_sessions.config.notices import shares_through_server
from gateway_sessions.errors import GatewaySessionsError, StartError
from gateway_sessions.index.making import make_store
from gateway_sessions.index.store import StoreFailed
from gateway_sessions.recording.files import private_directory
from gateway_sessions.storage.reading import NoDatabase, following

State = Literal["ok", "warning", "problem"]

ANSWER_SECONDS = 5.0
"""How long a server may take to say anything."""
LITTLE_SPACE = 2**30
"""Free bytes below which a disk is soon full of sessions."""
FEW_DESCRIPTORS = 4096
"""Open files below which some two thousand streams at once are too many: each takes two."""
_BUILT_IN = "builtin://"


class Finding(NamedTuple):
    """What a check found, in words for whoever runs the gateway."""

    state: State
    what: str
    said: str
    """One sentence; of a problem, with its cure."""


async def examine(loaded: Loaded) -> list[Finding]:
    """Check everything that a gateway with this configuration needs."""
    config = loaded.config
    findings = [
        *_python(),
        *_settings(loaded),
        *_descriptors(),
        *_folders(config),
        *_secret(config),
        *_database(config),
        *_extras(config),
    ]
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS), trust_env=False
    ) as http:
        asked: list[Coroutine[Any, Any, list[Finding]]] = [_port(http, config), _shared(config)]
        asked += [_upstream(http, url) for url in dict.fromkeys(u.url for u in config.upstreams)]
        for found in await asyncio.gather(*asked):
            findings += found
    return findings


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if find_spec("uvloop") is None:
        yield Finding(
            "warning", "Python", f"{version}, without uvloop; pip install uvloop makes it faster."
        )
    else:
        yield Finding("ok", "Python", f"{version} with uvloop.")


def _settings(loaded: Loaded) -> Iterator[Finding]:
    said = notices(loaded)
    for sentence in said:
        yield Finding("warning", "configuration", sentence)
    if not said:
        yield Finding("ok", "configuration", f"{len(loaded.places)} keys are set.")


def _descriptors() -> Iterator[Finding]:
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_DESCRIPTORS:
        yield Finding(
            "warning",
            "open files",
            f"at most {soft:,}, good for {soft // 2:,} requests at once; raise it with ulimit -n.",
        )
    else:
        yield Finding("ok", "open files", f"up to {soft:,}.")


def _folders(config: Config) -> Iterator[Finding]:
    recording = config.session_recording
    folders = {"state directory": config.state_path}
    if recording.enabled and recording.jsonl.enabled:
        folders["session files"] = Path(recording.jsonl.directory).expanduser()
    if recording.enabled and recording.sqlite.enabled:
        folders["database folder"] = Path(recording.sqlite.path).expanduser().parent
    for entry in config.interceptors:
        if entry.type == "trace" and entry.enabled:
            folders["traces"] = Path(str(entry.config.get("directory", "traces"))).expanduser()
    for what, folder in folders.items():
        yield _folder(what, folder)


def _folder(what: str, folder: Path) -> Finding:
    existing = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    if existing != folder and not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "problem",
            what,
            f"{folder} can not be made: {existing} can not be written to.",
        )
    try:
        if existing == folder:
            private_directory(folder)
        free = shutil.disk_usage(existing).free
    except (StartError, OSError) as error:
        return Finding("problem", what, str(error))
    if free < LITTLE_SPACE:
        return Finding(
            "warning", what, f"{folder}: {free / 2**20:,.0f} MB are free; make room on its disk."
        )
    return Finding("ok", what, f"{folder}, {free / 2**30:,.0f} GB free.")


def _secret(config: Config) -> Iterator[Finding]:
    path = config.state_path / "secret"
    if config.secret is not None or not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "problem", "secret", f"{path} can be read by others ({mode:o}); chmod 600 {path}."
        )


def _database(config: Config) -> Iterator[Finding]:
    recording = config.session_recording
    if not (recording.enabled and recording.sqlite.enabled):
        return
    with sqlite3.connect(":memory:") as connection:
        options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    if "ENABLE_FTS5" not in options:
        yield Finding(
            "problem",
            "SQLite",
            "it was built without FTS5, which search needs; use another Python.",
        )
    path = Path(recording.sqlite.path).expanduser()
    if not path.exists():
        yield Finding("ok", "database", f"{path} will be made.")
        return
    try:
        with following(path) as connection:
            (sessions,) = connection.execute("SELECT COUNT(*) FROM sessions").fetchone()
    except (NoDatabase, StartError) as error:
        yield Finding("problem", "database", str(error))
    else:
        yield Finding("ok", "database", f"{path} holds {sessions:,} sessions.")


def _records_to_postgres(config: Config) -> bool:
    return config.session_recording.enabled and config.session_recording.postgres.enabled


def _shares_through(config: Config, backend: str) -> bool:
    persistence = config.session.persistence
    return persistence.enabled and persistence.backend == backend


_EXTRAS: tuple[tuple[str, str, str, Callable[[Config], bool]], ...] = (
    ("postgres", "psycopg", "session_recording.postgres", _records_to_postgres),
    ("postgres", "psycopg", "session.persistence", partial(_shares_through, backend="postgres")),
    ("redis", "redis", "session.persistence", partial(_shares_through, backend="redis")),
)
"""Extra, the module that it installs, the setting that needs it, and whether that is on."""


def _extras(config: Config) -> Iterator[Finding]:
    for extra, module, setting, wanted in _EXTRAS:
        if wanted(config) and find_spec(module) is None:
            yield Finding(
                "problem",
                setting,
                f"it needs an extra: pip install 'gateway-sessions[{extra}]'.",
            )


async def _shared(config: Config) -> list[Finding]:
    """Ask the server through which sessions are shared, if there is one."""
    if not shares_through_server(config) or any(_extras(config)):
        return []
    persistence = config.session.persistence
    what = f"sessions in {persistence.backend}"
    try:
        store = make_store(
            persistence.backend,
            persistence.connection,
            config.state_path,
            max_sessions=config.session.max_sessions,
            ttl_seconds=config.session.session_ttl_seconds,
        )
        try:
            await store.open()
            await store.fetch(1, (1,), {})
        finally:
            await store.close()
    except (StoreFailed, GatewaySessionsError) as error:
        return [Finding("problem", what, masked_text(str(error)))]
    return [Finding("ok", what, "can be reached.")]


async def _port(http: aiohttp.ClientSession, config: Config) -> list[Finding]:
    host, port = config.server.host, config.server.port
    what = f"port {port}"
    try:
        with socket.create_server((host, port), family=_family(host)):
            return [Finding("ok", what, f"free on {host}.")]
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason = os.strerror(error.errno or 0).lower()
            said = f"can not be listened on at {host} ({reason}); set server.host or server.port."
            return [Finding("problem", what, said)]
    return await _occupant(http, what, config)


async def _occupant(http: aiohttp.ClientSession, what: str, config: Config) -> list[Finding]:
    """Return who has the port: a gateway of ours, with what troubles it, or somebody else."""
    admin = config.admin
    host, port = admin_address(config) or (config.server.host, config.server.port)
    url = f"http://{_reachable(host)}:{port}{admin.prefix}/readyz"
    headers = {} if admin.token is None else {"Authorization": f"Bearer {admin.token}"}
    try:
        async with http.get(url, headers=headers) as answer:
            ready = await answer.json(content_type=None)
            problems = list(ready["problems"])
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError):
        return [
            Finding(
                "problem", what, "another program has it; stop that, or set server.port to another."
            )
        ]
    findings = [Finding("ok", what, "a gateway is running on it.")]
    return findings + [Finding("problem", "running gateway", str(each)) for each in problems]


async def _upstream(http: aiohttp.ClientSession, url: str) -> list[Finding]:
    shown = f"upstream {masked_text(url)}"
    if url.startswith(_BUILT_IN):
        return [Finding("ok", shown, "the embedded one, for trying things out.")]
    try:
        async with http.get(url, allow_redirects=False) as answer:
            return [Finding("ok", shown, f"answers (status {answer.status}).")]
    except aiohttp.ClientConnectorCertificateError as error:
        cause: BaseException = error.certificate_error
        reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause
        return [Finding("problem", shown, f"its certificate is not trusted ({reason}).")]
    except TimeoutError:
        said = f"says nothing within {ANSWER_SECONDS:g} seconds; is it up, and a firewall between?"
    except aiohttp.ClientConnectorError:
        said = "can not be reached; start it, or mend its URL."
    except aiohttp.ClientError as error:
        said = f"does not answer in HTTP ({type(error).__name__}); mend its URL."
    return [Finding("problem", shown, said)]


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _reachable(host: str) -> str:
    """Return the host by which this machine reaches what listens on an address."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - not to listen on, to compare with
        return "localhost"
    return f"[{host}]" if ":" in host else host
