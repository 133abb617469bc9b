"""What the main process and a worker say to each other, as frames of MessagePack."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec

from gateway_sessions.config import Loaded

RECORDER_SOCKET, OWN_SOCKET = "recorder.sock", "own.sock"
"""In the folder of the processes: where the recorder listens, and the server of own endpoints."""
SESSIONS_FILE = "sessions"
"""In the same folder: what workers share sessions in, where the system has no memory for that."""
NO_MEMORY = -1
LENGTH = struct.Struct("!I")
"""Before each message: its bytes."""


class Message(msgspec.Struct, frozen=True, tag=True):
    """Base of all messages."""


class Begin(Message, frozen=True):
    """To a worker, first: what it is to do."""

    loaded: Loaded
    """Checked by the main process."""
    name: str
    """What logs call it; a worker that is started again has another one."""
    folder: str
    """Where the sockets of the others are."""
    listeners: tuple[tuple[int, ...], ...]
    """Descriptors of the sockets that clients connect to, by worker."""
    place: int
    """Which of them are its own."""
    own_paths: tuple[str, ...]
    """Paths of the gateway's own endpoints, to be passed on; none where they have a port."""
    memory: int = NO_MEMORY
    """Descriptor of memory for the sessions of all workers; else they are in a file."""

    @property
    def sessions(self) -> Path:
        """Where the sessions of all workers are, as long as nothing else is configured."""
        if self.memory == NO_MEMORY:
            return Path(self.folder) / SESSIONS_FILE
        # Opened anew by its name: a lock belongs to who has opened a file, not to a process.
        return Path(f"/proc/self/fd/{self.memory}")


class Ready(Message, frozen=True):
    """From a worker: it serves."""


class Refused(Message, frozen=True):
    """From a worker: it can not start; one sentence."""

    sentence: str
    misconfigured: bool
    """Whether the configuration is at fault."""


class Stop(Message, frozen=True):
    """To a worker: stop listening, let exchanges finish, write everything down and end."""


class Hurry(Message, frozen=True):
    """To a worker that is stopping: do not wait for exchanges."""


class Cover(Message, frozen=True):
    """To a worker: these workers are down; take their new connections until they are back."""

    places: tuple[int, ...]


class Ask(Message, frozen=True):
    """A question to the other side; number 0 wants no answer."""

    number: int
    topic: str
    question: bytes


class Answer(Message, frozen=True):
    """The answer to a question; None where nobody knows the topic."""

    number: int
    answer: bytes | None


AnyMessage = Begin | Ready | Refused | Stop | Hurry | Cover | Ask | Answer

_encode = msgspec.msgpack.Encoder().encode
_decode: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def frame(message: AnyMessage) -> bytes:
    """Return a message as it is sent."""
    content = _encode(message)
    return LENGTH.pack(len(content)) + content


def read(content: bytes) -> AnyMessage:
    """Return the message in a frame; raises `msgspec.DecodeError`."""
    return _decode.decode(content)


PROBLEMS = "problems"
"""Topic of the main process's question what does not work; see `said`."""


def said(sentences: list[str]) -> bytes:
    """Return sentences as an answer."""
    return _encode(sentences)


def sentences(answer: bytes) -> list[str]:
    """Return the sentences of an answer."""
    return msgspec.msgpack.decode(answer, type=list[str])
