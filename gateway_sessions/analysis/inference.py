"""From traffic to agent events: what a client that reports nothing must have been doing.

A pure function of verdicts and of what is new in each exchange, session by session:

- New user text opens a loop; results of tools that were called go on with the turn after.
  Text beside such results is steering and opens nothing.  Anthropic's tool results have the
  role of the user, so what counts is the kind of a part and never its role.
- An answer without calls ends its loop; one that the provider declined rejects it.  A failed
  attempt ends nothing yet: the client may try again.  What comes next decides.
- The same request again is another attempt while the last one failed, a loop beside it while
  that is still under way, and a rerun after it had been answered.
- A sub-agent's first request is matched with the calls that its parent waits for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import readings, rivals
from gateway_sessions.analysis.children import Children
from gateway_sessions.analysis.facts import Alternative, Asked, Call
from gateway_sessions.analysis.threads import Rival, Thread, Try, ending
from gateway_sessions.conversation import Message
from gateway_sessions.events import ToolCallRecorded
from gateway_sessions.exchange import SessionTag
from gateway_sessions.milestones import Arrived

THREADS_KEPT = 100_000
"""Sessions that are followed; beyond it the one idle for longest begins anew."""

_BEGINNINGS = frozenset({"first", "subagent", "reset", "side_call"})
"""Relations of a session's first request, so that nothing can have been before it."""
_PAUSED = frozenset({"pause_turn"})
"""Finish reasons after which the provider itself goes on, when it is asked to."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an exchange ended, as far as the tree is concerned."""

    at: float
    message: Message | None
    text: str | None
    calls: Sequence[tuple[str, Call]]
    """Calls that the client is to run, each with the id that it is recorded under."""
    finish_reason: str | None
    refused: bool
    error: str | None
    """None after an answer."""
    usage: t.Usage
    alternatives: Sequence[Alternative] = ()
    """What the model could have said as well, where several answers were asked for."""


