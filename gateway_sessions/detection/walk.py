"""From a request's messages to its chain of states.

Messages are grouped into *runs*: all that the client says between two answers is one run, each
answer is one.  (Whether two user messages in a row are sent as two or joined is a habit of the
dialect.)  What is said up to each of them has a state, see `gateway_sessions.detection.chains`.

A request repeats its history byte for byte in nearly all cases.  So the walk reads only the
newest answer and prompt, hashes the raw bytes before them in one go, and looks that hash up
in a fixed-size table of states it has computed before.  Only where that fails (another
serialisation, a clock in the text, a cold start) the messages are digested one by one, and
each of those is remembered too; very many are digested together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import msgspec
from xxhash import xxh3_64

from gateway_sessions.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Conversation,
    Message,
    Text,
)
from gateway_sessions.detection.bounds import (
    PRECISE,
    SMALL,
    Budget,
    apart,
    is_large,
    pieces,
)
from gateway_sessions.detection.canonical import (
    Digested,
    digest_messages,
    digest_parts,
    join_messages,
)
from gateway_sessions.detection.chains import (
    RUNS_KEPT,
    Run,
    as_sent,
    chained,
    next_state,
    rebased,
    summed_up,
)
from gateway_sessions.detection.digests import DIGESTS_KEPT, DigestMemo, reader
from gateway_sessions.detection.ends import Newest, leading_system, newest_read
from gateway_sessions.detection.instructions import AgentMemo
from gateway_sessions.detection.memo import StateMemo
from gateway_sessions.detection.quick import first_prompt, one_more_turn
from gateway_sessions.detection.runs import Item, LongHistory, Said, runs_of

FIRST_MESSAGES = 8
"""Messages at the start of a prompt that may have been sent before without the others."""
SEALS_READ = 16
"""Messages at the end of an answer that may tell it from its equals."""

LONG_HISTORY = DIGESTS_KEPT // 16
"""Messages beyond which a history is read anew, many messages at once, rather than have it push
others out of that memory."""


class Walk(msgspec.Struct, gc=False):
    """A request's chain, as far as it has been computed."""

    conversation: Conversation
    seed: int
    start: int
    """How many system messages come first."""
    newest: list[Message]
    """The newest answer and all after it, read."""
    tail: Run | None
    """The last run; None if nothing is said at all."""
    complete: bool
    """Whether ``before`` leads from the tail to the very first run, or to what sums up the
    oldest of very many."""
    answer_end: int
    """How many of the raw messages come up to the newest answer, with it."""
    walker: Walker
    first: list[Message] | None = None
    """What `opening` returns, if it has been read already."""
    asked: list[Message] | None = None
    """What `prompt` found."""
    texts: list[str] | None = None
    """What `prompt_texts` found."""
    offered: int | None = None
    """What `tools` found."""

    @property
    def prompt_items(self) -> int:
        """How many of the raw messages come after the newest complete answer."""
        end = self.answer_end
        if self.tail is not None and self.tail.model_side:
            end = self.walker.answer_before(self.conversation, self.start)
        return len(self.conversation.messages) - end

    def instructions(self) -> bytes:
        """Return the raw system prompt, wherever the dialect keeps it."""
        conversation = self.conversation
        return conversation.system + b"".join(conversation.messages[: self.start])

    def agent(self) -> int:
        """Return the digest of the instructions and the tools."""
        return self.walker.agents.of(self.conversation, self.start)

    def tools(self) -> int:
        """Return the digest of the tools that are offered; 0 where there are none."""
        if self.offered is None:
            self.offered = self.walker.agents.tools(self.conversation.tools)
        return self.offered

    def opening(self) -> list[Message]:
        """Return what the first two raw messages after the instructions say."""
        if self.first is None:
            raws = self.conversation.messages[self.start :][:2]
            self.first = [message for raw in raws for message in self.conversation.read(raw)]
        return self.first

    @property
    def request_state(self) -> int:
        """The state at which the request ends."""
        return self.tail.state if self.tail else self.seed

    @property
    def reply(self) -> Run | None:
        """The newest answer in the history, leaving out the beginning of one that is asked for.

        None where nobody has asked anything before it: greetings are no history.
        """
        tail = self.tail
        if tail is None:
            return None
        reply = self.newest_answer if tail.model_side else tail.before
        return reply if reply is not None and reply.before is not None else None

    @property
    def newest_answer(self) -> Run | None:
        """As `reply`, greetings included."""
        tail = self.tail
        if tail is not None and tail.model_side:
            whole = self.full()
            tail = whole.before if whole else None
        return tail.before if tail else None

    def prompt(self) -> list[Message]:
        """Return what the user side has said since the newest answer."""
        if self.asked is None:
            newest = self.newest
            place = len(newest)
            while place and newest[place - 1].role != ASSISTANT:
                place -= 1
            self.asked = [message for message in newest[place:] if message.role == USER]
        return self.asked

    def seals(self) -> set[str]:
        """Return what only the newest answer has, as far as its client sends that back."""
        found: set[str] = set()
        oldest = max(self.start, self.answer_end - SEALS_READ)
        for raw in reversed(self.conversation.messages[oldest : self.answer_end]):
            said = self.conversation.read(raw)
            if any(message.role != ASSISTANT for message in said):
                break
            found.update(message.seal for message in said if message.seal)
        return found

    def prompt_texts(self) -> list[str]:
        """Return the texts of the newest message, if it is the user side's."""
        if self.texts is None:
            parts = prompt[-1].parts if (prompt := self.prompt()) else ()
            self.texts = [part.text for part in parts if type(part) is Text]
        return self.texts

    def after(self, state: int) -> Walk:
        """Return the chain of the same messages after a history that is not among them."""
        # The history is known by its state alone: an answer to something, neither with links.
        raws = self.conversation.messages[self.start :]
        items = self.walker.items(self.conversation, raws)
        base = Run(None, True, b"", 0, (), state)
        said = runs_of(self.conversation, items, instructions=False)
        tail = chained(said, Run(base, True, b"", 0, (), state), state)
        return msgspec.structs.replace(self, tail=tail, complete=True)

    def full(self) -> Run | None:
        """Compute what a shortcut left out, and return the tail."""
        if not self.complete:
            whole = self.walker.chain(self.conversation, self.start, self.seed)
            self.tail = rebased(self.tail, whole) if self.tail and whole else whole
            self.complete = True
        return self.tail

    def states_inside_prompt(self) -> list[int]:
        """Return the states between the messages of the last run, newest first.

        They matter where a first request failed and its client then sent two messages.
        """
        if len(self.prompt()) < 2:
            return []
        said = (m for m in self.prompt() if digest_parts(m.role, m.parts).links)
        prompt = list(islice(said, FIRST_MESSAGES + 1))
        tail = self.full()
        if len(prompt) < 2 or tail is None:
            return []
        before = tail.before.state if tail.before else self.seed
        cuts = range(len(prompt) - 1, 0, -1)
        return [next_state(before, False, join_messages(prompt[:cut]).links) for cut in cuts]

    def after_reply(self, reply: Message) -> Run | None:
        """Return the run of a reply to this request, or None if it says nothing.

        Where the request itself ends with the beginning of the answer (prefill), the reply
        continues that run, as the client will send the two as one message.
        """
        tail = self.tail
        if tail is not None and tail.model_side:
            tail = self.full()
            assert tail is not None
            begun = [m for m in self.newest if m.role == ASSISTANT]
            digested = join_messages([*begun, reply])
            before, state = tail.before, tail.before.state if tail.before else self.seed
        else:
            digested = digest_parts(reply.role, reply.parts)
            before, state = tail, self.request_state
        if not digested.links:
            return None
        return Run(
            before,
            True,
            digested.links,
            digested.weight,
            digested.call_ids,
            next_state(state, True, digested.links),
        )


