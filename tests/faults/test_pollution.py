"""One tenant floods everything that is remembered; another does not notice.

The full size, a million sessions against room for a hundred thousand, is run with
``GATEWAY_SESSIONS_HOSTILE=500`` and ``-o faulthandler_timeout=0``: it takes minutes.
"""

from __future__ import annotations

from random import Random

import pytest

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.quota import SCOPE_SHARE
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.turns import TURNS_KEPT
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, user
from tests.detection.talk import chat
from tests.faults.work import CROWD, INSTRUCTION, Json, calls, sender

FLOOD = CROWD
"""Sessions of the attacker."""
ROOM = FLOOD // 10
QUIET = ROOM // SCOPE_SHARE
"""Conversations of the victim: all that its quota holds."""
TURNS = 2 * QUIET
"""Turns of the victim while the attacker is at work."""
TASK = "Look for the needle in the haystack over there, and tell me where it is."


def desk() -> Desk:
    return Desk(DetectionSettings(max_sessions=ROOM))


def say(talk: ChatClient, text: str, answer: str | Json) -> SessionTag:
    """Let a client go on, in no time: nothing here is forgotten for its age."""
    prompt = user(text)
    sent = talk.send([*talk.history, prompt])
    talk.history += [prompt, sent.answer(answer, seconds=0)]
    return sent.tag


def flood(where: Desk, first: int, number: int) -> None:
    """Open sessions in a scope of the attacker's."""
    attacker = where.client(key="attacker")
    for name in range(first, first + number):
        attacker.history.clear()
        say(attacker, f"flood {name}", f"drowned {name}")


def hits(where: Desk, *, attacked: bool) -> float:
    """Return how many of the victim's turns, in percent, go to the session they go on."""
    talks = [where.client(key="victim") for _ in range(QUIET)]
    sessions = [
        say(talk, f"question {n}", f"answer {n}").session_id for n, talk in enumerate(talks)
    ]
    rng, hit = Random(1), 0
    for turn in range(TURNS):
        if attacked:
            flood(where, turn * FLOOD // TURNS, FLOOD // TURNS)
        place = rng.randrange(QUIET)
        hit += say(talks[place], f"turn {turn}", f"said {turn}").session_id == sessions[place]
    return 100 * hit / TURNS


def test_a_flood_of_sessions_costs_another_tenant_no_hits() -> None:
    alone, attacked = hits(desk(), attacked=False), hits(desk(), attacked=True)
    assert alone - attacked <= 1.0
    assert alone == 100.0


def test_the_flood_has_all_the_room_that_nobody_else_needs() -> None:
    room = desk()
    say(room.client(key="victim"), "hi", "Hello!")
    flood(room, 0, 2 * ROOM)
    assert room.tracker.index.active == ROOM
    went = []
    for number in (ROOM + 2, ROOM):
        again = room.client(key="attacker")
        again.history = [user(f"flood {number}"), assistant(f"drowned {number}")]
        went.append(again.send([*again.history, user("and?")]).tag.relation)
    assert went == [v.CONTINUE, v.FIRST]


def test_a_flood_of_turns_does_not_make_a_title_a_session_of_its_own() -> None:
    room = Desk()
    talk = room.client(key="victim")
    told = say(talk, "Where is the haystack?", "Over there, behind the barn.")
    flood(room, 0, TURNS_KEPT + 100)
    asked = "A title for:\nuser: Where is the haystack?\nassistant: Over there, behind the barn."
    title = room.client(key="victim").send([INSTRUCTION, user(asked)], model="small").tag
    assert (title.relation, title.session_id) == (v.SIDE_CALL, told.session_id)


@pytest.mark.parametrize("kind", ["tasks", "summaries"])
def test_a_flood_of_texts_makes_no_sub_agent_an_orphan(kind: str) -> None:
    room = Desk()
    parent = say(room.client(key="victim"), "Find it.", tool_call("c", "agent", {"task": TASK}))
    attacker = room.client(key="attacker")
    for number in range(700):
        text = f"{number} is what it is all about, and nothing else is. " * 400
        attacker.history.clear()
        if kind == "tasks":
            say(attacker, "Go!", tool_call(f"c{number}", "agent", {"task": text}))
        else:
            say(attacker, "Summarise this.", text)
    child = room.client(key="victim", system="You look for things.").ask(TASK)
    assert (child.relation, child.parent_session_id) == (v.SUBAGENT, parent.session_id)


def test_a_flood_of_states_costs_time_that_is_bounded_and_nothing_else() -> None:
    """The memory of states and of digests is shared; it holds no identity."""
    room = desk()
    talk = room.client(key="victim")
    told = say(talk, "hi", "Hello!")
    for turn in range(50):
        say(talk, f"question {turn}", f"answer {turn}")
    following = chat(*talk.history, user("more"))
    plan = room.tracker.plan
    known = calls(lambda: plan(following, sender("victim")))
    flood(room, 0, 10 * ROOM + 5000)
    forgotten = calls(lambda: plan(following, sender("victim")))
    assert known < forgotten <= 60 * len(following.messages)
    went = say(talk, "more", "No more.")
    assert (went.relation, went.session_id) == (v.CONTINUE, told.session_id)
