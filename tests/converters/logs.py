"""One conversation of two exchanges, as several programs would log it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

from gateway_sessions.cli.offline import Detection
from gateway_sessions.config import Config
from gateway_sessions.converters import Notes, Source, exchanges
from gateway_sessions.converters.containers import Row
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange import SessionTag
from gateway_sessions.exchange_log import LoggedExchange

Json = dict[str, Any]

EGG = "An egg of medium size takes about nine minutes until it is hard."
FIRST = [{"role": "user", "content": "How long do I boil an egg?"}]
SECOND = [*FIRST, {"role": "assistant", "content": EGG}, {"role": "user", "content": "And soft?"}]
SECRET = b"a secret for tests only"


def row(values: Json, number: int = 1) -> Row:
    """Return a row of a log called ``log``."""
    return Row("log", number, "line", json.dumps(values).encode())


def chat_reply(text: str = EGG, name: str = "c1") -> Json:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text}
    return {"id": name, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def read(
    data: bytes | str, form: str | None = None, *, notes: Notes | None = None, name: str = "log"
) -> list[LoggedExchange]:
    """Return the exchanges of a log; raises for the first bad row."""

    def bad(error: UnreadableLog) -> None:
        raise error

    source = Source(io.BytesIO(data.encode() if isinstance(data, str) else data), name)
    return list(exchanges(source, notes or Notes(), bad, form))


def tags(found: Iterable[LoggedExchange], **settings: Any) -> list[SessionTag | None]:
    """Return what detection says of exchanges."""
    detection = Detection(Config(**settings), SECRET)
    return [detection.verdict(exchange).tag for exchange in found]


def relations(found: Iterable[LoggedExchange]) -> list[str | None]:
    """Return the relations that detection finds, None where there is no session."""
    return [tag.relation if tag else None for tag in tags(found)]


def lines(*rows: Json) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(one) + "\n" for one in rows)
