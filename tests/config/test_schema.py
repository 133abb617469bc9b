"""Names and defaults are a promise: they are those of the documentation."""

from __future__ import annotations

from pathlib import Path

import yaml

from gateway_sessions.config import Config, effective, load

PROMISED = """
server: {host: 127.0.0.1, port: 3000, workers: 1, trusted_proxies: [], response_headers: all}
session:
  enabled: true
  max_sessions: 10000
  session_ttl_seconds: 3600
  fuzzy_matching: true
  fuzzy_threshold: 0.8
  fuzzy_max_diff: 2
  reset_phrases: ["start over", "new conversation", "clear chat"]
  min_messages_for_new_session: 3
  scope:
    headers: [authorization, x-api-key, api-key, x-goog-api-key]
    credential: true
    end_user: true
  explicit: {enabled: true, headers: []}
  persistence: {enabled: false, backend: memory, connection: null}
rate_limiting:
  per_session: {requests_per_minute: null, tokens_per_hour: null, min_confidence: 0.7}
interceptors:
  - {type: redact, enabled: true, config: {}}
  - type: trace
    enabled: true
    config:
      directory: ./traces
      include_headers: true
      include_body: full
      max_body_size: 1048576
      file_prefix: trace
  - type: printer
    enabled: false
    config: {log_requests: true, log_responses: true, log_body: false, max_body_length: 1000}
  - type: message_logger
    enabled: false
    config: {log_file: message_logs/messages.jsonl, include_metadata: true}
admin: {listen: null, token: null, prefix: ""}
logging: {level: INFO, format: console, file: logs/gateway.log}
state_directory: ~/.gateway-sessions
secret: null
"""


def test_the_defaults_are_the_promised_ones() -> None:
    promised = yaml.safe_load(PROMISED)
    assert {key: effective(Config())[key] for key in promised} == promised


def test_the_promised_blocks_are_accepted_as_they_are() -> None:
    assert load(yaml.safe_load(PROMISED), environ={}).config == Config()


def test_newcomers_get_the_embedded_upstream() -> None:
    assert [upstream.url for upstream in Config().upstreams] == ["builtin://echo"]


def test_the_state_directory_is_in_the_home_folder() -> None:
    assert Config().state_path == Path.home() / ".gateway-sessions"
