"""Credentials are masked wherever they stand, and nothing takes more than linear time."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions import redaction
from gateway_sessions.redaction import (
    MASK,
    masked_error,
    masked_headers,
    masked_path,
    masked_text,
    masked_url,
)

SECRET = "Zq8vXw3nT5kPb7Rm2Jd9"

SECRET_HEADERS = [
    "Authorization",
    "authorization",
    "PROXY-AUTHORIZATION",
    "X-Api-Key",
    "api-key",
    "x-goog-api-key",
    "Cookie",
    "Set-Cookie",
    "X-Auth-Token",
    "x-amz-security-token",
    "Helicone-Auth",
    "Ocp-Apim-Subscription-Key",
    "x-client-secret",
    "cf-access-jwt",
]

SHAPES = [
    f"Bearer {SECRET}",
    f"bearer   {SECRET}",
    f"Basic {SECRET}==",
    f"sk-{SECRET}",
    f"sk-proj-{SECRET}",
    f"sk-ant-api03-{SECRET}",
    f"ghp_{SECRET}",
    f"github_pat_{SECRET}",
    f"glpat-{SECRET}",
    f"xoxb-{SECRET}",
    f"AIza{SECRET}{SECRET}",
    f"AKIA{SECRET.upper()}",
    f"eyJ{SECRET}.{SECRET}.{SECRET}",
    f"hf_{SECRET}",
    f"gsk_{SECRET}",
    f"xai-{SECRET}",
    f"sk_live_{SECRET}",
    f"https://user:{SECRET}@example.org/v1",
    f"https://example.org/v1?key={SECRET}",
    f"session=1; token={SECRET}; x=2",
]

QUERIES = [
    f"key={SECRET}",
    f"api_key={SECRET}",
    f"API-KEY={SECRET}",
    f"token={SECRET}",
    f"access_token={SECRET}",
    f"sig={SECRET}",
    f"X-Amz-Signature={SECRET}",
    f"client_secret={SECRET}",
    f"auth[token]={SECRET}",
    f"api%5Fkey={SECRET}",
    f"k%65y={SECRET}",
    f"q=sk-{SECRET}",
    f"q=sk%2D{SECRET}",
]

ORDINARY = (
    ("Host", "127.0.0.1:3000"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Connection", "keep-alive"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json; charset=utf-8"),
    ("User-Agent", "OpenAI/Python 1.99.0"),
    ("X-Stainless-Lang", "python"),
    ("X-Stainless-Package-Version", "1.99.0"),
    ("Idempotency-Key", "stainless-python-retry-1f0c2a"),
    ("X-Session-Id", "9f1c1f4e-7a4e-4a53-9d7e-0d2f7a9a2b11"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("anthropic-ratelimit-tokens-remaining", "39999"),
    ("x-ratelimit-limit-tokens", "200000"),
    ("Cache-Control", "no-cache, max-age=0"),
    ("Content-Length", "2048"),
)


@pytest.mark.parametrize("name", SECRET_HEADERS)
def test_header_is_masked_by_its_name(name: str) -> None:
    assert masked_headers((("Host", "x"), (name, SECRET))) == (("Host", "x"), (name, MASK))


@pytest.mark.parametrize("value", SHAPES)
def test_header_is_masked_by_the_shape_of_its_value(value: str) -> None:
    for _ in range(2):  # the second time a memo could answer
        ((name, masked),) = masked_headers((("X-Custom", value),))
        assert name == "X-Custom"
        assert MASK in masked
        assert SECRET not in masked
        assert SECRET.upper() not in masked


def test_what_surrounds_a_credential_stays() -> None:
    assert masked_text(f"a Bearer {SECRET}, b") == "a Bearer ***, b"
    assert masked_text(f"session=1; token={SECRET}; x=2") == "session=1; token=***; x=2"


def test_ordinary_headers_pass_unchanged() -> None:
    assert masked_headers(ORDINARY) == ORDINARY
    assert masked_headers(ORDINARY) == ORDINARY


def test_order_case_and_repeats_of_headers_stay() -> None:
    headers = (("B", "1"), ("Set-Cookie", "a=1"), ("b", "2"), ("set-cookie", "b=2"))
    assert masked_headers(headers) == (
        ("B", "1"),
        ("Set-Cookie", MASK),
        ("b", "2"),
        ("set-cookie", MASK),
    )


@pytest.mark.parametrize("query", QUERIES)
def test_query_parameter_is_masked(query: str) -> None:
    masked = masked_path(f"/v1/models/gemini:generateContent?alt=sse&{query}&x=1")
    assert masked.startswith("/v1/models/gemini:generateContent?alt=sse&")
    assert masked.endswith(f"={MASK}&x=1")
    assert SECRET not in masked


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse",
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        "/v1/responses?max_tokens=10&&empty=&flag",
        "/x?cursor=a%20b+c#part",
    ],
)
def test_ordinary_paths_pass_unchanged(path: str) -> None:
    assert masked_path(path) == path


def test_key_in_a_path_segment_is_masked() -> None:
    assert masked_path(f"/proxy/sk-{SECRET}/v1/chat") == "/proxy/***/v1/chat"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"https://user:{SECRET}@host:8080/v1?x=1", "https://***@host:8080/v1?x=1"),
        (f"https://{SECRET}@host", "https://***@host"),
        (f"https://a:b@{SECRET}@host/", "https://***@host/"),
        (f"redis://:{SECRET}@host/0", "redis://***@host/0"),
        (f"https://host?token={SECRET}", "https://host?token=***"),
        ("http://localhost:4000/v1", "http://localhost:4000/v1"),
        (f"/v1?key={SECRET}", "/v1?key=***"),
    ],
)
def test_url_is_masked(url: str, expected: str) -> None:
    assert masked_url(url) == expected


def test_the_memo_is_bounded_and_holds_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_clean", set())
    for number in range(redaction._CLEAN_LIMIT + 10):
        masked_text(f"harmless {number}")
    masked_headers((("X", f"sk-{SECRET}"), ("Authorization", SECRET)))
    assert len(redaction._clean) <= redaction._CLEAN_LIMIT
    assert all(isinstance(item, int) for item in redaction._clean)
    assert hash(f"sk-{SECRET}") not in redaction._clean


@given(st.text(max_size=200), st.text(max_size=200))
def test_nothing_makes_it_fail(name: str, value: str) -> None:
    ((kept, _),) = masked_headers(((name, value),))
    assert kept == name
    masked_path(value)
    masked_url(value)


HOSTILE = [
    "sk-",
    "sk-a ",
    "eyJ",
    "eyJeyJ.",
    "bearer ",
    "bearer  ,",
    "://",
    "://a:",
    "://a@",
    "key=",
    "key=;",
    "tokenkey=sig=",
    "&",
    "?key=&",
    "%6b%65y=",
    "a",
    " ",
    "-",
    "=",
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("mask", [masked_text, masked_path, masked_url])
def test_time_is_linear_on_hostile_input(piece: str, mask: object) -> None:
    assert callable(mask)

    def seconds(size: int) -> float:
        best = float("inf")
        for attempt in range(3):
            text = f"/x?{attempt}" + piece * (size // len(piece))
            started = time.process_time()
            mask(text)
            best = min(best, time.process_time() - started)
        return best

    # Quadratic work would be a factor of 64; the floor keeps the clock's grain out of it.
    assert seconds(160_000) <= 24 * max(seconds(20_000), 0.0005)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"Incorrect API key provided: sk-{SECRET}.", f"Incorrect API key provided: {MASK}"),
        (f"Bearer {SECRET}== is unknown", f"{MASK} is unknown"),
        (f"can not reach https://me:{SECRET}@host/v1", f"can not reach https://{MASK}host/v1"),
        (f'\\"gsk_{SECRET}\\" is no key', f'\\"{MASK}\\" is no key'),
        ("above the token limit of your Basic plan", None),
        ("the bearer token is missing", None),
        ("key=value; see https://example.org, or mail a@example.org", None),
    ],
)
def test_keys_that_an_error_quotes_are_masked_and_its_words_stay(
    said: str, kept: str | None
) -> None:
    body = f'{{"error": {{"message": "{said}"}}}}'.encode()
    masked = masked_error(body)
    assert masked == (body if kept is None else body.replace(said.encode(), kept.encode()))
    json.loads(masked)


@given(st.from_regex(redaction._ID, fullmatch=True))
def test_ids_that_are_not_searched_have_nothing_to_mask(identity: str) -> None:
    assert redaction._SHAPES.search(identity) is None


def test_ids_of_single_exchanges_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_clean", set())
    ids = ("req_5s5dmdwmsqqeb407n1v6", "sess_5s5dmdwmsqqeb407n1v6", str(uuid.UUID(int=2**100)))
    assert tuple(map(redaction.masked_text, ids)) == ids
    assert not redaction._clean
