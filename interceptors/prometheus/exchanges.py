"""What one exchange moves: twenty sums, which those of its kind have found already."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from gateway_sessions import Exchange, Response, Usage
from interceptors.prometheus.families import Families
from interceptors.prometheus.series import Example, Known

MODELS = 50
"""Models that get a label of their own; with the labels beside it still under 1,000 series."""
PROVIDERS = 20
KINDS = 1000
"""Kinds whose sums are remembered; beyond it we start afresh."""
SESSIONS_WITH_COST = 10_000
"""Sessions whose running cost is kept until they end; beyond it the oldest count as ended."""


class Finished(msgspec.Struct, gc=False):
    """What counts of an exchange: not its bodies, which others may let go."""

    kind: tuple[str, str, str, str, int, str | None]
    """Dialect, provider, source, relation, status, error."""
    model: str
    request_id: str
    session_id: str
    message_count: int
    new_messages: int
    overhead: float | None
    seconds: float
    first_byte: float
    usage: Usage | None
    cost: float | None
    at: float
    """Unix time in seconds of its end."""
    now: float
    """The same in seconds that never go back."""


def finished(exchange: Exchange, response: Response, now: float) -> Finished:
    """Note an exchange that is over."""
    tag = exchange.session
    if tag is None:
        session_id, source, relation = "", "none", ""
    else:
        session_id, source, relation = tag.session_id, tag.source, tag.relation
    seconds = response.duration_ms / 1000
    return Finished(
        (exchange.dialect, exchange.provider, source, relation, response.status, response.error),
        response.model or exchange.model,
        exchange.request_id,
        session_id,
        exchange.message_count,
        exchange.new_messages,
        exchange.timings.get("overhead"),
        seconds,
        response.time_to_first_byte_ms / 1000,
        response.usage,
        response.cost_usd,
        exchange.started_at + seconds,
        now,
    )


class _Kind:
    """The sums that exchanges of the same labels move."""

    __slots__ = (
        "cost",
        "input_tokens",
        "input_usage",
        "operation",
        "output_tokens",
        "output_usage",
        "requests",
    )

    def __init__(self, families: Families, one: Finished, provider: str, model: str) -> None:
        dialect, _, source, _, status, error = one.kind
        aborted = error is not None and status < 400
        status_class = "aborted" if aborted else f"{status // 100}xx"
        call = ("chat", provider, model)
        error_type = (error or str(status)) if is_failed(one) else ""
        self.requests = families.requests.sum((dialect, status_class, source))
        self.operation = families.operation.cell((*call, error_type))
        if one.usage is not None:
            self.input_tokens = families.tokens.sum(("input", model))
            self.output_tokens = families.tokens.sum(("output", model))
            self.input_usage = families.usage.cell((*call, "input"))
            self.output_usage = families.usage.cell((*call, "output"))
        if one.cost is not None:
            self.cost = families.cost.sum((model,))


def is_failed(one: Finished) -> bool:
    """Tell whether an exchange did not get what it asked for."""
    return one.kind[5] is not None or one.kind[4] >= 400


class Exchanges:
    """Counts exchanges, under the lock of whoever owns the families."""

    def __init__(self, families: Families) -> None:
        self.longest = 0
        """Messages of the longest session so far."""
        self.models, self._providers = Known(MODELS), Known(PROVIDERS)
        self._families = families
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._costs: OrderedDict[str, float] = OrderedDict()
        self._messages = families.messages.sum()
        self._upstream = families.upstream.cell()
        self._first_byte = families.first_byte.cell()
        self._overhead = families.overhead.cell()

    def count(self, one: Finished) -> None:
        """Count an exchange."""
        kind = self._kind(one)
        example = Example(one.request_id, one.session_id, one.at)
        kind.requests.value += 1
        self._upstream.observe(one.seconds, example)
        self._first_byte.observe(one.first_byte, example)
        kind.operation.observe(one.seconds, example)
        if one.overhead is not None:
            self._overhead.observe(one.overhead)
        usage = one.usage
        if usage is not None:
            kind.input_tokens.value += usage.input_tokens
            kind.output_tokens.value += usage.output_tokens
            kind.input_usage.observe(usage.input_tokens, example)
            kind.output_usage.observe(usage.output_tokens, example)
        if one.session_id:
            self._count_messages(one)
        if one.cost is not None:
            kind.cost.value += one.cost
            if one.session_id:
                self._count_cost(one.session_id, one.cost)

    def session_cost(self, session_id: str) -> float | None:
        """Return what a session cost that ended, and forget it; None where nothing is known."""
        return self._costs.pop(session_id, None)

    def _kind(self, one: Finished) -> _Kind:
        # A failed request proves nothing: anybody can make up model names.
        model = self.models.label(one.model, admit=not is_failed(one))
        key = (*one.kind, model, one.usage is None, one.cost is None)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS:
                self._kinds.clear()
            provider = self._providers.label(one.kind[1])
            kind = self._kinds[key] = _Kind(self._families, one, provider, model)
        return kind

    def _count_messages(self, one: Finished) -> None:
        failed = is_failed(one)
        replies = 0 if failed or one.kind[3] in {"retry", "regenerate"} else 1
        self._messages.value += one.new_messages + replies
        self.longest = max(self.longest, one.message_count + (not failed))

    def _count_cost(self, session_id: str, cost: float) -> None:
        costs = self._costs
        costs[session_id] = costs.get(session_id, 0.0) + cost
        if len(costs) > SESSIONS_WITH_COST:
            self._families.session_cost.observe(costs.popitem(last=False)[1])
