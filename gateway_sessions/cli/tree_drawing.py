"""An agent tree for people: prompts, turns with their tools, sub-agents below their calls.

Everything that was recorded comes from clients and models, so it is shown with control
characters escaped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from rich.tree import Tree

from gateway_sessions.analysis.agent_tree import LoopRecord, ToolOutcome, Turn, Usage
from gateway_sessions.cli import tree_lines
from gateway_sessions.storage.trees import Family, Member

MOST_LOOPS, MOST_TURNS = 12, 6
"""So many prompts of a session, and turns of a prompt, are shown without leaving any out."""
ENDS = 2
"""Of more, so many at the beginning and at the end are, and all in which something happened."""
MOST_MEMBERS = 8
"""Sessions of a family up to which sub-agents are shown like their head; of more, a sub-agent's
turns are shown only where something happened."""

Part = TypeVar("Part", LoopRecord, Turn)


def draw(family: Family, *, everything: bool = False) -> Tree:
    """Return a session and all that worked for it as a tree.

    Long sessions are folded: what is left out is counted, and shown with ``everything``.
    """
    drawing = _Drawing(family, everything=everything)
    return drawing.session(family.head)


class _Drawing:
    """A family while it is drawn."""

    def __init__(self, family: Family, *, everything: bool) -> None:
        self._family = family
        self._everything = everything
        self._brief = not everything and len(family.members) > MOST_MEMBERS
        self._below_call: dict[tuple[str, str], list[Member]] = defaultdict(list)
        self._below_loop: dict[str, list[Member]] = defaultdict(list)
        self._below_session: dict[str, list[Member]] = defaultdict(list)
        for parent in family.members:
            self._place(parent, family.children_of(parent.session.session_id))

    def session(self, member: Member, tool: ToolOutcome | None = None) -> Tree:
        """Return the tree of a session; with the call that it works for, if that is known."""
        tree = Tree(tree_lines.session(member, tool), guide_style="dim")
        session = member.session
        numbers = {loop.loop_id: number for number, loop in enumerate(session.loops, 1)}
        for group in self._shown(session.loops, MOST_LOOPS, self._is_eventful):
            if isinstance(group, list):
                tree.add(tree_lines.folded(len(group), "prompt", _sum(group)))
            else:
                self._loop(tree, group, numbers)
        for child in self._below_session[session.session_id]:
            tree.add(self.session(child))
        if session.side_calls:
            tree.add(tree_lines.side_calls(session.side_calls))
        if member.in_flight:
            tree.add(tree_lines.in_flight(member.in_flight))
        return tree

    def _loop(self, tree: Tree, loop: LoopRecord, numbers: dict[str, int]) -> None:
        branch = tree.add(tree_lines.loop(loop, numbers))
        turns = loop.turns
        if self._brief and loop.session_id != self._family.head.session.session_id:
            turns = tuple(filter(self._matters, turns))
        for group in self._shown(turns, MOST_TURNS, self._matters):
            if isinstance(group, list):
                branch.add(tree_lines.folded(len(group), "turn", _sum(group)))
            else:
                self._turn(branch, group)
        for child in self._below_loop[loop.loop_id]:
            branch.add(self.session(child))

    def _turn(self, branch: Tree, turn: Turn) -> None:
        workers = [
            (tool, worker)
            for tool in turn.tool_results
            for worker in self._below_call[turn.turn_id.loop_id, tool.tool_call_id]
        ]
        node = branch.add(tree_lines.turn(turn, {tool.tool_call_id for tool, _ in workers}))
        for tool, worker in workers:
            node.add(self.session(worker, tool))

    def _place(self, parent: Member, children: Sequence[Member]) -> None:
        """Note below which call, loop or else session each sub-agent of a session belongs."""
        calls = {
            (loop.loop_id, tool.tool_call_id)
            for loop in parent.session.loops
            for turn in loop.turns
            for tool in turn.tool_results
        }
        loops = {loop.loop_id for loop in parent.session.loops}
        for child in children:
            spawn = child.session.parent_spawn_ref
            key = (spawn.parent_loop_id, spawn.tool_call_id) if spawn else ("", "")
            if key in calls:
                self._below_call[key].append(child)
            elif key[0] in loops:
                self._below_loop[key[0]].append(child)
            else:
                self._below_session[parent.session.session_id].append(child)

    def _shown(
        self, parts: Sequence[Part], most: int, matters: Callable[[Part], bool]
    ) -> Iterator[Part | list[Part]]:
        """Yield what is to be shown one by one, and what is left out in lists."""
        left_out: list[Part] = []
        for place, part in enumerate(parts):
            at_an_end = place < ENDS or place >= len(parts) - ENDS
            if self._everything or len(parts) <= most or at_an_end or matters(part):
                if len(left_out) == 1:  # a line about it takes as much room as itself
                    yield left_out[0]
                elif left_out:
                    yield left_out
                left_out = []
                yield part
            else:
                left_out.append(part)

    def _is_eventful(self, loop: LoopRecord) -> bool:
        """Tell whether a loop should be shown: it went wrong, or others worked for it."""
        went_wrong = loop.status not in ("completed", "running")
        compared = loop.parallel_group is not None
        below = bool(self._below_loop[loop.loop_id])
        return went_wrong or compared or below or any(map(self._matters, loop.turns))

    def _matters(self, turn: Turn) -> bool:
        """Tell whether a turn should be shown: something failed, or others worked for it."""
        failed = any(attempt.error for attempt in turn.attempts) or any(
            tool.is_error for tool in turn.tool_results
        )
        loop_id = turn.turn_id.loop_id
        return failed or any(
            self._below_call[loop_id, tool.tool_call_id] for tool in turn.tool_results
        )


def _sum(parts: Iterable[LoopRecord | Turn]) -> Usage:
    return sum((part.usage for part in parts), Usage())
