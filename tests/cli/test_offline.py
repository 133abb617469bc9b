"""Detection on logs: the same log gives the same sessions and ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from gateway_sessions.cli.offline import Detection, secret_of
from gateway_sessions.config import Config
from gateway_sessions.exchange_log import LoggedExchange, LoggedRequest

START = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = b"a secret for tests only"


def asked(second: int, text: str) -> LoggedExchange:
    body = {"messages": [{"role": "user", "content": text}]}
    request = LoggedRequest("/v1/chat/completions", body=msgspec.Raw(msgspec.json.encode(body)))
    return LoggedExchange(START + timedelta(seconds=second), request)


def ids(*log: LoggedExchange, secret: bytes = SECRET) -> list[str]:
    detection = Detection(Config(), secret)
    tags = [detection.verdict(exchange).tag for exchange in log]
    return [tag.session_id for tag in tags if tag]


def test_the_same_log_has_the_same_ids_whatever_the_secret() -> None:
    log = [asked(second, f"question {second}") for second in range(5)]
    assert ids(*log) == ids(*log, secret=b"another one of 16 bytes")
    assert len(set(ids(*log))) == 5


def test_an_id_is_made_of_the_place_in_the_log() -> None:
    first = ids(asked(1, "a"), asked(2, "b"))
    assert ids(asked(1, "x"), asked(2, "y")) == first
    assert all(len(name) == len("sess_") + 20 for name in first)


def test_explanations_are_made_only_when_wanted() -> None:
    plain = Detection(Config(), SECRET).verdict(asked(1, "a")).tag
    aloud = Detection(Config(), SECRET, explain=True).verdict(asked(1, "a")).tag
    assert plain is not None
    assert aloud is not None
    assert (plain.explain, bool(aloud.explain)) == ((), True)


def test_the_secret_is_the_gateways(tmp_path: Path) -> None:
    assert secret_of(Config(secret="of the configuration")) == b"of the configuration"
    state = tmp_path / "state"
    state.mkdir()
    (state / "secret").write_text("0123456789abcdef" * 4)
    config = Config(state_directory=str(state))
    assert secret_of(config) == bytes.fromhex("0123456789abcdef" * 4)


def test_without_a_secret_there_is_one_for_the_run(tmp_path: Path) -> None:
    config = Config(state_directory=str(tmp_path / "none"))
    assert secret_of(config) != secret_of(config)
    assert len(secret_of(config)) >= 16
    assert not (tmp_path / "none").exists()


def test_a_secret_that_is_none_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no secret")
    config = Config(state_directory=str(tmp_path))
    assert secret_of(config) != secret_of(config)
