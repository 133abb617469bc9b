"""The server secret: what makes session ids and scopes unguessable.

It is made once and kept in the state directory, so that a client's own session id leads to the
same session after a restart.  Replicas that share sessions are given the same one by
configuration.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path

from gateway_sessions.errors import StartError
from gateway_sessions.recording.files import make_private_directory, open_private, write_all

FILE_NAME = "secret"
SECRET_BYTES = 32
"""256 bits: as many as the keyed hash uses."""

PERSONAL_DATA = "personal data"
"""The purpose of the key of the tokens that stand in place of personal data."""

_STORED = re.compile(rb"[0-9a-f]{64}\n?")


def server_secret(configured: str | None, state_directory: Path) -> bytes:
    """Return the configured secret, or the stored one, made now if there is none.

    Raises `StartError` if it can neither be read nor be stored: a secret that is forgotten
    would change the ids of sessions with every start.
    """
    if configured is not None:
        return configured.encode()
    stored = stored_secret(state_directory)
    if stored is not None:
        return stored
    try:
        _store(secrets.token_hex(SECRET_BYTES), state_directory)
    except OSError as error:
        raise _problem(state_directory, "made", error) from None
    made = stored_secret(state_directory)
    if made is None:
        raise _problem(state_directory, "kept", FileNotFoundError("it is gone again"))
    return made


def stored_secret(state_directory: Path) -> bytes | None:
    """Return the secret in the state directory, None if there is none yet.

    Raises `StartError` if there is one that can not be used.
    """
    path = state_directory / FILE_NAME
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _problem(state_directory, "read", error) from None
    try:
        text = os.read(descriptor, 1024)
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise _problem(state_directory, "read", error) from None
    finally:
        os.close(descriptor)
    if _STORED.fullmatch(text) is None:
        raise StartError(
            f"{path} holds no secret of 64 hexadecimal digits; delete it to have a new one made."
        )
    return bytes.fromhex(text.decode().strip())


def derived_key(secret: bytes, purpose: str) -> bytes:
    """Return 32 bytes for a purpose, from which neither the secret nor another key follows."""
    return hmac.digest(secret, purpose.encode(), "sha256")


def _store(text: str, state_directory: Path) -> None:
    """Write the secret to a file of its own, then give that its name if nobody was faster."""
    make_private_directory(state_directory)
    path = state_directory / FILE_NAME
    temporary = state_directory / f".{FILE_NAME}-{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(descriptor, f"{text}\n".encode())
        os.fsync(descriptor)
        try:
            # A link, unlike a rename, never replaces what another process has just stored.
            path.hardlink_to(temporary)
        except FileExistsError:
            return
    finally:
        os.close(descriptor)
        temporary.unlink()


def _problem(state_directory: Path, what: str, error: OSError) -> StartError:
    reason = (error.strerror or str(error)).lower()
    return StartError(
        f"the server secret can not be {what} in {state_directory} ({reason});"
        " set state_directory to a folder of yours, or secret to a text of your own."
    )
