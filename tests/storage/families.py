"""Agents at work, recorded through the real recording into a database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gateway_sessions import events
from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.analysis.exchanges import (
    PRICES,
    arrived,
    assistant,
    chat,
    completion,
    finished,
    result,
    tag,
    user,
)

LEAD = "sess_lead"
TASKS = ("Find all callers of the function load.", "Write a test for the parser of files.")
Json = dict[str, Any]


def call(call_id: str, name: str, **arguments: Any) -> Json:
    """Return an answer that calls a tool."""
    message = assistant(None, **{call_id: name})
    message["tool_calls"][0]["function"]["arguments"] = json.dumps(arguments)
    return message


class Agents:
    """Sends requests of agents and collects what is recorded of them."""

    def __init__(self, **options: Any) -> None:
        self.scribe = Scribe(ScribeOptions(**options), PRICES)
        self.events: list[events.SessionEvent] = []
        self.now = 0.0
        self._number = 0

    def exchange(
        self,
        session: str,
        history: Iterable[Any],
        answer: Json | str | None,
        *,
        relation: str = "continue",
        parent: str | None = None,
        new: int = 1,
        others: Sequence[str] = (),
        **fields: Any,
    ) -> str:
        """Send a request; answer it after 0.8 seconds, or not at all; return its id.

        ``others`` are alternatives to the answer.
        """
        self._number += 1
        self.now += 1.0
        request_id = f"req_{self._number}"
        place = tag(
            session, relation=relation, parent_session_id=parent, root_session_id=parent or session
        )
        body = chat(*history, model="priced")
        self.events += self.scribe.take(arrived(request_id, self.now, body, new, session=place))
        if answer is not None:
            self.now += 0.8
            choices = [completion(said)["choices"][0] for said in (answer, *others)]
            reply = completion(answer, choices=choices)
            end = finished(request_id, self.now, reply, session=place, model="priced", **fields)
            self.events += self.scribe.take(end)
        return request_id

    def write(self, path: Path) -> Path:
        """Write a database."""
        store = SqliteStore(path)
        store.open()
        store.write(self.events)
        store.close()
        return path


def small_family(agents: Agents) -> None:
    """Have a lead hand out two tasks at once, and one of those hand out another."""
    both = call("c1", "task", prompt=TASKS[0])
    both["tool_calls"] += call("c2", "task", prompt=TASKS[1])["tool_calls"]
    agents.exchange(LEAD, ["refactor"], both, relation="first")
    agents.exchange("sess_one", [TASKS[0]], "Three.", relation="subagent", parent=LEAD)
    deeper = call("d1", "task", prompt="Look into the folder of old files.")
    agents.exchange("sess_two", [TASKS[1]], deeper, relation="subagent", parent=LEAD)
    place = tag(
        "sess_deep", relation="subagent", parent_session_id="sess_two", root_session_id=LEAD
    )
    agents.now += 1
    for milestone in (
        arrived(
            "req_deep", agents.now, chat("Look into the folder of old files."), 1, session=place
        ),
        finished("req_deep", agents.now + 0.5, completion("Old."), session=place, model="priced"),
    ):
        agents.events += agents.scribe.take(milestone)
    history = [TASKS[1], deeper, result("d1", "Old.")]
    agents.exchange("sess_two", history, "It is written.", parent=LEAD)
    history = [user("refactor"), both, result("c1", "Three."), result("c2", "It is written.")]
    agents.exchange(LEAD, history, "Done.", new=2)
    agents.exchange(LEAD, ["A title, please"], "Refactoring", relation="side_call")


def large_family(agents: Agents, turns: int = 500, members: int = 30) -> None:
    """Have a lead work for many turns, in some of which a sub-agent of five turns works."""
    history: list[Any] = ["Please refactor the whole package"]
    pace = turns // members
    for turn in range(turns):
        number = turn // pace
        if turn % pace == 3 and number < members:
            task = f"Look for the callers of function number {number}."
            answer = call(f"t{turn}", "task", prompt=task)
            agents.exchange(LEAD, history, answer)
            own: list[Any] = [task]
            for step in range(4):
                grep = call(f"g{turn}_{step}", "grep", pattern="x")
                agents.exchange(
                    f"sess_{number:02d}",
                    own,
                    grep,
                    relation="subagent" if not step else "continue",
                    parent=LEAD,
                )
                own += [grep, result(f"g{turn}_{step}", "found")]
            agents.exchange(f"sess_{number:02d}", own, f"Found {number}.", parent=LEAD)
            history += [answer, result(f"t{turn}", f"Found {number}.")]
        else:
            answer = call(f"t{turn}", "read", path="a")
            relation = "first" if not turn else "continue"
            agents.exchange(LEAD, history, answer, relation=relation)
            history += [answer, result(f"t{turn}", "ok")]
    agents.exchange(LEAD, history, "All done.")
