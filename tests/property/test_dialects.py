"""What is said decides, and not the wire format in which it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.conversation import ASSISTANT, Message, Reply, Text
from gateway_sessions.detection.chains import runs_backwards
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.walk import Walker
from gateway_sessions.testing import Desk, assistant, user
from tests.dialects.wire import request
from tests.property.strategies import WORDS, Json, Said, dialogues, quick
from tests.property.writing import DIALECTS, WRITERS, conversation, spelled

SEED = 7


def test_every_dialect_with_turns_is_written() -> None:
    assert WRITERS.keys() == DIALECTS.keys() - {"openai_completions"}


@quick
@given(said=dialogues(), reply=WORDS)
def test_every_dialect_gives_one_chain(said: list[Said], reply: str) -> None:
    """Each with a walker of its own, and all with one that has seen the others."""
    shared = Walker()
    chains = set()
    for dialect in WRITERS:
        for walker in (Walker(), shared):
            walk = walker.walk(conversation(dialect, said), SEED)
            after = walk.after_reply(Message(ASSISTANT, (Text(reply),)))
            states = [run.state for run in runs_backwards(walk.full())]
            chains.add((walk.request_state, after and after.state, *states))
    assert len(chains) == 1


@quick
@given(
    turns=st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=4),
    dialect=st.sampled_from(sorted(WRITERS)),
    seed=st.integers(0, 2**32),
)
def test_other_letters_for_the_same_json_change_no_verdict(
    turns: list[tuple[str, str]], dialect: str, seed: int
) -> None:
    """Blank space, escapes, and text that is escaped or not."""
    random = Random(seed)

    def verdicts(write: Callable[[Any], bytes]) -> list[tuple[str, str, str, float]]:
        desk = Desk()
        said: list[Said] = []
        found = []
        for asked, reply in turns:
            said.append(Said("user", asked))
            body = write(json.loads(request(dialect, *WRITERS[dialect](said))))
            read = DIALECTS[dialect].read_request(body, "/")
            tracked = desk.tracker.begin(read, Sender({}, "/"), desk.clock())
            answer = Reply((Message(ASSISTANT, (Text(reply),)),))
            desk.tracker.answered(tracked, answer, desk.clock())
            said.append(Said("assistant", reply))
            tag = tracked.tag()
            found.append((tag.session_id, tag.relation, tag.source, tag.confidence))
        return found

    plain = verdicts(lambda value: json.dumps(value).encode())
    assert verdicts(lambda value: spelled(value, random)) == plain
    assert [relation for _, relation, _, _ in plain] == ["first"] + ["continue"] * len(turns[1:])


@quick
@given(
    turns=st.lists(st.tuples(WORDS, WORDS, st.booleans()), min_size=2, max_size=5),
    begins=st.booleans(),
)
def test_a_client_that_changes_its_dialect_goes_on(
    turns: list[tuple[str, str, bool]], begins: bool
) -> None:
    client = Desk().client()
    history: list[Json] = []
    tags = []
    for asked, reply, changes in turns:
        begins ^= changes
        client.dialect = "anthropic" if begins else "openai_chat"
        history.append(user(asked))
        sent = client.send(history)
        sent.answer(reply)
        history.append(assistant(reply))
        tags.append(sent.tag)
    assert len({tag.session_id for tag in tags}) == 1
    assert [tag.relation for tag in tags] == ["first", *["continue"] * (len(tags) - 1)]
    assert all(tag.confidence == 1.0 for tag in tags[1:])
