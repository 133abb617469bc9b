"""Which wire format a request speaks: one table, asked for every request.

Only the end of a path counts, so that a format is found behind any prefix that a gateway puts
before it (``/openai/v1/chat/completions``, ``/openai/deployments/x/chat/completions``,
``/anthropic/v1/messages``).  What is no row is no conversation: embeddings, model lists,
moderation, files, batches and token counting pass through without a session.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from gateway_sessions.dialects.anthropic import Anthropic
from gateway_sessions.dialects.anthropic_hosts import AnthropicBedrock, AnthropicVertex
from gateway_sessions.dialects.base import Dialect
from gateway_sessions.dialects.bedrock_converse import BedrockConverse
from gateway_sessions.dialects.cohere import Cohere
from gateway_sessions.dialects.gemini import Gemini
from gateway_sessions.dialects.ollama import Ollama
from gateway_sessions.dialects.openai_chat import OpenAIChat
from gateway_sessions.dialects.openai_completions import OpenAICompletions
from gateway_sessions.dialects.openai_responses import OpenAIResponses
from gateway_sessions.dialects.paths import plain
from gateway_sessions.exchange import Headers


class Route(NamedTuple):
    """One row: a POST to a path with this ending, if all else that is named fits too."""

    ending: str
    dialect: Dialect
    header: str = ""
    """Name of a header, in lower case, that must be there too; empty for none."""
    within: str = ""
    """Text that must stand somewhere before the ending."""


_CHAT, _ANTHROPIC, _VERTEX = OpenAIChat(), Anthropic(), AnthropicVertex()
_GEMINI, _OLLAMA, _COMPLETIONS = Gemini(), Ollama(), OpenAICompletions()
_CONVERSE, _BEDROCK = BedrockConverse(), AnthropicBedrock()

ROUTES = (
    Route("/chat/completions", _CHAT),
    Route("/agents/completions", _CHAT),
    Route("/completions", _COMPLETIONS),
    Route("/responses", OpenAIResponses()),
    Route("/v1/messages", _ANTHROPIC),
    # Base URLs without a version; the ending alone would also be that of OpenAI's threads.
    Route("/messages", _ANTHROPIC, header="anthropic-version"),
    Route(":generateContent", _GEMINI),
    Route(":streamGenerateContent", _GEMINI),
    # Vertex AI passes on what each publisher's model takes.
    Route(":rawPredict", _VERTEX, within="/publishers/anthropic/"),
    Route(":streamRawPredict", _VERTEX, within="/publishers/anthropic/"),
    Route(":rawPredict", _CHAT, within="/publishers/mistralai/"),
    Route(":streamRawPredict", _CHAT, within="/publishers/mistralai/"),
    Route("/converse", _CONVERSE, within="/model/"),
    Route("/converse-stream", _CONVERSE, within="/model/"),
    Route("/invoke", _BEDROCK, within="/model/"),
    Route("/invoke-with-response-stream", _BEDROCK, within="/model/"),
    Route("/api/chat", _OLLAMA),
    Route("/api/generate", _OLLAMA),
    Route("/v2/chat", Cohere()),
)
"""The first row that fits wins.  A new dialect is its own file and a row here."""

_OTHERS = ("/count-tokens:rawPredict",)
"""Paths that end as a row does and are no conversation."""

_CACHED_PATHS = 1024
_LONGEST_CACHED = 256
"""Real paths are few and short; the cache must not be a place to store a client's inventions."""


def dialect_for(method: str, path: str, headers: Headers) -> Dialect | None:
    """Return the dialect of a request, or None where it is no conversation that we know.

    ``path`` is as on the wire: it may hold a query and percent-escapes.
    """
    if method != "POST":
        return None
    path = path.partition("?")[0]
    routes = _cached(path) if len(path) <= _LONGEST_CACHED else _routes(path)
    for route in routes:
        if not route.header or any(name.lower() == route.header for name, _ in headers):
            return route.dialect
    return None


def _routes(path: str) -> tuple[Route, ...]:
    """Return the rows that fit a path."""
    sent = plain(path)
    if sent.endswith(_OTHERS):
        return ()
    return tuple(r for r in ROUTES if sent.endswith(r.ending) and r.within in sent)


_cached = lru_cache(_CACHED_PATHS)(_routes)
