"""Detection asks nothing of an index but what `View` says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gateway_sessions.detection.detector import Detector, Sender
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.view import CANDIDATES, View
from gateway_sessions.testing import Desk, assistant, user
from tests.detection.talk import ANTHROPIC, chat


class Plain:
    """The smallest view there can be."""

    def __init__(self) -> None:
        self.sessions: defaultdict[tuple[int, int], list[Session]] = defaultdict(list)

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Look up in a dictionary."""
        return self.sessions[scope, key]


def test_a_dictionary_will_do() -> None:
    plain = Plain()
    view: View = plain
    detector = Detector(DetectionSettings(), b"a secret for tests", lambda: "sess_1")
    sender = Sender({"x-api-key": "key"}, "/v1/messages")
    asked = detector.plan(chat(user("hi")), sender)
    verdict, keys = detector.decide(asked, view, 1.0)
    body = b'{"content": [{"type": "text", "text": "Hello!"}]}'
    answered = detector.answered(asked, verdict.session, ANTHROPIC.read_reply(body), 2.0)
    for key in (*keys, *answered.added):
        plain.sessions[asked.scope.seed, key].append(verdict.session)
    further = detector.plan(chat(user("hi"), assistant("Hello!"), user("more")), sender)
    again, _ = detector.decide(further, view, 3.0)
    assert again.session is verdict.session
    assert again.relation == "continue"


def test_a_state_that_everybody_shares_is_bounded_work() -> None:
    desk = Desk()
    client = desk.client()
    opened = [desk.client().ask("hi", "Hello!").session_id for _ in range(CANDIDATES + 20)]
    client.history = [user("hi"), assistant("Hello!")]
    assert client.ask("more").session_id in opened[-CANDIDATES:]
