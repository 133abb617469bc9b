"""CPU time of single requests that are made to be costly, and how it grows with their size.

The best of some runs counts, since other processes only make it slower.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bench import report
from bench.bodies import encode, plain_reply
from bench.core import Core

RUNS = 5
QUICK_PART = 64
"""A quick run has this part of each size."""
MB = 2**20
TASK = "Look for the needle in the haystack over there. "

Messages = list[dict[str, Any]]


class Case(NamedTuple):
    """A request that can have any size."""

    name: str
    size: int
    unit: str
    messages: Callable[[int], Messages]
    before: Callable[[Core, int], None] | None = None
    """Fills a core with what makes the request costly; without it, every run has a core that
    has seen nothing of the request."""


def run(*, quick: bool) -> str:
    """Measure every case, at its size and at half of it, and return a table as Markdown."""
    rows = []
    for case in CASES:
        size = case.size // QUICK_PART if quick else case.size
        half, whole = cost(case, size // 2), cost(case, size)
        rows.append([case.name, f"{size:,} {case.unit}", f"{whole:.1f}", f"{whole / half:.1f}"])
    heads = ["request", "size", "CPU ms", "of half the size"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


def cost(case: Case, size: int) -> float:
    """Return the milliseconds of CPU time that a request of a size takes."""
    body = encode({"model": "m", "messages": case.messages(size)})
    best, core = float("inf"), None
    for _ in range(RUNS):
        if core is None or case.before is None:
            core = _wary(size)
            if case.before is not None:
                case.before(core, size)
        gc.collect()
        began = time.process_time()
        core.request(body)
        best = min(best, time.process_time() - began)
    return 1000 * best


def _wary(size: int) -> Core:
    """Return a core in which every rule has something to look for."""
    core = Core(1000 + 2 * size)
    _talk(core, "Summarise all this.", "What was said so far, in a few words.")
    _talk(core, "Find it.", _call("call_x", "agent", {"task": TASK}))
    _talk(core, "And the needle?", "Behind the barn.")
    return core


def _talk(core: Core, prompt: str, answer: str | dict[str, Any]) -> None:
    message = answer if isinstance(answer, dict) else _assistant(answer)
    completion = json.loads(plain_reply())
    completion["choices"][0]["message"] = message
    body = encode({"model": "m", "messages": [_user(prompt)]})
    core.exchange(body, core.dialect.read_reply(encode(completion)))


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _system() -> dict[str, Any]:
    return {"role": "system", "content": "Be kind."}


def _call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _crowd(core: Core, size: int) -> None:
    """Let everybody say the same."""
    for _ in range(size):
        _talk(core, "hi", "Hello!")


def _openings(core: Core, size: int) -> None:
    """Let everybody say something else that begins alike."""
    for number in range(size):
        _talk(core, f"Please tell me all that you know about {number}.", f"Of {number}, nothing.")


def _long_openings(core: Core, size: int) -> None:
    """Let everybody say what is nearly a part of what is asked about."""
    for number in range(size):
        _talk(core, f"{'a' * 4000}{number}", f"{'a' * 4000}b{number}")


def _tasks(core: Core, size: int) -> None:
    """Give away tasks that are alike but for their end."""
    for number in range(size):
        _talk(
            core, f"Go {number}!", _call(f"c{number}", "agent", {"task": f"{TASK * 300}{number}"})
        )


def _summaries(core: Core, size: int) -> None:
    for number in range(size):
        _talk(core, f"Summarise {number}.", f"{TASK * 300}{number}")


def _turns(size: int) -> Messages:
    said = [(_user, _assistant)[n % 2](f"message {n} of many") for n in range(size)]
    return [*said, _user("more")]


def _work(size: int) -> Messages:
    """Return a history of calls of tools and their results."""
    made = [_user("Go!")]
    for n in range(size // 2):
        result = {"role": "tool", "tool_call_id": f"call_{n}", "content": "done"}
        made += [_call(f"call_{n}", "f", {"n": n}), result]
    return made


def _pictures(size: int) -> Messages:
    """Return a prompt of many messages that are pictures."""
    made = [{"type": "image_url", "image_url": {"url": f"https://x/{n}"}} for n in range(size)]
    return [{"role": "user", "content": [picture]} for picture in made]


def _apart(length: int) -> Callable[[int], Messages]:
    """Return what makes messages of a length, none like another, whose letters are decomposed."""

    def messages(size: int) -> Messages:
        text = "e\u0301" * (length // 3)
        return [(_user, _assistant)[n % 2](f"{n}: {text}") for n in range(max(1, size // length))]

    return messages


def _one(text: str) -> Callable[[int], Messages]:
    """Return what makes a message of a size, in bytes, of one text over and over."""
    length = len(text.encode())
    return lambda size: [_user(text * (size // length))]


HI = [_user("hi"), _assistant("Hello!"), _user("more")]
CASES = (
    Case("the same first request", 100_000, "sessions", lambda size: HI[:1], _crowd),
    Case("the same second turn", 100_000, "sessions", lambda size: HI, _crowd),
    Case("an edited first turn", 100_000, "sessions", lambda size: [_user("ho"), *HI[1:]], _crowd),
    Case("a cold history, taking turns", 10_000, "messages", _turns),
    Case("a cold history, prompts only", 10_000, "messages", lambda size: [_user("q")] * size),
    Case(
        "a cold history, answers only",
        10_000,
        "messages",
        lambda size: [_user("hi"), *[_assistant("a")] * size, _user("more")],
    ),
    Case("a cold history, running tools", 10_000, "messages", _work),
    Case("a cold history, instructions only", 10_000, "messages", lambda s: [_system()] * s),
    Case("a prompt of pictures", 10_000, "messages", _pictures),
    Case("short messages, accents apart from their letters", MB, "bytes", _apart(300)),
    Case("long messages, accents apart from their letters", MB, "bytes", _apart(10_000)),
    Case("one message, words", MB, "bytes", _one("word ")),
    Case("one message, lines", MB, "bytes", _one("line text\n")),
    Case("one message, accents", MB, "bytes", _one("één woord ")),
    Case("one message, Korean", MB, "bytes", _one("한국어 ")),
    Case("one message, emoji", MB, "bytes", _one("\U0001f600")),
    Case("one message, accents apart from their letters", MB, "bytes", _one("e\u0301")),
    Case("one message, one letter with all marks", MB, "bytes", _one("\u094d\u093c")),
    Case("one message, rows of thirty marks", MB, "bytes", _one("a" + "\u0301\u0316" * 15)),
    Case("one message, a pending task again and again", MB, "bytes", _one(TASK)),
    Case(
        "one message in many parts",
        10_000,
        "parts",
        lambda size: [{"role": "user", "content": [{"type": "text", "text": "a: b\n"}] * size}],
    ),
    Case(
        "a title among turns that open alike",
        4_096,
        "turns",
        lambda size: [_user("Title:\nPlease tell me all that you know about 1.")],
        _openings,
    ),
    Case(
        "a title among long turns alike",
        4_096,
        "turns",
        lambda size: [_user("a" * 16_000)],
        _long_openings,
    ),
    Case("a task among tasks alike", 512, "tasks", lambda size: [_user(TASK * 1300)], _tasks),
    Case(
        "a text among summaries alike",
        512,
        "summaries",
        lambda size: [_user(TASK * 1300)],
        _summaries,
    ),
)
