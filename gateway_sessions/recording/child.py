"""One life of the recorder process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from gateway_sessions.recording.process_main import main; main(0)"
)


class Child:
    """One life of the recorder process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path)],
                    stdin=theirs.fileno(),
                    stdout=2,  # what writers print must not get among the gateway's own output
                )
        except BaseException:
            ours.close()
            raise
        self.socket = ours
        self.incoming = ours.makefile("rb")
        self.dead = False

    def end(self, seconds: float) -> None:
        """Wait for its end; kill it if that takes longer."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.incoming.close()
        self.socket.close()
