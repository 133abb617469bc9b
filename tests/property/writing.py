"""Conversations as each dialect writes them, and bytes that say the same in other letters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from gateway_sessions.conversation import Conversation
from gateway_sessions.dialects import ROUTES, Dialect
from tests.dialects.wire import request
from tests.property.strategies import Json, Said, anthropic, openai

DIALECTS: dict[str, Dialect] = {route.dialect.name: route.dialect for route in ROUTES}


def _arguments(each: Said) -> Json:
    return {"x": each.text, "é": [1, None]}


def responses(said: Sequence[Said]) -> list[Json]:
    """Write messages as items of OpenAI's Responses."""
    made: list[Json] = []
    for place, each in enumerate(said):
        if each.side == "call":
            made.append({"type": "function_call", "call_id": f"call_{place}", "name": "f",
                         "arguments": json.dumps(_arguments(each))})  # fmt: skip
        elif each.side == "result":
            made.append({"type": "function_call_output", "call_id": f"call_{place - 1}",
                         "output": each.text})  # fmt: skip
        else:
            made.append({"role": each.side, "content": each.text})
    return made


def gemini(said: Sequence[Said]) -> list[Json]:
    """Write messages as Gemini's contents; its calls have no ids."""
    made: list[Json] = []
    for each in said:
        if each.side == "call":
            part: Json = {"functionCall": {"name": "f", "args": _arguments(each)}}
        elif each.side == "result":
            part = {"functionResponse": {"name": "f", "response": {"result": each.text}}}
        else:
            part = {"text": each.text}
        role = "model" if each.side in {"assistant", "call"} else "user"
        made.append({"role": role, "parts": [part]})
    return made


def ollama(said: Sequence[Said]) -> list[Json]:
    """Write messages in Ollama's shape; its calls have no ids."""
    made: list[Json] = []
    for each in said:
        if each.side == "call":
            call = {"function": {"name": "f", "arguments": _arguments(each)}}
            made.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif each.side == "result":
            made.append({"role": "tool", "tool_name": "f", "content": each.text})
        else:
            made.append({"role": each.side, "content": each.text})
    return made


def converse(said: Sequence[Said]) -> list[Json]:
    """Write messages in the shape of Bedrock's Converse."""
    made: list[Json] = []
    for place, each in enumerate(said):
        if each.side == "call":
            use = {"toolUseId": f"call_{place}", "name": "f", "input": _arguments(each)}
            block: Json = {"toolUse": use}
        elif each.side == "result":
            text = [{"text": each.text}]
            block = {"toolResult": {"toolUseId": f"call_{place - 1}", "content": text}}
        else:
            block = {"text": each.text}
        role = "assistant" if each.side in {"assistant", "call"} else "user"
        made.append({"role": role, "content": [block]})
    return made


WRITERS: dict[str, Callable[[Sequence[Said]], list[Json]]] = {
    "openai_chat": openai,
    "openai_responses": responses,
    "anthropic": anthropic,
    "anthropic_vertex": anthropic,
    "anthropic_bedrock": anthropic,
    "gemini": gemini,
    "ollama": ollama,
    "bedrock_converse": converse,
    "cohere": openai,
}
"""How each dialect writes a conversation; all but that of completions, which have no turns."""


def conversation(dialect: str, said: Sequence[Said]) -> Conversation:
    """Return a conversation as it is read from the wire of a dialect."""
    return DIALECTS[dialect].read_request(request(dialect, *WRITERS[dialect](said)), "/")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LETTER = re.compile(r"\\u[0-9a-f]{4}|\\.|[ae/]")


def _escaped(letter: re.Match[str]) -> str:
    """Escape a letter; what is escaped already stays as it is."""
    return letter[0] if letter[0].startswith("\\") else f"\\u{ord(letter[0]):04X}"


def spelled(value: Any, random: Random) -> bytes:
    """Return the JSON of a value with other blank space and other escapes."""
    text = json.dumps(
        value,
        ensure_ascii=random.random() < 0.5,
        indent=random.choice([None, 0, 2, "\t"]),
        separators=random.choice([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
    )
    if random.random() < 0.5:
        text = _STRING.sub(lambda string: _LETTER.sub(_escaped, string[0]), text)
    return b" \n"[: random.randrange(3)] + text.encode()
