"""Credentials planted in every slot of an exchange are found in no output."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from gateway_sessions import Client, Exchange, Request, Telemetry, masked_headers
from gateway_sessions.chain import InterceptorChain
from gateway_sessions.redaction import masked_path, masked_text, masked_url
from interceptors.message_logger import MessageLogger
from interceptors.printer import Printer
from interceptors.prometheus import Prometheus
from interceptors.prometheus.views import OPENMETRICS, exposition
from interceptors.redact import Redact
from interceptors.trace import Trace
from tests.interceptors.exchanges import QUESTION, TAG, context, response

CANARY = "PLantEd"


def canary(number: int) -> str:
    return f"{CANARY}{number:02d}Zq8vXw3nT5k"


BY_NAME = [
    "Authorization", "Proxy-Authorization", "X-Api-Key", "api-key", "x-goog-api-key", "Cookie",
    "Set-Cookie", "X-Auth-Token", "X-Amz-Security-Token", "Helicone-Auth", "x-client-secret",
    "x-litellm-api-key", "cf-aig-authorization", "Openai-Api-Key", "x-csrf-token",
]  # fmt: skip
BY_VALUE = [
    "Bearer {}", "Basic {}", "sk-{}", "sk-proj-{}", "sk-ant-{}", "ghp_{}", "github_pat_{}",
    "xoxb-{}", "AIza{}", "AKIA{}", "eyJ{}.eyJ{}.sig", "hf_{}", "glpat-{}", "gsk_{}",
    "https://user:{}@example.org/", "https://example.org/?key={}", "a=1; token={}",
]  # fmt: skip
IN_QUERY = [
    "key={}", "api_key={}", "token={}", "access_token={}", "sig={}", "X-Amz-Signature={}",
    "api%5Fkey={}", "q=sk-{}",
]  # fmt: skip
OWN_HEADERS = ["X-Team-Pass", "X-Partner"]


def planted() -> tuple[Exchange, int]:
    """Return an exchange masked as the gateway masks it, and the number of canaries in it."""
    count = 0

    def fill(template: str) -> str:
        nonlocal count
        count += 1
        return template.replace("{}", canary(count))

    sent = tuple((name, fill("{}")) for name in BY_NAME)
    sent += tuple((f"X-Value-{number}", fill(value)) for number, value in enumerate(BY_VALUE))
    sent += tuple((name, fill("{}")) for name in OWN_HEADERS)
    path = "/v1/chat/completions?" + "&".join(fill(pair) for pair in IN_QUERY)
    user_agent = fill("agent/1.0 (sk-{})")
    answered = (
        ("Set-Cookie", fill("{}")),
        ("Location", fill("https://u:{}@host/")),
        ("X-Partner", fill("{}")),
    )
    made = Exchange(
        request_id="req_1",
        started_at=0.0,
        client=Client("127.0.0.1", masked_text(user_agent)),
        request=Request("POST", masked_path(path), masked_headers(sent), b"", 0),
        dialect="openai_chat",
        provider="openai",
        model=str(QUESTION["model"]),
        session=TAG,
        response=response(headers=masked_headers(answered)),
        new_messages=1,
    )
    return made, count


def written(folder: Path) -> dict[str, str]:
    """Return the texts of all files in a folder."""
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


async def test_no_credential_is_in_any_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def write(self, batch: list[Exchange]) -> None:
            raise ValueError(f"can not write {batch!r}")

    terminal = io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    prometheus = Prometheus()
    chain = InterceptorChain(
        [
            ("redact", Redact(headers=OWN_HEADERS)),
            ("trace", Trace(tmp_path / "traces", include_stream=True)),
            ("printer", Printer(log_body=True)),
            ("message_logger", MessageLogger(tmp_path / "messages.jsonl")),
            ("prometheus", prometheus),
            ("failing", Failing()),
        ],
        Telemetry(),
    )
    item, count = planted()
    assert count >= 40
    with caplog.at_level(logging.DEBUG):
        await chain.open(context())
        await chain.request_started(item)
        chain.finished(item)
        await chain.close()

    outputs = written(tmp_path)
    assert len(outputs) == 2
    assert "".join(outputs.values()).count("***") >= count
    outputs["terminal"] = terminal.getvalue()
    outputs["log"] = caplog.text
    outputs["metrics"] = exposition(prometheus.registry, OPENMETRICS)[0].decode()
    for name, text in outputs.items():
        assert text, name
        assert CANARY.lower() not in text.lower(), name


def test_the_canaries_can_be_found() -> None:
    """The test above would find one that was let through."""
    (header,) = masked_headers((("X-Note", f"note {canary(1)}"),))
    assert CANARY in header[1]
    assert CANARY in masked_url(f"https://host/{canary(1)}")
