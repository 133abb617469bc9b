"""The server secret is made once and kept to ourselves."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.secret import (
    PERSONAL_DATA,
    SECRET_BYTES,
    derived_key,
    server_secret,
    stored_secret,
)


def test_it_is_made_once(tmp_path: Path) -> None:
    first = server_secret(None, tmp_path)
    assert len(first) == SECRET_BYTES
    assert server_secret(None, tmp_path) == stored_secret(tmp_path) == first


def test_two_gateways_do_not_share_one(tmp_path: Path) -> None:
    assert server_secret(None, tmp_path / "a") != server_secret(None, tmp_path / "b")


def test_a_configured_one_is_used_and_none_is_stored(tmp_path: Path) -> None:
    assert server_secret("sixteen letters!", tmp_path) == b"sixteen letters!"
    assert list(tmp_path.iterdir()) == []


def test_asking_does_not_make_one(tmp_path: Path) -> None:
    assert stored_secret(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    server_secret(None, state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "secret").stat().st_mode) == 0o600


def test_one_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    server_secret(None, tmp_path)
    (tmp_path / "secret").chmod(0o644)
    server_secret(None, tmp_path)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    server_secret(None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: server_secret(None, tmp_path), range(64)))
    assert len(made) == 1


@pytest.mark.parametrize("content", ["", "short", "g" * 64, "a" * 65])
def test_a_damaged_one_is_refused_and_not_replaced(content: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(StartError) as caught:
        server_secret(None, tmp_path)
    assert str(caught.value) == (
        f"{path} holds no secret of 64 hexadecimal digits; delete it to have a new one made."
    )
    assert path.read_text() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("a" * 64)
    (tmp_path / "secret").symlink_to(target)
    with pytest.raises(StartError, match="can not be read"):
        server_secret(None, tmp_path)


def test_a_folder_that_can_not_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError) as caught:
        server_secret(None, tmp_path / "file" / "state")
    assert str(caught.value) == (
        f"the server secret can not be read in {tmp_path}/file/state (not a directory);"
        " set state_directory to a folder of yours, or secret to a text of your own."
    )


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StartError) as caught:
        server_secret(None, tmp_path)
    assert str(caught.value) == (
        f"the server secret can not be made in {tmp_path} (no space left on device);"
        " set state_directory to a folder of yours, or secret to a text of your own."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_its_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(StartError, match=r"can not be read in .* \(is a directory\)"):
        server_secret(None, tmp_path)


def test_one_that_vanishes_at_once_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", lambda self, target: None)
    with pytest.raises(StartError, match=r"can not be kept in .* \(it is gone again\)"):
        server_secret(None, tmp_path)


def test_keys_for_other_purposes_tell_nothing_of_it_nor_of_each_other() -> None:
    secret = b"s" * SECRET_BYTES
    keys = {derived_key(secret, purpose) for purpose in ("a", "b", PERSONAL_DATA)}
    assert len(keys) == 3
    assert secret not in keys
    assert {len(key) for key in keys} == {32}
    assert derived_key(secret, "a") == derived_key(secret, "a") != derived_key(b"t" * 32, "a")
