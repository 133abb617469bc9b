"""The detecting core alone: tracker and index, without gateway, sockets or clock."""

from __future__ import annotations

from gateway_sessions.conversation import Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.dialects.openai_chat import OpenAIChat
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.tracker import Tracked, Tracker

_PATH = "/v1/chat/completions"
_HEADERS = {"authorization": "Bearer sk-bench", "user-agent": "bench"}
_SENDER = Sender(_HEADERS, _PATH, "127.0.0.1")
_NOW = 1_700_000_000.0


class Core:
    """Does what the gateway does with a request's body and with its reply."""

    def __init__(self, max_sessions: int) -> None:
        """Make room for that many live sessions."""
        settings = DetectionSettings(max_sessions=max_sessions)
        self.dialect = OpenAIChat()
        self.tracker = Tracker(settings, b"0123456789abcdef", Telemetry())

    @property
    def live(self) -> int:
        """Sessions that are live."""
        return self.tracker.index.active

    def request(self, body: bytes) -> Tracked:
        """Read a request and put it into a session."""
        return self.tracker.begin(self.dialect.read_request(body, _PATH), _SENDER, _NOW)

    def exchange(self, body: bytes, reply: Reply) -> None:
        """Take in a request and the reply to it."""
        self.tracker.answered(self.request(body), reply, _NOW)
