"""The chains of nearly all requests, computed in one go.

A chat goes on by an answer and a prompt that are plain texts, on a history that is known; and it
begins with one such prompt.  `gateway_sessions.detection.walk` has a way for every request, which
takes three times as long, and says the same of these.
"""

from __future__ import annotations

from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest, xxh3_128_digest

from gateway_sessions.conversation import ASSISTANT, USER, Conversation, Message
from gateway_sessions.detection.canonical import TEXT, fold_text
from gateway_sessions.detection.chains import Run, next_state
from gateway_sessions.detection.digests import reader
from gateway_sessions.detection.memo import StateMemo
from gateway_sessions.detection.plain import opens_as_user, plain_message, read_plain


class Found(NamedTuple):
    """The end of a chain, and what was read for it."""

    tail: Run
    newest: list[Message]
    """The newest answer, if there is one, and the prompt."""
    texts: list[str]
    """The texts of the prompt."""


def first_prompt(
    conversation: Conversation, start: int, seed: int, states: StateMemo
) -> Found | None:
    """Return the chain of one message; None where it is no prompt of plain text.

    Args:
        conversation: the request.
        start: how many system messages come first.
        seed: the scope's.
        states: learns the state that the bytes lead to.
    """
    raw = conversation.messages[start]
    prompt = read_plain(conversation, raw)
    if prompt is None or prompt[0] != USER:
        return None
    texts = prompt[1]
    asked = fold_text("".join(texts))
    if not asked:
        return None
    tail = _run(None, False, asked, seed)
    states.put(xxh3_64_intdigest(raw, seed ^ reader(conversation.read)), tail.state)
    return Found(tail, [plain_message(USER, texts)], texts)


def one_more_turn(
    conversation: Conversation, start: int, seed: int, states: StateMemo
) -> Found | None:
    """Return the end of the chain of a known history, an answer and a prompt; else None.

    Args:
        conversation: the request.
        start: how many system messages come first.
        seed: the scope's.
        states: knows the history, and learns the state that the bytes lead to.
    """
    raws = conversation.messages
    cut = len(raws) - 2
    if cut <= start or not opens_as_user(raws[cut - 1]):
        return None
    answer, prompt = read_plain(conversation, raws[-2]), read_plain(conversation, raws[-1])
    if answer is None or prompt is None or answer[0] != ASSISTANT or prompt[0] != USER:
        return None
    hasher = xxh3_64(conversation.sent(start, cut), seed ^ reader(conversation.read))
    known = states.get(hasher.intdigest())
    if known is None:
        return None
    texts = prompt[1]
    said, asked = fold_text("".join(answer[1])), fold_text("".join(texts))
    if not said or not asked:
        return None
    reply = _run(Run(None, False, b"", 0, (), known), True, said, known)
    tail = _run(reply, False, asked, reply.state)
    hasher.update(b",%b,%b" % (raws[-2], raws[-1]))
    states.put(hasher.intdigest(), tail.state)
    newest = [plain_message(ASSISTANT, answer[1]), plain_message(USER, texts)]
    return Found(tail, newest, texts)


def _run(before: Run | None, model_side: bool, folded: bytes, state: int) -> Run:
    """Return the run of one canonical text after a state."""
    links = xxh3_128_digest(TEXT + folded)
    return Run(before, model_side, links, len(folded), (), next_state(state, model_side, links))
