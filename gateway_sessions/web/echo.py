"""The embedded upstream ``builtin://echo``: a model that repeats what it is told.

It answers in the providers' wire formats, streams and tool calls included, so that sessions
can be seen within a minute and without a key.  Its texts depend on the conversation only; its
ids are random, as a provider's are.

Request headers, for trying out what a provider does on a bad day:

- ``x-echo-status: 429`` answers with this error,
- ``x-echo-delay-ms: 500`` waits before the answer,
- ``x-echo-event-delay-ms: 100`` waits before each event of a stream.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web

from gateway_sessions.conversation import USER, Conversation, Message, Text, ToolCall, ToolResult
from gateway_sessions.dialects import Dialect, dialect_for, parsing
from gateway_sessions.dialects.openai_chat import OpenAIChat
from gateway_sessions.dialects.parsing import Json, mapping
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.web.echo_answers import Answer, Question
from gateway_sessions.web.echo_formats import FORMATS

MODEL = "echo-1"
BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of a request; above what any provider takes, so that the proxy's limits show first."""
MOST_ALTERNATIVES = 16

_DESCRIPTION = "gateway-sessions echo: a built-in model that repeats what it is told.\n"
_EXCERPT = 160
_DEEPEST_SCHEMA = 4


def echo_application() -> web.Application:
    """Return the upstream as an application; it answers every path."""
    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_route("*", "/{path:.*}", echo_handler)
    return app


async def echo_handler(request: web.Request) -> web.StreamResponse:
    """Answer one request as the provider would whose wire format it speaks."""
    if request.method == "GET" and request.path == "/":
        return web.Response(text=_DESCRIPTION)
    if request.method == "GET" and request.path.endswith("/models"):
        return web.json_response(_models())
    dialect = dialect_for(request.method, request.raw_path, tuple(request.headers.items()))
    if dialect is None or dialect.name not in FORMATS:
        message = f"The built-in echo does not serve {request.method} {request.path}."
        return _error(OpenAIChat(), 404, message)
    try:
        await asyncio.sleep(_number(request, "x-echo-delay-ms") / 1000)
        pause = _number(request, "x-echo-event-delay-ms") / 1000
        if status := _number(request, "x-echo-status"):
            return _error(dialect, status, f"The request asked for status {status}.")
        body = await request.read()
        conversation = dialect.read_request(body, request.raw_path)
        question = _question(conversation, parsing.read_object(body), request.raw_path)
    except UnreadableBody as error:
        return _error(dialect, 400, str(error))
    answer = FORMATS[dialect.name](question)
    if conversation.stream:
        return await _stream(request, answer, pause)
    return web.json_response(body=msgspec.json.encode(answer.body))


async def _stream(request: web.Request, answer: Answer, pause: float) -> web.StreamResponse:
    """Send an answer event by event, with a pause of so many seconds before each."""
    headers = {"Content-Type": answer.content_type, "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for event in answer.events:
        await asyncio.sleep(pause)
        await response.write(event)
    await response.write_eof()
    return response


def _error(dialect: Dialect, status: int, message: str) -> web.Response:
    headers = {"Retry-After": "1"} if status in (429, 503) else None
    body = dialect.error_body(status, message)
    return web.json_response(body=body, status=status, headers=headers)


def _number(request: web.Request, header: str) -> int:
    """Return the number in one of our headers, 0 if it is not there."""
    value = request.headers.get(header, "0")
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise UnreadableBody(f"The header {header} must be a number, not {value!r}.")
    return int(value)


def _models() -> Json:
    """Return the list of models, with the fields of OpenAI's and of Anthropic's."""
    model = {"id": MODEL, "object": "model", "type": "model", "display_name": "Echo"}
    model |= {"owned_by": "gateway-sessions", "created_at": "2026-01-01T00:00:00Z"}
    page = {"first_id": MODEL, "last_id": MODEL, "has_more": False}
    return {"object": "list", "data": [model | {"created": 1767225600}]} | page


def _question(conversation: Conversation, options: Json, path: str) -> Question:
    """Return what to say: a call where the user asks for a tool, else a text."""
    messages = [message for raw in conversation.messages for message in conversation.read(raw)]
    said = [words for message in messages if message.role == USER and (words := _words(message))]
    result = next((part for part in messages[-1].parts if isinstance(part, ToolResult)), None)
    tool = None if result or not said else _wanted(_tools(conversation), said[-1])
    text = _after_tool(messages, result) if result else _echo(said)
    alternatives = min(parsing.count(options.get("n")), MOST_ALTERNATIVES)
    others = (f"Alternative {number}: {text}" for number in range(2, alternatives + 1))
    return Question(
        model=conversation.model or MODEL,
        options=options,
        size=sum(len(bytes(raw)) for raw in conversation.messages),
        texts=(text, *others),
        call=(tool[0], _example(tool[1], said[-1])) if tool else None,
        path=path,
    )


def _echo(said: list[str]) -> str:
    if not said:
        return "You have not said anything yet."
    text = f"You said: “{_excerpt(said[-1])}”. This is turn {len(said)} of our conversation"
    return f"{text}." if len(said) == 1 else f"{text}, which began with “{_excerpt(said[0])}”."


def _after_tool(messages: list[Message], result: ToolResult) -> str:
    calls = (part for message in messages for part in message.parts if isinstance(part, ToolCall))
    name = {call.id: call.name for call in calls}.get(result.call_id, "that I called")
    gave = " ".join(part.text for part in result.parts if isinstance(part, Text))
    return f"The tool {name} answered: “{_excerpt(gave)}”."


def _words(message: Message) -> str:
    return " ".join(part.text for part in message.parts if isinstance(part, Text))


def _excerpt(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _EXCERPT else folded[: _EXCERPT - 1] + "…"


def _tools(conversation: Conversation) -> list[tuple[str, Json]]:
    """Return name and argument schema of the declared tools, in any provider's form."""
    declared = parsing.read(conversation.tools) if conversation.tools else []
    found = []
    for tool in declared if isinstance(declared, list) else []:
        functions = mapping(tool).get("functionDeclarations") or [mapping(tool).get("function")]
        for function in functions if isinstance(functions, list) else []:
            declaration = mapping(function) or mapping(tool)
            if name := parsing.text(declaration.get("name")):
                found.append((name, _schema(declaration)))
    return found


def _schema(declaration: Json) -> Json:
    keys = ("parameters", "input_schema", "parametersJsonSchema")
    return next((schema for key in keys if (schema := mapping(declaration.get(key)))), {})


def _wanted(tools: list[tuple[str, Json]], text: str) -> tuple[str, Json] | None:
    """Return the tool that a text names, or the first one if it speaks of tools at all."""
    words = re.findall(r"[\w-]+", text.lower())
    named = [tool for tool in tools if tool[0].lower() in words]
    return next(iter(named or (tools if "tool" in words else [])), None)


def _example(schema: Json, text: str, depth: int = 0) -> Any:
    """Return a value that fits a JSON schema, an object if it does not say which."""
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    match str(schema.get("type", "object")).lower():  # Gemini's types are in capitals
        case "string":
            return _excerpt(text)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            properties = mapping(schema.get("properties")) if depth < _DEEPEST_SCHEMA else {}
            return {key: _example(mapping(of), text, depth + 1) for key, of in properties.items()}
        case _:
            return None
