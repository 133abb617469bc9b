"""Random conversations, and the ways in which one conversation can be written down.

How much is tried is multiplied by the environment variable PROPERTY_SCALE:
``PROPERTY_SCALE=50 scripts/test tests/property`` takes minutes, and over 100,000 steps of
`tests.property.test_scopes`.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

Json = dict[str, Any]

SCALE = int(os.environ.get("PROPERTY_SCALE", "1"))

quick = settings(derandomize=True, database=None, deadline=None, max_examples=80 * SCALE)
"""The same examples in every run, and few enough for everyday use."""


class Said(NamedTuple):
    """One message, independent of how it is written."""

    side: str
    """``user``, ``assistant``, ``system``, ``call`` or ``result``."""
    text: str
    """What is said; of a call its arguments."""


TEXTS = st.sampled_from(["", " ", "a", "b", "ab", "Grüße, Zoë", "two  words\n", "é!", "a\u0301"])
WORDS = st.sampled_from(["a", "b", "ab", "Grüße, Zoë", "two  words\n", "naïve 한국어"])


def messages(
    sides: Sequence[str], texts: st.SearchStrategy[str] = TEXTS
) -> st.SearchStrategy[Said]:
    """Return a strategy for messages of some sides."""
    return st.builds(Said, st.sampled_from(sides), texts)


ANY = st.lists(
    messages(
        ["user", "user", "assistant", "assistant", "system", "call", "result"],
        st.sampled_from(["", " ", "a", "b"]),
    ),
    min_size=1,
    max_size=7,
)
"""Anything: silent messages, instructions anywhere, answers in a row, prefills."""
EVERY_USER_SPEAKS = st.lists(
    st.one_of(
        messages(["user"], WORDS), messages(["assistant", "assistant", "system", "call", "result"])
    ),
    max_size=10,
)
"""The same, but for silent users, who would leave a prefill beside an older answer."""


@st.composite
def dialogues(draw: st.DrawFn, most: int = 6) -> list[Said]:
    """Return a conversation such as a client sends: it begins and ends with the user."""
    made = [Said("user", draw(WORDS))]
    for _ in range(draw(st.integers(0, most))):
        if draw(st.booleans()):
            made += [Said("call", draw(WORDS)), Said("result", draw(WORDS))]
            if draw(st.booleans()):
                made.append(Said("user", draw(WORDS)))
        else:
            made += [Said("assistant", draw(WORDS)), Said("user", draw(WORDS))]
    return made


def openai(said: Sequence[Said]) -> list[Json]:
    """Write messages in OpenAI's shape."""
    return [_openai(each, place) for place, each in enumerate(said)]


def _openai(each: Said, place: int) -> Json:
    if each.side == "call":
        function = {"name": "f", "arguments": json.dumps({"x": each.text, "é": [1, None]})}
        call = {"id": f"call_{place}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if each.side == "result":
        return {"role": "tool", "tool_call_id": f"call_{place - 1}", "content": each.text}
    return {"role": each.side, "content": each.text}


def anthropic(said: Sequence[Said]) -> list[Json]:
    """Write messages in Anthropic's shape, with blocks of one turn in one message."""
    made: list[Json] = []
    for place, each in enumerate(said):
        role, block = _anthropic(each, place)
        if made and made[-1]["role"] == role:
            made[-1]["content"].append(block)
        else:
            made.append({"role": role, "content": [block]})
    return made


def _anthropic(each: Said, place: int) -> tuple[str, Json]:
    if each.side == "call":
        arguments = {"é": [1, None], "x": each.text}
        use = {"type": "tool_use", "id": f"call_{place}", "name": "f", "input": arguments}
        return "assistant", use
    if each.side == "result":
        text = [{"type": "text", "text": each.text}]
        use_id = f"call_{place - 1}"
        return "user", {"type": "tool_result", "tool_use_id": use_id, "content": text}
    return each.side, {"type": "text", "text": each.text}


def respelled(body: Any, random: Random) -> Any:
    """Write a body in another way that means the same.

    Key order, strings or blocks, cache markers, null fields, white space, and the way in which
    letters with accents are composed.
    """
    if isinstance(body, list):
        return [respelled(item, random) for item in body]
    if not isinstance(body, dict):
        return body
    items = [(name, respelled(value, random)) for name, value in body.items()]
    random.shuffle(items)
    made = dict(items)
    if isinstance(made.get("content"), str) and made.get("role") != "tool":
        made["content"] = _content(made["content"], random)
    elif isinstance(made.get("text"), str):
        made["text"] = _text(made["text"], random)
    if "function" in made:
        made["function"] = dict(made["function"])
        arguments = json.loads(made["function"]["arguments"])
        made["function"]["arguments"] = json.dumps(
            arguments, indent=random.choice([None, 2]), ensure_ascii=random.random() < 0.5,
            sort_keys=random.random() < 0.5,
        )  # fmt: skip
    if made.get("role") in {"user", "assistant"} and random.random() < 0.3:
        made[random.choice(["name", "refusal", "audio", "annotations"])] = None
    return made


def _content(text: str, random: Random) -> Any:
    if not text or random.random() < 0.5:
        return _text(text, random)
    cut = random.randrange(len(text) + 1)
    blocks: list[Json] = [
        {"type": "text", "text": _text(piece, random)} for piece in (text[:cut], text[cut:])
    ]
    if random.random() < 0.5:
        blocks[-1]["cache_control"] = {"type": "ephemeral"}
    return blocks


def _text(text: str, random: Random) -> str:
    text = unicodedata.normalize(random.choice(["NFC", "NFD"]), text)
    return random.choice([text, f" {text}\n", text.replace("\n", "\r\n"), text.replace(" ", "  ")])
