"""The recording blocks: names and defaults are those of the documentation."""

from __future__ import annotations

import yaml

from gateway_sessions.config import Config, effective, load

PROMISED = """
session_recording:
  enabled: true
  jsonl:
    enabled: true
    directory: "~/.gateway-sessions/sessions"
    retention:
      max_age_days: 30
      max_total_size_gb: 10
      compress_after_days: 7
      cleanup_interval_minutes: 60
  sqlite: {enabled: true, path: "~/.gateway-sessions/sessions.db", max_connections: 5}
  postgres: {enabled: false, url: null}
  worker: {batch_size: 100, batch_timeout_ms: 100, channel_buffer_size: 10000}
  content: full
  include_streaming_events: false
  capture_user_agent: true
  max_user_agent_length: 255
  redaction: {enabled: false, mode: mask}
recording_api:
  enabled: true
  persist_interval_secs: 5
  max_memory_messages: 100
  session_timeout_secs: 3600
  max_event_bytes: 1048576
"""


def test_the_defaults_are_the_promised_ones() -> None:
    promised = yaml.safe_load(PROMISED)
    ours = {key: effective(Config())[key] for key in promised}
    # Four keys are additions.
    assert ours["session_recording"].pop("writers") == []
    assert ours["session_recording"].pop("prices_file") is None
    assert ours["session_recording"]["redaction"].pop("patterns") == {}
    assert ours["recording_api"].pop("token") is None
    assert ours == promised


def test_the_promised_blocks_are_accepted_as_they_are() -> None:
    assert load(yaml.safe_load(PROMISED), environ={}).config == Config()


def test_empty_blocks_are_accepted() -> None:
    source: dict[str, object] = {"session_recording": {}, "recording_api": {}}
    assert load(source, environ={}).config == Config()
