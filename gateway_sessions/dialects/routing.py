"""Which wire format a request speaks: one table, asked for every request.

Only the end of a path counts, so that a format is found behind any prefix that a gateway puts
before it (``/openai/v1/chat/completions``, ``/openai/deployments/x/chat/completions``,
``/anthropic/v1/messages``).  What is no row is no conversation: embeddings, model lists,
moderation, files and batches pass through without a session.  Token counts hold a conversation and
are none; a table of their own tells how to read them.
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
_CONVERSE, _BEDROCK, _RESPONSES = BedrockConverse(), AnthropicBedrock(), OpenAIResponses()

ROUTES = (
    Route("/chat/completions", _CHAT),
    Route("/agents/completions", _CHAT),
    Route("/completions", _COMPLETIONS),
    Route("/responses", _RESPONSES),
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

COUNTS = (
    Route("/v1/messages/count_tokens", _ANTHROPIC),
    Route("/messages/count_tokens", _ANTHROPIC, header="anthropic-version"),
    # The model is in the body here, as it is at the provider's own.
    Route("/count-tokens:rawPredict", _ANTHROPIC, within="/publishers/anthropic/"),
    Route("/responses/input_tokens", _RESPONSES),
    Route(":countTokens", _GEMINI),
)
"""Requests to count the tokens of a conversation, whose bodies are those of the dialect."""
_NO_CONVERSATION = tuple(route.ending for route in COUNTS)

_CACHED_PATHS = 1024
_LONGEST_CACHED = 256
"""Real paths are few and short; the cache must not be a place to store a client's inventions."""


def dialect_for(method: str, path: str, headers: Headers) -> Dialect | None:
    """Return the dialect of a request, or None where it is no conversation that we know.

    ``path`` is as on the wire: it may hold a query and percent-escapes.
    """
    return _chosen(_rows(path)[0], headers) if method == "POST" else None


def counted_dialect(method: str, path: str, headers: Headers) -> Dialect | None:
    """Return the dialect in which a request to count tokens is written; None for all others."""
    return _chosen(_rows(path)[1], headers) if method == "POST" else None


def is_readable(method: str, path: str, headers: Headers) -> bool:
    """Tell whether a request holds a conversation that we can read, to be counted or answered."""
    return method == "POST" and any(_chosen(rows, headers) for rows in _rows(path))


_Rows = tuple[tuple[Route, ...], tuple[Route, ...]]
"""Of `ROUTES` and of `COUNTS`, those that fit a path."""


def _chosen(rows: tuple[Route, ...], headers: Headers) -> Dialect | None:
    for route in rows:
        if not route.header or any(name.lower() == route.header for name, _ in headers):
            return route.dialect
    return None


def _rows(path: str) -> _Rows:
    path = path.partition("?")[0]
    return _cached(path) if len(path) <= _LONGEST_CACHED else _found(path)


def _found(path: str) -> _Rows:
    sent = plain(path)
    counts = tuple(r for r in COUNTS if sent.endswith(r.ending) and r.within in sent)
    if sent.endswith(_NO_CONVERSATION):
        return (), counts
    return tuple(r for r in ROUTES if sent.endswith(r.ending) and r.within in sent), counts


_cached = lru_cache(_CACHED_PATHS)(_found)
