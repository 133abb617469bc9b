"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.cli.options import loaded, tell_notices
from gateway_sessions.errors import ConfigError


def test_options_of_their_own_win_over_set_and_file(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("server: {port: 1, host: file}\n")
    options = {"port": ("server.port", "3"), "host": ("server.host", None)}
    made = loaded(str(file), ["server.port=2"], **options)
    assert (made.config.server.port, made.config.server.host) == (3, "file")


def test_a_mistake_names_the_option_as_it_was_typed() -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(None, [], log_level=("logging.level", "LOUD"))
    assert str(caught.value) == (
        'option --log-level: logging.level must be one of DEBUG, INFO, WARNING, ERROR, not "LOUD".'
    )


def test_what_should_be_known_of_settings_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    block = "session.persistence"
    values = {"enabled": "true", "backend": "redis", "connection": "redis://127.0.0.1:1/0"}
    tell_notices(loaded(None, [f"{block}.{key}={value}" for key, value in values.items()]))
    assert capsys.readouterr().err.startswith(
        f"Warning: option --set {block}.backend: {block}.backend redis shares sessions among"
    )