class Inference:
    """What is known of the sessions under way; methods return events in order."""

    def __init__(
        self,
        *,
        content: bool = True,
        summaries: bool = True,
        idle_seconds: float = 0.0,
        threads_kept: int = THREADS_KEPT,
    ) -> None:
        """Infer.

        Args:
            content: whether events carry messages and texts.
            summaries: whether they carry what a compaction goes on from.
            idle_seconds: after which a session expires; 0 where that is not known.
            threads_kept: sessions that are followed.
        """
        self._content = content
        self._summaries = summaries
        self._idle_seconds = idle_seconds
        self._kept = threads_kept
        self._threads: OrderedDict[str, Thread] = OrderedDict()
        self._children = Children()

    def request(
        self, arrived: Arrived, asked: Asked, results: Sequence[ToolCallRecorded]
    ) -> list[a.AgentEvent]:
        """Take a request; ``results`` are the tool results that are new in it."""
        if arrived.session.relation == "side_call":
            return []
        thread = self._thread(arrived.session, arrived.at)
        found: list[a.AgentEvent] = []
        if thread.rivals:
            found += rivals.chosen(thread, arrived, asked)
        if results:
            found += self._results(thread, arrived, asked, results)
        self._turn(thread, arrived, asked, found, answers=bool(results))
        return found

    def response(self, tag: SessionTag, request_id: str, answer: Answer) -> list[a.AgentEvent]:
        """Take the end of an exchange."""
        if tag.relation == "side_call":
            return [
                a.SideCallSeen(
                    session_id=tag.session_id,
                    loop_id="",
                    at=answer.at,
                    request_id=request_id,
                    usage=answer.usage,
                )
            ]
        thread = self._thread(tag, answer.at)
        found: list[a.AgentEvent] = []
        tried = thread.tries.pop(request_id, None)
        if tried is None:
            tried = self._missed(thread, tag, request_id, answer.at, found)
        if answer.text:
            self._children.said(thread.session_id, answer.text)
        if thread.rivals:
            thread.said(tried.loop_id, answer.text or "", dict(answer.calls))
        found.append(
            a.TurnEnd(
                session_id=thread.session_id,
                loop_id=tried.loop_id,
                at=answer.at,
                turn_index=tried.turn_index,
                request_id=request_id,
                output_message=answer.message if self._content else None,
                usage=answer.usage,
                error=answer.error,
            )
        )
        if answer.error is None or answer.refused:
            self._after(thread, tried, answer, found)
            if answer.alternatives:
                main = Rival(tried, answer.text or "", dict(answer.calls))
                found += rivals.alternatives(thread, main, answer.at, answer.alternatives)
        elif thread.is_current(tried):
            thread.failed, thread.failed_at = tried, answer.at
        else:
            found.append(ending(thread, tried.loop_id, answer.at, "aborted"))
        return found

    def ended(self, session_id: str, at: float) -> list[a.AgentEvent]:
        """Take the end of a session; one of side calls alone has an end too."""
        thread = self._threads.pop(session_id, None)
        found: list[a.AgentEvent] = []
        if thread is not None:
            _give_up(thread, at, found)
        found.append(a.SessionEnd(session_id=session_id, loop_id="", at=at))
        return found

    def _thread(self, tag: SessionTag, at: float) -> Thread:
        thread = self._threads.get(tag.session_id)
        if thread is None:
            # A session that was known before, by whoever recorded then, must not use the names
            # of its earlier loops again.
            first = 0 if tag.relation in _BEGINNINGS else int(at)
            thread = self._threads[tag.session_id] = Thread(tag.session_id, first_number=first)
            if len(self._threads) > self._kept:
                self._threads.popitem(last=False)
        else:
            self._threads.move_to_end(tag.session_id)
        return thread

    def _results(
        self, thread: Thread, arrived: Arrived, asked: Asked, results: Sequence[ToolCallRecorded]
    ) -> Iterator[a.AgentEvent]:
        """Give the results to the turn that called, and tell children by them."""
        texts = {result.call_id: result.text for result in asked.results}
        nameless = [result.text for result in asked.results if not result.call_id]
        for result in results:
            text = texts.get(result.tool_call_id)
            if text is None and nameless:
                text = nameless.pop(0)
            call = thread.pending.pop(result.tool_call_id, None)
            yield a.ToolExecutionEnd(
                session_id=thread.session_id,
                loop_id=thread.loop_id,
                at=arrived.at,
                tool_call_id=result.tool_call_id,
                tool_name=result.tool_name,
                content=text if self._content else None,
                size_bytes=result.output_size_bytes,
                is_error=None if result.success is None else not result.success,
                duration_ms=result.execution_time_ms,
                is_upper_bound=bool(result.time_is_upper_bound),
            )
            if call is not None and text:
                yield from self._children.resulted(
                    thread, result.tool_call_id, call.name, text, arrived.at
                )

    def _turn(
        self,
        thread: Thread,
        arrived: Arrived,
        asked: Asked,
        found: list[a.AgentEvent],
        *,
        answers: bool,
    ) -> None:
        relation = arrived.session.relation
        failed = thread.failed
        if relation == "retry" and failed is not None:
            found.append(self._asks(thread, failed, arrived, asked))
        elif relation == "retry" and thread.tries:
            tried = thread.beside(next(reversed(thread.tries.values())))
            found += rivals.begun(thread, tried, arrived.at, readings.config(arrived, asked))
            found.append(self._asks(thread, tried, arrived, asked, trigger="branch"))
        elif (
            relation == "continue" and thread.is_open and (answers or not readings.asks_anew(asked))
        ):
            tried = thread.next_turn()
            found.append(self._asks(thread, tried, arrived, asked, trigger="continuation"))
        else:
            _give_up(thread, thread.failed_at or arrived.at, found)
            self._opens(thread, arrived, asked, found)

    def _opens(
        self, thread: Thread, arrived: Arrived, asked: Asked, found: list[a.AgentEvent]
    ) -> None:
        """Begin a loop, and its first turn."""
        tag = arrived.session
        history = arrived.message_count - arrived.new_messages
        kind, parent, trigger = thread.continuation(tag.relation, history)
        thread.agent_id = thread.agent_id or readings.agent(arrived)
        tried = thread.open(history, parent)
        links: Iterable[a.AgentEvent] = ()
        spawn = None
        if tag.parent_session_id is not None and thread.loops == 1:
            trigger = "sub_agent"
            links = [
                *self._children.spawned(
                    self._threads.get(tag.parent_session_id),
                    tried,
                    tag.session_id,
                    asked.text or "",
                    arrived.at,
                )
            ]
            spawn = readings.spawn(self._children.link(tag.session_id), tag)
        start = a.AgentStart(
            session_id=thread.session_id,
            loop_id=tried.loop_id,
            at=arrived.at,
            agent_id=thread.agent_id,
            continuation=kind,
            parent_loop_id=parent,
            formation=readings.formation(tag, self._idle_seconds),
            scope="ephemeral" if tag.parent_session_id else "persistent",
            config=readings.config(arrived, asked),
            spawn=spawn,
        )
        found += (start, *links)
        if self._summaries and isinstance(kind, t.Compaction):
            found.append(
                a.CompactionEnded(
                    session_id=thread.session_id,
                    loop_id=tried.loop_id,
                    at=arrived.at,
                    block=readings.first_text(asked),
                )
            )
        found.append(self._asks(thread, tried, arrived, asked, trigger=trigger))

    def _missed(
        self,
        thread: Thread,
        tag: SessionTag,
        request_id: str,
        at: float,
        found: list[a.AgentEvent],
    ) -> Try:
        """Begin the turn of an exchange whose request nobody saw; only its answer is known."""
        ids: dict[str, Any] = {"session_id": thread.session_id, "at": at}
        if thread.is_open:
            tried = thread.next_turn()
        else:
            kind, parent, _ = thread.continuation("continue", 0)
            thread.agent_id = thread.agent_id or readings.usual_agent(tag)
            tried = thread.open(0, parent)
            found.append(
                a.AgentStart(
                    **ids,
                    loop_id=tried.loop_id,
                    agent_id=thread.agent_id,
                    continuation=kind,
                    parent_loop_id=parent,
                    formation=readings.formation(tag, self._idle_seconds),
                    scope="ephemeral" if tag.parent_session_id else "persistent",
                )
            )
        index = tried.turn_index
        found.append(
            a.TurnStart(**ids, loop_id=tried.loop_id, turn_index=index, request_id=request_id)
        )
        return tried

    def _asks(
        self,
        thread: Thread,
        tried: Try,
        arrived: Arrived,
        asked: Asked,
        *,
        trigger: t.TurnTrigger = "user",
    ) -> a.TurnStart:
        thread.begin(arrived.request_id, tried)
        return a.TurnStart(
            session_id=thread.session_id,
            loop_id=tried.loop_id,
            at=arrived.at,
            turn_index=tried.turn_index,
            request_id=arrived.request_id,
            triggered_by=trigger,
            input_messages=readings.without_results(asked.delta) if self._content else (),
        )

    def _after(self, thread: Thread, tried: Try, answer: Answer, found: list[a.AgentEvent]) -> None:
        """Tell what an answer leads to: tools, or the end of the loop."""
        current = thread.is_current(tried)
        if current:
            thread.failed = thread.failed_at = None
            thread.pending = dict(answer.calls)
        for call_id, call in answer.calls:
            found.append(
                a.ToolExecutionStart(
                    session_id=thread.session_id,
                    loop_id=tried.loop_id,
                    at=answer.at,
                    tool_call_id=call_id,
                    tool_name=call.name,
                )
            )
        paused = answer.finish_reason in _PAUSED
        if not answer.refused and (answer.calls or paused):
            return
        if current:
            thread.is_open = False
        outcome: a.Outcome = "rejected" if answer.refused else "completed"
        reason = answer.error or answer.finish_reason if answer.refused else None
        found.append(ending(thread, tried.loop_id, answer.at, outcome, reason))


def _give_up(thread: Thread, at: float, found: list[a.AgentEvent]) -> None:
    """End the loop that nobody came back to; one that is being answered ends by itself."""
    if thread.is_open and thread.current() not in thread.tries.values():
        found.append(ending(thread, thread.loop_id, at, "aborted"))
    thread.is_open = False
    thread.failed = thread.failed_at = None
    thread.pending = {}
