"""Runs the worked example of docs/agent-tree.md.

``NAME RELATION: TEXT -> AGENT.NUMBER turn INDEX`` is a request of an agent and its place in the
tree, ``aside`` standing for a side call.  After the relation may stand ``of NAME``, the agent that
it works for, and ``with CALL, CALL``, the calls whose result the text is; behind the place ``for
CALL``, the call that it is linked with.  Indented lines are the answer: a text, ``(fails)``, or one
line ``calls CALL TOOL: ARGUMENT`` for each call.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.analysis.agents import Wire
from tests.analysis.exchanges import assistant, result, user

REQUEST = re.compile(
    r"(?P<name>\w+) (?P<relation>\w+)(?: of (?P<parent>\w+))?(?: with (?P<calls>[\w, ]+))?:"
    r" (?P<text>.*) -> (?P<place>.*)"
)
CALL = re.compile(r"calls (\w+) (\w+): (.*)")


@dataclass
class _Asked:
    name: str
    request_id: str
    line: str
    wanted: str
    answer: list[str] = field(default_factory=list)


class Example:
    """Agents at work, as a block describes them."""

    def __init__(self, text: str) -> None:
        self.wire = Wire()
        self._histories: dict[str, list[Any]] = {}
        self._parents: dict[str, str] = {}
        self._asked: list[_Asked] = []
        for line in text.splitlines():
            if line.startswith(" "):
                self._asked[-1].answer.append(line.strip())
                continue
            self._answer()
            self._ask(line)
        self._answer()

    def places(self) -> list[tuple[str, str, str]]:
        """Return for each request its line, where it is in the tree, and where it should be."""
        found = {}
        for session in self.wire.recorder.sessions():
            for call in session.side_calls:
                found[call.request_id] = "aside"
            for loop in session.loops:
                for turn in loop.turns:
                    place = f"{loop.loop_id.partition('.')[2]} turn {turn.turn_id.turn_index}"
                    spawn = session.parent_spawn_ref
                    place += f" for {spawn.tool_call_id}" if spawn else ""
                    found |= dict.fromkeys([each.request_id for each in turn.attempts], place)
        return [(each.line, found.get(each.request_id, "?"), each.wanted) for each in self._asked]

    def _ask(self, line: str) -> None:
        match = REQUEST.fullmatch(line)
        assert match is not None, f"not a request: {line}"
        name, relation = match["name"], match["relation"]
        self._parents.setdefault(name, match["parent"] or "")
        history = self._histories.setdefault(name, [])
        answered = [each.strip() for each in (match["calls"] or "").split(",") if each.strip()]
        new: list[Any] = [result(each, match["text"]) for each in answered]
        new = new or [user(match["text"])]
        if relation == "regenerate":
            history.pop()
        if relation in ("retry", "regenerate"):
            del history[-len(new) :]
        sent = new if relation == "side_call" else [*history, *new]
        if relation != "side_call":
            history += new
        request_id = self.wire.asks(
            *sent,
            new=len(new),
            relation=relation,
            session=name,
            parent=self._parents[name] or None,
        )
        self._asked.append(_Asked(name, request_id, line, match["place"]))

    def _answer(self) -> None:
        if not self._asked:
            return
        asked = self._asked[-1]
        if asked.answer == ["(fails)"]:
            self.wire.answers(asked.request_id, error="overloaded")
            return
        made = [match for line in asked.answer if (match := CALL.fullmatch(line))]
        message = assistant(None, **{match[1]: match[2] for match in made})
        for call, match in zip(message.get("tool_calls", ()), made, strict=True):
            call["function"]["arguments"] = json.dumps({"prompt": match[3]})
        message = message if made else assistant(" ".join(asked.answer))
        self.wire.answers(asked.request_id, message)
        if asked.wanted != "aside":
            self._histories[asked.name].append(message)
