from __future__ import annotations

import pytest

from gateway_sessions.dialects import (
    COUNTS,
    ROUTES,
    counted_dialect,
    dialect_for,
    is_readable,
    routing,
)
from gateway_sessions.exchange import Headers


def name(path: str, *, method: str = "POST", headers: Headers = ()) -> str | None:
    dialect = dialect_for(method, path, headers)
    return dialect.name if dialect else None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/openai/v1/chat/completions",
        "/api/v1/chat/completions",
        "/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21",
        "//v1/chat/completions/",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions?x=/v1/messages",
        "http://host/v1/chat/completions",
        "/" + "long/" * 200 + "v1/chat/completions",
    ],
)
def test_openai_chat(path: str) -> None:
    assert name(path) == "openai_chat"


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/messages?beta=true", "/anthropic/v1/messages", "/v1/messages/"]
)
def test_anthropic(path: str) -> None:
    assert name(path) == "anthropic"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/engines/x/chat/completions", "openai_chat"),
        ("/v1beta/openai/chat/completions", "openai_chat"),
        ("/v1/agents/completions", "openai_chat"),
        ("/v1/completions", "openai_completions"),
        ("/v1/engines/x/completions", "openai_completions"),
        ("/openai/deployments/x/completions?api-version=1", "openai_completions"),
        ("/v1/fim/completions", "openai_completions"),
        ("/v1/responses", "openai_responses"),
        ("/openai/responses?api-version=preview", "openai_responses"),
        ("/backend-api/codex/responses", "openai_responses"),
        ("/v1beta/models/gemini-2.5-pro:generateContent?key=k", "gemini"),
        ("/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "gemini"),
        ("/v1beta/tunedModels/x:generateContent", "gemini"),
        ("/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent", "gemini"),
        ("/v1beta/models/gemini-2.5-pro%3AgenerateContent", "gemini"),
        ("/v1internal:streamGenerateContent?alt=sse", "gemini"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m@1:rawPredict",
         "anthropic_vertex"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict",
         "anthropic_vertex"),
        ("/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict", "openai_chat"),
        ("/model/anthropic.claude-v2%3A0/converse", "bedrock_converse"),
        ("/model/arn%3Aaws%3Abedrock%3Ax%2Fy/converse-stream", "bedrock_converse"),
        ("/model/m/invoke", "anthropic_bedrock"),
        ("/bedrock/model/m/invoke-with-response-stream", "anthropic_bedrock"),
        ("/api/chat", "ollama"),
        ("/ollama/api/generate", "ollama"),
        ("/v2/chat", "cohere"),
    ],
)  # fmt: skip
def test_other_dialects(path: str, expected: str) -> None:
    assert name(path) == expected


def test_path_without_version_needs_the_providers_header() -> None:
    assert name("/anthropic/messages") is None
    headers = (("Accept", "*/*"), ("Anthropic-Version", "2023-06-01"))
    assert name("/anthropic/messages", headers=headers) == "anthropic"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/v1/messages/batches/1/results",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/threads/thread_1/messages",
        "/v1/embeddings",
        "/v1/models",
        "/v1/moderations",
        "/v1/files",
        "/v1/notcompletions",
        "/v1/responses/resp_1",
        "/v1/responses/resp_1/cancel",
        "/v1/responses/resp_1/input_items",
        "/v1/responses/input_tokens",
        "/v1/conversations/conv_1/items",
        "/v1beta/models/m:countTokens",
        "/v1beta/models/m:embedContent",
        "/v1beta/models/m:batchGenerateContent",
        "/v1internal:countTokens",
        "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
        "/v1/projects/p/locations/l/publishers/ai21/models/m:rawPredict",
        "/model/m/count-tokens",
        "/converse",
        "/v1/invoke",
        "/api/embed",
        "/api/tags",
        "/api/show",
        "/v2/embed",
        "/xv1/messages2",
        "/",
        "",
        "*",
        "/?path=/v1/messages",
        "/%",
    ],
)
def test_what_is_no_conversation(path: str) -> None:
    assert name(path) is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "post", ""])
def test_only_posts_are_conversations(method: str) -> None:
    assert name("/v1/chat/completions", method=method) is None
    assert counted_dialect(method, "/v1/messages/count_tokens", ()) is None
    assert not is_readable(method, "/v1/messages", ())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/messages/count_tokens", "anthropic"),
        ("/anthropic/v1/messages/count_tokens?beta=true", "anthropic"),
        ("/v1/responses/input_tokens", "openai_responses"),
        ("/openai/v1/responses/input_tokens/", "openai_responses"),
        ("/v1beta/models/m:countTokens?key=k", "gemini"),
        ("/v1internal:countTokens", "gemini"),
        ("/v1/projects/p/locations/l/publishers/google/models/m%3AcountTokens", "gemini"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
         "anthropic"),
    ],
)  # fmt: skip
def test_token_counts(path: str, expected: str) -> None:
    dialect = counted_dialect("POST", path, ())
    assert dialect is not None
    assert dialect.name == expected
    assert name(path) is None
    assert is_readable("POST", path, ())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/embeddings", "/"])
def test_what_is_no_token_count(path: str) -> None:
    assert counted_dialect("POST", path, ()) is None


def test_token_counts_without_version_need_the_providers_header() -> None:
    path = "/anthropic/messages/count_tokens"
    assert counted_dialect("POST", path, ()) is None
    assert counted_dialect("POST", path, (("anthropic-version", "2023-06-01"),)) is not None


def test_what_can_be_read_is_a_conversation_or_a_count() -> None:
    assert is_readable("POST", "/v1/messages", ())
    assert not is_readable("POST", "/v1/embeddings", ())
    assert not is_readable("POST", "/messages", ())


def test_every_row_is_reached() -> None:
    for routes, lookup in ((ROUTES, dialect_for), (COUNTS, counted_dialect)):
        for route in routes:
            headers = ((route.header, "1"),) if route.header else ()
            path = "/x" + (route.within or "/") + "m" + route.ending
            assert lookup("POST", path, headers) is route.dialect


def test_long_paths_are_not_cached() -> None:
    before = routing._cached.cache_info().currsize
    assert name("/" + "x" * 10_000 + "/v1/messages") == "anthropic"
    assert routing._cached.cache_info().currsize == before
