"""The OpenAPI description of the REST half, made of the very types that check requests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from interceptors.recording_api.protocol import (
    STATUS,
    Ack,
    AnyEvent,
    Error,
    Recovery,
    SessionSnapshot,
)

_REF = "#/components/schemas/{name}"
_TIME = {"type": "integer", "description": "Unix milliseconds."}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}


@lru_cache(maxsize=8)
def document(server: str) -> dict[str, Any]:
    """Return the description of the API under a path such as ``/recording``."""
    (event, ack, error, recovery, snapshot), components = msgspec.json.schema_components(
        [AnyEvent, Ack, Error, Recovery, SessionSnapshot], ref_template=_REF
    )
    components["Event"] = event
    components |= {name: _object(fields) for name, fields in _OBJECTS.items()}
    components["SessionDetails"] = {
        "allOf": [_ref("SessionSummary"), _object(_DETAILS)],
    }
    components["Snapshot"] = _without_type(components["SessionSnapshot"])
    del snapshot
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gateway-sessions recording API",
            "version": "1.0.0",
            "description": "Editors and agents report their sessions; an ack means durable.",
        },
        "servers": [{"url": server}],
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"bearer": []}],
        "paths": _paths(ack, error, recovery),
    }


def _paths(ack: Any, error: Any, recovery: Any) -> dict[str, Any]:
    batch = _object({"events": {"type": "array", "items": _ref("Event"), "maxItems": 1000}})
    processed = _object(
        {"processed": _COUNT, "responses": {"type": "array", "items": {"anyOf": [ack, error]}}}
    )
    by_id = {"session": ("SessionDetails", ""), "sessions": ("SessionDetails", "")}
    paths: dict[str, Any] = {
        "/events": {"post": _operation("Record events.", processed, error, (400, 413), batch)},
        "/snapshot": {
            "post": _operation(
                "Replace a session's messages.", ack, error, (400, 413), _ref("Snapshot")
            )
        },
        "/sessions": {"get": _operation("List live sessions.", _ref("SessionList"), error)},
        "/status": {"get": _operation("Show how the API is.", _ref("Status"), error)},
        "/openapi.json": {"get": _operation("Show this.", {"type": "object"}, error)},
    }
    for name in by_id:
        for tail, summary, shape in (
            ("", "Show a session.", _ref("SessionDetails")),
            ("/recovery", "Give back a session with all messages.", recovery),
        ):
            operation = _operation(summary, shape, error, (404,))
            operation["parameters"] = [
                {"name": "id", "in": "path", "required": True, "schema": _TEXT}
            ]
            paths[f"/{name}/{{id}}{tail}"] = {"get": operation}
    return paths


def _operation(
    summary: str, result: Any, error: Any, statuses: tuple[int, ...] = (), body: Any = None
) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {"description": "Done.", "content": {"application/json": {"schema": result}}},
        "401": {"description": "The token is missing or wrong."},
        "403": {"description": "The host name or the origin is not allowed."},
    }
    for status in (*statuses, 503):
        codes = ", ".join(code for code, known in STATUS.items() if known == status)
        responses[str(status)] = {
            "description": f"{codes}.",
            "content": {"application/json": {"schema": error}},
        }
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _without_type(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of the same object whose tag may be left out."""
    required = [name for name in schema["required"] if name != "type"]
    return schema | {"required": required}


_SUMMARY = {
    "session_id": _TEXT,
    "provider": _TEXT,
    "title": _MAYBE_TEXT,
    "workspace_path": _MAYBE_TEXT,
    "message_count": _COUNT,
    "started_at": _TIME,
    "last_activity": _TIME,
    "is_dirty": {"type": "boolean", "description": "Whether the recorder lacks something."},
}
_DETAILS = {
    "workspace_id": _MAYBE_TEXT,
    "model": _MAYBE_TEXT,
    "metadata": {"type": "object"},
    "last_seq": {"type": ["integer", "null"]},
    "ended_at": {"type": ["integer", "null"]},
    "end_reason": _MAYBE_TEXT,
}
_OBJECTS: dict[str, dict[str, Any]] = {
    "SessionSummary": _SUMMARY,
    "SessionList": {
        "active_sessions": {"type": "array", "items": _ref("SessionSummary")},
        "total": _COUNT,
    },
    "Status": {
        "status": {"const": "running"},
        "active_sessions": _COUNT,
        "dirty_sessions": _COUNT,
        "config": _object(
            {
                "persist_interval_secs": {"type": "number"},
                "max_memory_messages": _COUNT,
                "session_timeout_secs": {"type": "number"},
            }
        ),
    },
}
