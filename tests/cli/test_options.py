"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.cli.options import loaded, warn_of_inert
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


def test_settings_without_effect_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_inert(loaded(None, ["server.workers=4"]))
    assert capsys.readouterr().err == (
        "Warning: option --set server.workers: server.workers has no effect in this version:"
        " the gateway runs in one process.\n"
    )