class Walker:
    """Walks conversations and remembers what it has seen; safe on several threads.

    What it remembers are pure functions of the bytes and the scope's seed, so two walkers
    always agree; they only differ in speed.
    """

    def __init__(self, states_kept: int = 65536) -> None:
        """Keep ``states_kept`` states of histories (16 bytes each)."""
        self._states = StateMemo(states_kept)
        self.agents = AgentMemo()
        self._digests = DigestMemo()

    def walk(self, conversation: Conversation, seed: int) -> Walk:
        """Return a request's chain under a scope's seed.

        Raises:
            UnreadableBody: a message is not what the dialect says.
        """
        start = leading_system(conversation, self._digests)
        alone = len(conversation.messages) == start + 1
        way = first_prompt if alone else one_more_turn
        found = way(conversation, start, seed, self._states)
        if found is None:
            return self._any_turn(conversation, start, seed)
        tail, newest, texts = found
        return Walk(
            conversation,
            seed,
            start,
            newest,
            tail,
            alone,
            start if alone else len(conversation.messages) - 1,
            self,
            newest if alone else None,
            newest[-1:],
            texts,
        )

    def _any_turn(self, conversation: Conversation, start: int, seed: int) -> Walk:
        """Return the chain of any request."""
        raws = conversation.messages
        newest, cut, answer_end, budget = newest_read(conversation, start, self._digests)
        hasher = xxh3_64(conversation.sent(start, cut), seed ^ reader(conversation.read))
        known = self._states.get(hasher.intdigest()) if cut > start else None
        read: list[Message] = []
        for _, messages in newest:
            read += messages
        digests = digest_messages(read)
        digested: list[Item] = list(zip(digests, read, strict=True))
        self._note_large(conversation, newest, digests)
        if known is not None and ASSISTANT in [d.role for d in digests if d.links]:
            base = Run(None, False, b"", 0, (), known)
            said = runs_of(conversation, digested, instructions=False)
            tail, complete = chained(said, base, seed), False
        else:
            # Not seen before; or an answer without words, which joins the prompts around it.
            tail, complete = (
                self._whole(conversation, raws[start:cut], digested, seed, budget),
                True,
            )
        # Instructions are what is asked only as long as nothing else is said.
        if tail is not None and not tail.model_side and (tail.before or _is_said(digests)):
            if cut > start:
                hasher.update(b",")
            hasher.update(b",".join([raw for raw, _ in newest]))
            self._states.put(hasher.intdigest(), tail.state)
        opening = None if cut > start else [m for _, messages in newest[:2] for m in messages]
        if cut == start + 1 and newest and len(newest[0][0]) > SMALL:
            opening = [*conversation.read(raws[start]), *newest[0][1]]
        return Walk(conversation, seed, start, read, tail, complete, answer_end, self, opening)

    def _note_large(
        self, conversation: Conversation, newest: Newest, digests: Sequence[Digested]
    ) -> None:
        """Remember digests of large messages, which rules would have to read again."""
        place = 0
        for raw, messages in newest:
            if len(raw) > SMALL:
                found = tuple(digests[place : place + len(messages)])
                self._digests.put(conversation, raw, found)
            place += len(messages)

    def chain(self, conversation: Conversation, start: int, seed: int) -> Run | None:
        """Return the last run of the whole chain, each message digested or remembered."""
        return self._whole(conversation, conversation.messages[start:], [], seed, Budget())

    def _whole(
        self,
        conversation: Conversation,
        older: Sequence[msgspec.Raw],
        newest: list[Item],
        seed: int,
        budget: Budget,
    ) -> Run | None:
        """Return the last run of a chain from its very beginning."""
        if len(older) >= LONG_HISTORY or is_large(older):
            unread, said = self._bounded(conversation, older, newest, budget)
            base = as_sent(unread, seed, said) if unread else None
            if said:
                base = summed_up(said[:-RUNS_KEPT], base, seed)
                return chained(said[-RUNS_KEPT:], base, seed)
            if base is not None:
                return base
        items = self._digests.items(conversation, older) + newest
        return chained(runs_of(conversation, items, instructions=True), None, seed)

    def _bounded(
        self,
        conversation: Conversation,
        older: Sequence[msgspec.Raw],
        newest: list[Item],
        budget: Budget,
    ) -> tuple[Sequence[msgspec.Raw], list[Said]]:
        """Return the oldest messages of a long history, which are not read, and all later runs."""
        together = len(older) >= LONG_HISTORY
        oldest, read = apart(older, PRECISE - len(newest))
        history = LongHistory(conversation)
        history.put(newest)
        cut = len(older)
        for start, end in pieces(read):
            some = read[start:end]
            if not budget.compose(some):
                break
            if together:
                budget.read(history.read(some))
            else:
                budget.read(history.put(self._digests.items(conversation, some)))
            cut = len(oldest) + start
        return older[:cut], list(history.runs())

    def items(self, conversation: Conversation, raws: Sequence[msgspec.Raw]) -> list[Item]:
        """Return the digests of raw messages, as far as possible without reading them."""
        return self._digests.items(conversation, raws)

    def digests(self, conversation: Conversation, raw: msgspec.Raw) -> tuple[Digested, ...]:
        """Return the digests of one raw message (several, if it holds several)."""
        return self._digests.of(conversation, raw)

    def answer_before(self, conversation: Conversation, start: int) -> int:
        """Return where the last answer ends that is not the beginning of one asked for."""
        roles = [
            digests[-1].role if (digests := self.digests(conversation, raw)) else SYSTEM
            for raw in conversation.messages[start:]
        ]
        while roles and roles[-1] != USER:
            roles.pop()
        while roles and roles[-1] != ASSISTANT:
            roles.pop()
        return start + len(roles)


def _is_said(digests: Sequence[Digested]) -> bool:
    """Whether messages hold anything but instructions."""
    return any(digested.links and digested.role != SYSTEM for digested in digests)
