"""From values to the typed configuration: every mistake is one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.config.convert import built, shown
from gateway_sessions.config.schema import Config, Upstream
from gateway_sessions.config.tree import Node, from_value
from gateway_sessions.errors import ConfigError


def config(value: Any) -> Config:
    return built(Config, from_value(value, "f.yaml, line 7"))


def test_nothing_gives_the_defaults() -> None:
    assert config({}) == Config()


def test_a_block_with_nothing_below_it_is_its_default() -> None:
    assert config({"session": None, "server": {}}) == Config()


def test_values_arrive_typed() -> None:
    made = config(
        {
            "server": {"port": 0, "trusted_proxies": ["10.0.0.0/8"]},
            "session": {"session_ttl_seconds": 60},
            "upstreams": [{"url": "http://h", "inject": {"x-id": "session"}}],
        }
    )
    assert made.server.trusted_proxies == ("10.0.0.0/8",)
    assert made.session.session_ttl_seconds == 60.0
    assert made.upstreams == (Upstream(url="http://h", inject={"x-id": "session"}),)


INJECT = (
    "upstreams.0.inject must be true, false, one of litellm, helicone, portkey, langfuse,"
    " openrouter, envoy, openai, or a mapping from header names to session, parent, root or request"
)
TOP = (
    "the keys at the top are server, upstreams, session, rate_limiting, interceptors,"
    " session_recording, recording_api, admin, logging, state_directory, secret"
)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"sever": {}}, "unknown key sever; did you mean server?"),
        ({"server": {"prt": 1}}, "unknown key server.prt; did you mean server.port?"),
        ({"port": 1}, "unknown key port; did you mean server.port?"),
        ({"session": {"port": 1}}, "unknown key session.port; did you mean server.port?"),
        ({"xyzzy": 1}, f"unknown key xyzzy; {TOP}."),
        (
            {"session": {"scope": {"zzz": 1}}},
            (
                "unknown key session.scope.zzz; the keys in session.scope are headers, credential,"
                " end_user."
            ),
        ),
        (
            {"interceptors": [{"type": "trace", "confg": {}}]},
            "unknown key interceptors.0.confg; did you mean interceptors.0.config?",
        ),
        ({"server": 5}, "server must be a mapping, not 5."),
        ({"server": [1]}, "server must be a mapping, not [1]."),
        ({"upstreams": {"url": "http://h"}}, "upstreams must be a list, not a mapping."),
        ({"upstreams": []}, "upstreams must be a list of at least one upstream, not []."),
        ({"upstreams": [{}]}, "upstreams.0 needs the key url."),
        ({"upstreams": ["http://h"]}, 'upstreams.0 must be a mapping, not "http://h".'),
        (
            {"interceptors": [{"type": " "}]},
            'interceptors.0.type must be text that is not empty, not " ".',
        ),
        (
            {"server": {"port": 65536}},
            "server.port must be a whole number from 0 to 65535, not 65536.",
        ),
        (
            {"server": {"port": "3000"}},
            'server.port must be a whole number from 0 to 65535, not "3000".',
        ),
        (
            {"server": {"port": True}},
            "server.port must be a whole number from 0 to 65535, not true.",
        ),
        (
            {"server": {"port": None}},
            "server.port must be a whole number from 0 to 65535, not null.",
        ),
        ({"server": {"workers": 0}}, "server.workers must be a whole number of at least 1, not 0."),
        ({"server": {"host": 1}}, "server.host must be text, not 1."),
        (
            {"server": {"response_headers": "some"}},
            'server.response_headers must be one of all, id, none, not "some".',
        ),
        (
            {"session": {"fuzzy_threshold": 1.5}},
            "session.fuzzy_threshold must be a number from 0 to 1, not 1.5.",
        ),
        (
            {"session": {"session_ttl_seconds": 0}},
            "session.session_ttl_seconds must be a number above 0, not 0.",
        ),
        ({"session": {"enabled": "yes"}}, 'session.enabled must be true or false, not "yes".'),
        (
            {"session": {"reset_phrases": "start over"}},
            'session.reset_phrases must be a list of texts, not "start over".',
        ),
        (
            {"rate_limiting": {"per_session": {"tokens_per_hour": "many"}}},
            (
                "rate_limiting.per_session.tokens_per_hour must be a whole number of at least 1 or"
                ' null, not "many".'
            ),
        ),
        (
            {"upstreams": [{"url": "gopher://h"}]},
            (
                "upstreams.0.url must be a URL that begins with http:// or https://, or"
                ' builtin://echo, not "gopher://h".'
            ),
        ),
        ({"upstreams": [{"url": "http://h", "inject": "lite"}]}, f'{INJECT}, not "lite".'),
        (
            {"upstreams": [{"url": "http://h", "inject": {"x": "y"}}]},
            f"{INJECT}, not a mapping.",
        ),
    ],
)
def test_mistakes_name_place_key_and_cure(value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(value)
    assert str(caught.value) == f"f.yaml, line 7: {sentence}"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"secret": "canary"}, "secret must be text of at least 16 characters or null"),
        ({"admin": {"token": ["canary"]}}, "admin.token must be text or null"),
        (
            {"session": {"persistence": {"connection": {"canary": 1}}}},
            "session.persistence.connection must be text or null",
        ),
    ],
)
def test_a_wrong_secret_is_not_repeated(value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(value)
    assert str(caught.value) == f"f.yaml, line 7: {sentence}, not what was given."


def test_a_number_that_was_meant_as_text_is_taken_as_text() -> None:
    tree = Node({"admin": Node({"token": Node(12345, "x", text="12345")}, "x")}, "x")
    assert built(Config, tree).admin.token == "12345"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 100, '"' + "x" * 59 + "…"),
        ("line\nbreak\u2028", '"line\\nbreak\\u2028"'),
        ("http://u:canary@h", '"http://***@h"'),
        (["http://u:canary@h"], '["http://***@h"]'),
        ({"token": "canary"}, "a mapping"),
        ([{"token": "canary"}], "a list of mappings"),
    ],
)
def test_wrong_values_are_shown_briefly_and_safely(value: Any, words: str) -> None:
    assert shown(value) == words
