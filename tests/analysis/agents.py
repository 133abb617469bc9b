"""A client at work, seen from the wire: what it asks and gets, and the tree that grows of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import facts
from gateway_sessions.analysis.inference import Answer, Inference
from gateway_sessions.analysis.session_recorder import SessionRecorder
from gateway_sessions.analysis.toolbook import ToolBook
from gateway_sessions.events import ToolCallRecorded
from gateway_sessions.exchange import SessionTag
from tests.analysis.exchanges import NOON, SESSION, arrived, chat, completion, tag


class Wire:
    """Sessions of one scope; times are seconds after noon and go on by themselves."""

    def __init__(self) -> None:
        self.inference = Inference()
        self.recorder = SessionRecorder()
        self.now = 0.0
        self._books: dict[str, ToolBook] = {}
        self._asked: dict[str, SessionTag] = {}
        self._number = 0

    def asks(
        self,
        *messages: Any,
        new: int = 1,
        relation: str = "continue",
        session: str = SESSION,
        parent: str | None = None,
        **fields: Any,
    ) -> str:
        """Send a request with these messages, the last ``new`` of them new; return its id."""
        self._number += 1
        self.now += 1.0
        request_id = f"req_{self._number}"
        headers = fields.pop("headers", ())
        verdict = tag(session, relation=relation, parent_session_id=parent, **fields)
        request = arrived(
            request_id, self.now, chat(*messages), new, session=verdict, headers=headers
        )
        asked = facts.asked(request.dialect, request.request.path, request.request.body, new)
        book = self._books.setdefault(session, ToolBook())
        results = []
        for result in asked.results:
            waiting = book.answered(result)
            if waiting is not None:
                results.append(
                    ToolCallRecorded(
                        session_id=session,
                        request_id=request_id,
                        timestamp="",
                        tool_name=waiting.name,
                        tool_call_id=waiting.id,
                        input_size_bytes=waiting.size,
                        output_size_bytes=result.size,
                        success=result.success,
                        execution_time_ms=1000.0,
                        time_is_upper_bound=True,
                    )
                )
        for event in self.inference.request(request, asked, results):
            self.recorder.on_event(event)
        self._asked[request_id] = verdict
        return request_id

    def answers(
        self,
        request_id: str,
        message: Any = "Done.",
        *,
        error: str | None = None,
        refused: bool = False,
        finish: str = "stop",
        tokens: int = 10,
        others: Sequence[Any] = (),
    ) -> None:
        """Answer a request, with other answers beside it, or fail it."""
        self.now += 1.0
        verdict = self._asked.get(request_id) or tag(relation="continue")
        answered = facts.Answered()
        if error is None:
            choices = [completion(said)["choices"][0] for said in (message, *others)]
            body = _encoded(completion(message, choices=choices))
            answered = facts.answered("openai_chat", body)
        book = self._books.setdefault(verdict.session_id, ToolBook())
        made = book.made(answered.calls, NOON + self.now, request_id)
        answer = Answer(
            at=NOON + self.now,
            message=answered.message,
            text=answered.text,
            calls=[(each.id, each.call) for each in made],
            finish_reason=finish,
            refused=refused,
            error=error,
            usage=t.Usage(input=tokens, output=1),
            alternatives=answered.alternatives,
        )
        for event in self.inference.response(verdict, request_id, answer):
            self.recorder.on_event(event)

    def turn(self, *messages: Any, answer: Any = "Done.", **how: Any) -> str:
        """Send a request and answer it."""
        request_id = self.asks(*messages, **how)
        self.answers(request_id, answer)
        return request_id

    def ends(self, session: str = SESSION) -> None:
        """Let a session end."""
        for event in self.inference.ended(session, NOON + self.now):
            self.recorder.on_event(event)

    def session(self, session_id: str = SESSION) -> t.Session:
        """Return a session as it is now."""
        found = self.recorder.get_session(session_id)
        assert found is not None
        return found

    def loops(self, session_id: str = SESSION) -> tuple[t.LoopRecord, ...]:
        """Return a session's loops."""
        return self.session(session_id).loops


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def requests(loop: t.LoopRecord) -> list[list[str]]:
    """Return the ids of the exchanges of each turn of a loop."""
    return [[attempt.request_id for attempt in turn.attempts] for turn in loop.turns]
