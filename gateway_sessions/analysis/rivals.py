"""Answers to the same request, side by side, of which the conversation goes on with one.

A client that repeats a request while it is under way gets two; one that asks for several
(``n`` > 1) gets them in one response.  Each is a loop in a group of the kind *evaluation*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import readings
from gateway_sessions.analysis.facts import Alternative, Asked
from gateway_sessions.analysis.threads import Rival, Thread, Try, ending
from gateway_sessions.milestones import Arrived


def begun(
    thread: Thread, tried: Try, at: float, config: t.LoopConfigSnapshot | None
) -> Iterator[a.AgentEvent]:
    """Begin a loop that `Thread.beside` has put beside another."""
    yield a.AgentStart(
        session_id=thread.session_id,
        loop_id=tried.loop_id,
        at=at,
        agent_id=thread.agent_id,
        continuation=t.Rerun(tag=str(thread.loops)),
        parent_loop_id=thread.parent_of(tried.loop_id),
        config=config,
    )
    yield a.ParallelLoopStart(
        session_id=thread.session_id,
        loop_id=tried.loop_id,
        at=at,
        kind="evaluation",
        loop_ids=tuple(thread.rivals),
    )


def alternatives(
    thread: Thread, main: Rival, at: float, others: Sequence[Alternative]
) -> Iterator[a.AgentEvent]:
    """Begin a loop for each answer beside the main one; they have no turns of their own."""
    for other in others:
        beside = thread.beside(main.tried, turn_index=-1)
        thread.said(main.tried.loop_id, main.text, main.calls)
        thread.said(beside.loop_id, other.text, {call.id: call for call in other.calls})
        yield from begun(thread, beside, at, None)
        if not other.calls:
            yield ending(thread, beside.loop_id, at, "completed")


def chosen(thread: Thread, arrived: Arrived, asked: Asked) -> Iterator[a.AgentEvent]:
    """Tell which of several answers a request goes on from; the others are given up."""
    rivals = tuple(thread.rivals)
    if not rivals or arrived.session.relation != "continue":
        return
    results = {result.call_id for result in asked.results}
    found = thread.chosen(readings.answer_before(asked), results)
    yield a.ParallelLoopEnd(
        session_id=thread.session_id,
        loop_id=found or rivals[0],
        at=arrived.at,
        loop_ids=rivals,
        selected_loop_id=found,
        selected_config_index=rivals.index(found) if found is not None else None,
    )
    under_way = {tried.loop_id for tried in thread.tries.values()}
    for loser in rivals:
        if found is not None and loser != found and loser not in under_way:
            yield ending(thread, loser, arrived.at, "aborted")  # unless it is over already
