"""Why an exchange failed, in the words of whoever says so."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_sessions.analysis import rawjson
from gateway_sessions.dialects import parsing
from gateway_sessions.dialects.parsing import mapping
from gateway_sessions.exchange import Response

MESSAGE_LIMIT = 4096
"""Characters of an error's text that are kept."""

_OURS = {
    "client_closed": "The client closed the connection before the response was complete.",
    "upstream_aborted": "The provider closed the connection before the response was complete.",
    "upstream_unreachable": "The provider could not be reached.",
    "upstream_timeout": "The provider did not answer in time.",
    "refused": "An interceptor refused the request.",
    "incomplete": "The stream ended without its end marker, or with an error in it.",
}
"""What happened on the way, by the name that `Response.error` gives it."""

_FILTERS = frozenset(
    {
        "ResponsibleAIPolicyViolation",
        "content_filter",
        "content_policy_violation",
        "guardrail_intervened",
    }
)
"""Codes of errors by which a provider declines a request for its content."""
_DENIED = 446
"""The status with which Portkey's guardrails deny a request."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why an exchange failed."""

    kind: str
    """As `Response.error` has it, or the provider's type of error, or ``http_500``."""
    message: str
    details: dict[str, Any]
    """Status, and what else the provider says of it in one word."""
    refused: bool = False
    """The provider declined for the content's sake."""


def fault(response: Response) -> Fault | None:
    """Return why an exchange failed; None if it did not."""
    said = _said(response.body) if response.status >= 400 else {}
    if response.error is not None:
        kind = response.error
    elif response.status >= 400:
        kind = _word(said.get("type")) or _word(said.get("status")) or f"http_{response.status}"
    elif not response.complete:
        kind = "incomplete"
    else:
        return None
    message = said.get("message") or _OURS.get(kind) or f"The provider answered {response.status}."
    details = {key: word for key in ("type", "code", "status") if (word := _word(said.get(key)))}
    return Fault(
        kind,
        rawjson.text(str(message))[:MESSAGE_LIMIT],
        details | {"http_status": response.status},
        response.status == _DENIED
        or any(_word(said.get(key)) in _FILTERS for key in ("type", "code")),
    )


def _said(body: bytes) -> dict[str, Any]:
    """Return what an error's body says: its inner object, with the text as ``message``."""
    try:
        answer = parsing.parse(body)
    except parsing.JSON_ERRORS:
        return {"message": body[:MESSAGE_LIMIT].decode(errors="replace").strip()}
    if type(answer) is list and answer:
        answer = answer[0]
    outer = mapping(answer)
    inner = outer.get("error")
    if type(inner) is str:
        return {"message": inner}
    found = mapping(inner) or outer
    return found if found.get("message") else {**found, "message": outer.get("detail")}


def _word(value: Any) -> str:
    """Return what names a kind of error; numbers are codes too."""
    if type(value) is int:
        return str(value)
    return rawjson.text(value[:256]) if type(value) is str else ""
