r"""Runs the conversations of docs/how-detection-works.md.

``NAME (DIRECTIVES): TEXT -> SESSION RELATION SOURCE`` is a request of a client; an indented line
after it is its reply, or ``(fails)``, or ``(calls TOOL) TEXT`` for a call with that argument.
``\n`` in a text is a line end.  Directives, with commas between: ``key X``, ``system TEXT``,
``model X``, ``HEADER VALUE`` for headers that begin with ``x-``; ``wiped`` and ``last N`` cut the
history, ``back N`` takes turns away, ``spaces`` rewrites its white space, ``invents TEXT`` puts a
reply into it that nobody gave, ``has TEXT`` the reply to the last request before we have seen it,
``stamps TEXT`` puts a text before all of its messages, ``swaps A B``
puts one word into the place of another, ``result`` sends the text as the result of the pending tool
call.  A word in brackets behind the source is the reason why a session is new.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import (
    ChatClient,
    Desk,
    Json,
    Sent,
    assistant,
    tool_call,
    tool_result,
    user,
)

REQUEST = re.compile(
    r"(?P<name>\w+)(?: \((?P<how>[^)]*)\))?: (?P<text>.*?) +-> "
    r"(?P<session>\d+) (?P<relation>\w+) (?P<source>\w+)(?: of (?P<parent>\d+))?"
    r"(?: \((?P<reason>\w+)\))?"
)
CALL = re.compile(r"\(calls (\w+)\) (.*)")


@dataclass
class Conversations:
    """Several clients at one desk."""

    desk: Desk = field(default_factory=Desk)
    clients: dict[str, ChatClient] = field(default_factory=dict)
    sent: Sent | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    who: str = ""

    def run(self, text: str) -> list[tuple[str, str, str]]:
        """Run a block; return for each request its line, what is said, and what it should be."""
        found = []
        for line in text.splitlines():
            if line.startswith(" "):
                self._reply(line.strip())
                continue
            match = REQUEST.fullmatch(line)
            assert match is not None, f"not a request: {line}"
            tag = self._ask(match["name"], match["how"] or "", match["text"])
            wanted = f"{match['session']} {match['relation']} {match['source']}"
            wanted += f" of {match['parent']}" if match["parent"] else ""
            said = _short(tag)
            if match["reason"]:
                assert self.sent is not None
                wanted += f" ({match['reason']})"
                said += f" ({self.sent.tracked.verdict.new})"
            found.append((line, said, wanted))
        return found

    def _ask(self, name: str, how: str, text: str) -> SessionTag:
        client = self.clients.setdefault(name, self.desk.client())
        text = text.replace("\\n", "\n")
        prompt = user(text)
        for directive in filter(None, how.split(", ")):
            word, _, value = directive.partition(" ")
            match word:
                case "key":
                    client.key = value
                case "system":
                    client.system = value
                case "model":
                    client.fields["model"] = value
                case "result":
                    prompt = tool_result("call_1", text)
                case "has":
                    client.history = [*self.asked, assistant(value)]
                case _ if word.startswith("x-"):
                    client.headers[word] = value
                case _:
                    client.history = _altered(client.history, word, value)
        self.desk.clock.advance(1)
        self.sent = client.send([*client.history, prompt])
        self.asked, self.who = [*client.history, prompt], name
        return self.sent.tag

    def _reply(self, text: str) -> None:
        assert self.sent is not None
        if text == "(fails)":
            self.sent.fail()
            return
        call = CALL.fullmatch(text)
        reply: Any = tool_call("call_1", call[1], {"task": call[2]}) if call else text
        self.clients[self.who].history = [*self.asked, self.sent.answer(reply)]


def _altered(history: list[Json], word: str, value: str) -> list[Json]:
    """Return a history as a client tells it that has done something to it."""
    match word:
        case "wiped":
            return []
        case "last":
            return history[-int(value) :]
        case "back":
            return history[: -2 * int(value)]
        case "spaces":
            first = user(f"  {history[0]['content'].replace(' ', '  ')} \r\n")
            return [first, *history[1:]]
        case "invents":
            return [*history, user("How does it work?"), assistant(value)]
        case "stamps":
            return [message | {"content": f"{value} {message['content']}"} for message in history]
        case "swaps":
            old, new = value.split()
            return [m | {"content": m["content"].replace(old, new)} for m in history]
        case _:
            raise AssertionError(f"what is {word}?")


def _short(tag: SessionTag) -> str:
    parent = f" of {tag.parent_session_id}" if tag.parent_session_id else ""
    return f"{tag.session_id} {tag.relation} {tag.source}{parent}"
