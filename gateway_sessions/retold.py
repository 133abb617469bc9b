"""Logged exchanges as milestones: what the request path would have told of them."""

from __future__ import annotations

from collections.abc import Mapping

from gateway_sessions.conversation import Reply
from gateway_sessions.dialects import Dialect
from gateway_sessions.exchange import Client, Headers, Request, Response
from gateway_sessions.exchange_log import LoggedExchange, LoggedResponse
from gateway_sessions.milestones import Arrived, Finished
from gateway_sessions.redaction import masked_headers
from gateway_sessions.tracker import Tracked


def arrived(
    exchange: LoggedExchange, request_id: str, at: float, dialect: Dialect, tracked: Tracked
) -> Arrived:
    """Return the arrival of a logged request at ``at``, unix seconds."""
    logged, plan, tag = exchange.request, tracked.plan, tracked.tag()
    headers = pairs(logged.headers)
    agent = next((value for name, value in headers if name.lower() == "user-agent"), "")
    body = bytes(logged.body)
    return Arrived(
        session_id=tag.session_id,
        request_id=request_id,
        at=at,
        session=tag,
        client=Client(exchange.client.ip, agent, exchange.client.scope),
        request=Request(logged.method, logged.path, masked_headers(headers), body, len(body)),
        dialect=dialect.name,
        provider=dialect.provider,
        model=plan.conversation.model,
        stream=plan.conversation.stream,
        message_count=plan.messages,
        new_messages=plan.messages if tracked.verdict.new else plan.walk.prompt_items,
        detection_ms=0.0,
    )


def finished(
    arrival: Arrived, at: float, response: LoggedResponse | None, reply: Reply | None
) -> Finished:
    """Return the end of a logged exchange; one without a response was never answered."""
    return Finished(
        session_id=arrival.session_id,
        request_id=arrival.request_id,
        at=at,
        session=arrival.session,
        dialect=arrival.dialect,
        provider=arrival.provider,
        model=arrival.model,
        response=_response(response, reply),
        overhead_ms=0.0,
        detection_ms=0.0,
    )


def _response(logged: LoggedResponse | None, reply: Reply | None) -> Response:
    if logged is None:
        return Response(0, (), b"", 0, 0.0, 0.0, streamed=False, error="upstream_aborted")
    raw = bytes(logged.body)
    body = b"" if raw == b"null" else raw
    return Response(
        status=logged.status,
        headers=masked_headers(pairs(logged.headers)),
        body=reply.body if reply is not None and reply.body else body,
        size=len(body),
        duration_ms=logged.duration_ms,
        time_to_first_byte_ms=logged.duration_ms,
        streamed=raw.startswith(b'"') and 200 <= logged.status < 300,
        usage=reply.usage if reply is not None else None,
        model=reply.model if reply is not None else "",
        finish_reason=reply.finish_reason if reply is not None else "",
        refused=reply.refused if reply is not None else False,
        error="client_closed" if logged.client_aborted else logged.error,
        complete=reply.complete if reply is not None else True,
    )


def pairs(headers: Mapping[str, str | list[str]] | None) -> Headers:
    """Return the headers of a log line in their order, repeats included."""
    return tuple(
        (name, value)
        for name, values in (headers or {}).items()
        for value in ([values] if isinstance(values, str) else values)
    )
