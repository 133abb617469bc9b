"""What a tool's result says about itself: whose it is, and whether the tool succeeded.

The normalised `ToolResult` leaves that out, since it is no part of a message's identity.  So
the few messages that hold results are read again here, by the shape that each dialect gives a
result:

==================  ==========================================================================
dialect             success
==================  ==========================================================================
Anthropic           ``is_error`` (false where it is missing); what a provider's own tool found
                    is an object, of a type in ``_error`` where it failed
Gemini              ``error`` in the ``response`` of a function; ``outcome`` of executed code
Bedrock Converse    ``status`` where it is there: not all models know it
OpenAI Responses    ``error`` of an ``mcp_call``; of other outputs nobody says
OpenAI chat, Ollama nobody says
==================  ==========================================================================
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_sessions.dialects import parsing
from gateway_sessions.dialects.parsing import Json, mapping, text


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a result says besides its content."""

    name: str = ""
    """The tool's name, where the dialect repeats it."""
    success: bool | None = None
    """None where nobody says."""


NOTHING = Outcome()
"""Of a result that says nothing about itself."""


def outcomes(wire: Any) -> list[Outcome]:
    """Return the outcomes of the results in a message as on the wire, in their order."""
    message = mapping(wire)
    found = _by_head(*map(message.get, ("role", "type", "name", "tool_name")))
    if found:
        return found
    if message.get("type") == "mcp_call" and message.get("output") is not None:
        return [Outcome(text(message.get("name")), not message.get("error"))]
    blocks = message.get("content") or message.get("parts")
    if type(blocks) is dict:
        blocks = [blocks]
    held = (_of_block(mapping(block)) for block in blocks) if type(blocks) is list else ()
    return [outcome for outcome in held if outcome is not None]


def _by_head(role: Any, kind: Any, name: Any, tool_name: Any) -> list[Outcome]:
    """Return the outcome of a message that is one result; none of any other."""
    if role in ("tool", "function"):
        return [Outcome(text(name) or text(tool_name))]
    if text(kind).endswith(("_output", "_response")):
        return [Outcome(text(name))]
    return []


def _of_block(block: Json) -> Outcome | None:
    if text(block.get("type")).endswith("tool_result"):
        failed = block.get("is_error") is True or text(
            mapping(block.get("content")).get("type")
        ).endswith("_error")
        return Outcome(success=not failed)
    if type(result := block.get("toolResult")) is dict:
        status = text(result.get("status"))
        return Outcome(success=status == "success" if status else None)
    called = block.get("functionResponse") or block.get("function_response")
    if type(called) is dict:
        failed = bool(mapping(called.get("response")).get("error"))
        return Outcome(text(called.get("name")), not failed)
    ran = block.get("codeExecutionResult") or block.get("code_execution_result")
    if type(ran) is dict:
        return Outcome("code_execution", ran.get("outcome") == "OUTCOME_OK")
    return None


class _Head(msgspec.Struct, gc=False):
    """What tells of most results all that there is, without their content, which may be long."""

    role: Any = None
    type: Any = None
    name: Any = None
    tool_name: Any = None


_read_head = msgspec.json.Decoder(_Head).decode


def read_outcomes(raw: msgspec.Raw) -> list[Outcome]:
    """Return the outcomes in a raw message; none where it can not be read."""
    try:
        head = _read_head(raw)
        return _by_head(head.role, head.type, head.name, head.tool_name) or outcomes(
            parsing.parse(raw)
        )
    except parsing.JSON_ERRORS:
        return []


def reply_outcomes(body: bytes) -> list[Outcome]:
    """Return the outcomes in a reply, of tools that ran at the provider's."""
    try:
        answer = mapping(parsing.parse(body))
    except parsing.JSON_ERRORS:
        return []
    if type(items := answer.get("output")) is list:
        return [outcome for item in items for outcome in outcomes(item)]
    answer = mapping(answer.get("response")) or answer
    if type(candidates := answer.get("candidates")) is list and candidates:
        return outcomes(mapping(candidates[0]).get("content"))
    return outcomes(answer)
