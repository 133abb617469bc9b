"""Sources of the configuration and their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.config import Config, Loaded, Override, Session, Upstream, load
from gateway_sessions.config.schema import DEFAULT_INTERCEPTORS, Persistence
from gateway_sessions.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "f.yaml"
    path.write_text("server:\n  host: file\n  port: 1\n  workers: 1\n")
    return path


def sentence(
    source: object = None, overrides: tuple[str, ...] = (), environ: dict[str, str] | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load(source, overrides=overrides, environ=environ or {})  # type: ignore[arg-type]
    return str(caught.value)


def test_without_any_source_the_defaults_hold() -> None:
    assert load(environ={}) == Loaded(Config(), {})


def test_option_beats_variable_beats_file_beats_default(file: Path) -> None:
    environ = {"GATEWAY_SESSIONS_SERVER__PORT": "2", "GATEWAY_SESSIONS_SERVER__HOST": "env"}
    loaded = load(file, overrides=["server.port=3"], environ=environ)
    server = loaded.config.server
    assert (server.port, server.host, server.workers) == (3, "env", 1)
    assert server.response_headers == "all"
    assert loaded.places == {
        "server.host": "environment variable GATEWAY_SESSIONS_SERVER__HOST",
        "server.port": "option --set server.port",
        "server.workers": f"{file}, line 4",
    }


def test_a_later_option_beats_an_earlier_one() -> None:
    loaded = load(overrides=["server.port=1", "server.port=2"], environ={})
    assert loaded.config.server.port == 2


def test_a_variable_can_name_the_file(file: Path) -> None:
    environ = {"GATEWAY_SESSIONS_CONFIG": str(file)}
    assert load(environ=environ).config.server.host == "file"


def test_a_mapping_stands_for_a_file() -> None:
    loaded = load({"server": {"port": 5}}, environ={"GATEWAY_SESSIONS_SERVER__HOST": "h"})
    assert (loaded.config.server.port, loaded.config.server.host) == (5, "h")


def test_a_finished_configuration_is_taken_as_it_is() -> None:
    environ = {"GATEWAY_SESSIONS_SERVER__PORT": "2"}
    assert load(Config(), environ=environ).config == Config()
    loaded = Loaded(Config(), {})
    assert load(loaded, environ=environ) is loaded


def test_an_empty_variable_counts_as_none() -> None:
    assert load(environ={"GATEWAY_SESSIONS_SERVER__PORT": ""}).config.server.port == 3000


def test_values_of_variables_and_options_are_typed_by_the_key() -> None:
    environ = {"GATEWAY_SESSIONS_ADMIN__TOKEN": "0123", "GATEWAY_SESSIONS_ADMIN__LISTEN": "null"}
    loaded = load(overrides=["session.reset_phrases=[neu, 5x]"], environ=environ)
    assert loaded.config.admin.token == "0123"
    assert loaded.config.admin.listen is None
    assert loaded.config.session.reset_phrases == ("neu", "5x")


@pytest.mark.parametrize("where", ["file", "variable", "option"])
def test_the_short_form_of_upstreams(where: str, tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("upstream: http://h:1\n" if where == "file" else "")
    environ = {"GATEWAY_SESSIONS_UPSTREAM": "http://h:1"} if where == "variable" else {}
    overrides = ["upstream=http://h:1"] if where == "option" else []
    loaded = load(path, overrides=overrides, environ=environ)
    assert loaded.config.upstreams == (Upstream(url="http://h:1"),)


def test_an_empty_short_form_leaves_the_default() -> None:
    assert load({"upstream": None}, environ={}).config == Config()


def test_an_option_replaces_the_upstreams_of_the_file() -> None:
    both = {"upstreams": [{"url": "http://a"}, {"url": "http://b"}]}
    loaded = load(both, overrides=["upstream=http://c"], environ={})
    assert loaded.config.upstreams == (Upstream(url="http://c"),)


def test_one_option_of_a_default_interceptor_can_be_set() -> None:
    loaded = load(overrides=["interceptors.trace.config.directory=/d"], environ={})
    assert loaded.config.interceptors[1].config["directory"] == "/d"
    assert loaded.config.interceptors[1].config["file_prefix"] == "trace"
    assert loaded.config.interceptors[2:] == DEFAULT_INTERCEPTORS[2:]
    assert list(loaded.places) == ["interceptors.1.config.directory"]


def test_one_key_of_the_default_upstream_can_be_set() -> None:
    environ = {"GATEWAY_SESSIONS_UPSTREAMS__0__TIMEOUT_SECONDS": "5"}
    assert load(environ=environ).config.upstreams[0].timeout_seconds == 5.0


@pytest.mark.parametrize(
    ("overrides", "environ", "expected"),
    [
        (
            ("server.port",),
            {},
            (
                "option --set server.port: write KEY=VALUE with a dotted key, such as"
                " server.port=3001."
            ),
        ),
        (
            ("a..b=1",),
            {},
            "option --set a..b: write KEY=VALUE with a dotted key, such as server.port=3001.",
        ),
        (
            ("server.prot=1",),
            {},
            "option --set server.prot: unknown key server.prot; did you mean server.port?",
        ),
        (
            ("server.port=x",),
            {},
            (
                "option --set server.port: server.port must be a whole number from 0 to 65535,"
                ' not "x".'
            ),
        ),
        (
            ("upstream=nowhere",),
            {},
            (
                "option --set upstream: upstream must be a URL that begins with http:// or https://,"
                ' or builtin://echo, not "nowhere".'
            ),
        ),
        (
            ("upstream=5",),
            {},
            "option --set upstream: upstream must be a URL, not 5.",
        ),
        (
            ("interceptors.tarce.enabled=true",),
            {},
            (
                "option --set interceptors.tarce.enabled: the list has no item tarce; its items are"
                " redact, trace, printer, message_logger."
            ),
        ),
        (
            (),
            {"GATEWAY_SESSIONS_PORT": "1"},
            (
                "environment variable GATEWAY_SESSIONS_PORT: unknown key port;"
                " did you mean server.port?"
            ),
        ),
        (
            (),
            {"GATEWAY_SESSIONS_SERVER__PORT": "x"},
            (
                "environment variable GATEWAY_SESSIONS_SERVER__PORT: server.port must be a whole"
                ' number from 0 to 65535, not "x".'
            ),
        ),
    ],
)
def test_mistakes_name_the_option_or_variable(
    overrides: tuple[str, ...], environ: dict[str, str], expected: str
) -> None:
    assert sentence(None, overrides, environ) == expected


def test_an_option_of_its_own_is_named_in_its_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=[Override("--port", "server.port", "x")], environ={})
    assert str(caught.value) == (
        'option --port: server.port must be a whole number from 0 to 65535, not "x".'
    )


def test_both_forms_of_upstreams_contradict(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("upstreams:\n  - url: http://a\nupstream: http://b\n")
    assert sentence(path) == (
        f"{path}, line 3: upstream is the short form of upstreams and both are there;"
        " keep one of them."
    )


def test_a_store_that_keeps_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("session:\n  persistence:\n    enabled: true\n")
    assert sentence(path) == (
        f"{path}, line 3: session.persistence.backend memory keeps nothing beyond the process;"
        " set it to file, redis or postgres, or session.persistence.enabled to false."
    )


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ("redis", "redis://127.0.0.1:6379/0"),
        ("postgres", "postgresql://user:password@127.0.0.1/sessions"),
    ],
)
def test_a_server_without_an_address_is_refused(backend: str, url: str) -> None:
    config = Config(session=Session(persistence=Persistence(enabled=True, backend=backend)))  # type: ignore[arg-type]
    assert sentence(config) == (
        "the configuration: session.persistence.connection is missing; set it to the URL of the"
        f" server, such as {url}."
    )


def test_a_file_needs_no_name() -> None:
    source = {"session": {"persistence": {"enabled": True, "backend": "file"}}}
    assert load(source, environ={}).config.session.persistence.connection is None


def test_a_store_that_is_off_is_accepted() -> None:
    source = {"session": {"persistence": {"enabled": False, "backend": "redis"}}}
    assert load(source, environ={}).config.session.persistence.backend == "redis"


def test_mistakes_in_a_mapping_are_those_of_the_configuration() -> None:
    assert sentence({"server": {"port": "x"}}) == (
        'the configuration: server.port must be a whole number from 0 to 65535, not "x".'
    )
