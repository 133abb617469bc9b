"""The sums of one session: of exchanges, tokens, times, tools and money."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from gateway_sessions import events as e
from gateway_sessions.analysis.percentiles import Samples
from gateway_sessions.conversation import Usage
from gateway_sessions.exchange import Response
from gateway_sessions.prices import Cost

NAMES_LIMIT = 256
"""Models and tools that are told apart in one session; their names come from strangers."""
NAME_LENGTH = 256
"""Characters of such a name that are kept."""
OTHERS = "(others)"
"""The name under which the rest is summed."""

_SHARES = (0.5, 0.95, 0.99)


class _Tool:
    """One tool's use."""

    __slots__ = ("calls", "errors", "time_ms", "timed")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.time_ms = 0.0
        self.timed = 0


class _Model:
    """A model's share."""

    __slots__ = ("input", "output", "requests")

    def __init__(self) -> None:
        self.requests = self.input = self.output = 0


_NOTHING = Usage()
"""What is used before anything is."""


class Ledger:
    """Sums over the exchanges of one session.  Each part of an exchange is added once."""

    __slots__ = (
        "_billed",
        "_chunks",
        "_cost",
        "_detection_ms",
        "_duration_ms",
        "_gaps",
        "_models",
        "_overhead_ms",
        "_priced_tokens",
        "_provider_ms",
        "_streaming_ms",
        "_tools",
        "_ttft",
        "_unpriced",
        "_usage",
        "requests",
    )

    def __init__(self) -> None:
        self.requests = 0
        self._duration_ms = 0.0
        self._provider_ms = Samples()
        self._overhead_ms = 0.0
        self._detection_ms = 0.0
        self._usage = _NOTHING
        self._models: dict[str, _Model] = {}
        self._tools: dict[str, _Tool] = {}
        self._ttft: Samples | None = None
        self._chunks = 0
        self._streaming_ms = 0.0
        self._gaps: Samples | None = None
        self._cost: Cost | None = None
        self._priced_tokens = 0
        self._unpriced = 0
        self._billed = ("", "")

    def exchanged(
        self, response: Response, *, provider_ms: float, overhead_ms: float, detection_ms: float
    ) -> None:
        """Add the times of an exchange."""
        self.requests += 1
        self._duration_ms += response.duration_ms
        self._provider_ms.add(provider_ms)
        self._overhead_ms += overhead_ms
        self._detection_ms += detection_ms

    def streamed(self, response: Response, gaps_ms: tuple[float, ...]) -> None:
        """Add what is particular to a streamed response."""
        if self._ttft is None or self._gaps is None:
            self._ttft, self._gaps = Samples(), Samples()
        self._ttft.add(response.time_to_first_byte_ms)
        self._chunks += response.chunks
        self._streaming_ms += streaming_ms(response)
        self._gaps.extend(gaps_ms)

    def used(self, provider: str, model: str, usage: Usage | None, cost: Cost | None) -> None:
        """Add an exchange's tokens, as far as they are known, and what they cost."""
        self._billed = provider, model[:NAME_LENGTH]
        known = usage or _NOTHING
        self._usage = known if self._usage is _NOTHING else _added(self._usage, known)
        used = self._models.get(model)
        if used is None:
            used = self._models.setdefault(_known_or_others(model, self._models), _Model())
        used.requests += 1
        used.input += known.input_tokens
        used.output += known.output_tokens
        if cost is not None:
            self._cost = _sum(self._cost, cost)
            self._priced_tokens += known.input_tokens + known.output_tokens
        elif usage is not None:
            self._unpriced += 1

    def called(self, name: str) -> None:
        """Add a tool call."""
        self._tool(name).calls += 1

    def answered(self, name: str, time_ms: float | None, *, success: bool | None) -> None:
        """Add a tool's result."""
        tool = self._tool(name)
        if time_ms is not None:
            tool.time_ms += time_ms
            tool.timed += 1
        if success is False:
            tool.errors += 1

    def _tool(self, name: str) -> _Tool:
        return self._tools.setdefault(_known_or_others(name, self._tools), _Tool())

    def snapshot(self, session_id: str, request_id: str, timestamp: str) -> e.StatsSnapshot:
        """Return the sums so far."""
        return e.StatsSnapshot(
            session_id=session_id,
            request_id=request_id,
            timestamp=timestamp,
            request_count=self.requests,
            total_input_tokens=self._usage.input_tokens,
            total_output_tokens=self._usage.output_tokens,
            total_thinking_tokens=self._usage.thinking_tokens,
            total_tool_calls=sum(tool.calls for tool in self._tools.values()),
            unique_tools=tuple(self._tools),
            cumulative_latency_ms=self._provider_ms.total,
            cumulative_proxy_overhead_ms=self._overhead_ms,
        )

    def final(self) -> e.FinalStats:
        """Return everything."""
        return e.FinalStats(
            total_duration_ms=self._duration_ms,
            provider_time_ms=self._provider_ms.total,
            proxy_overhead_ms=self._overhead_ms,
            request_count=self.requests,
            total_tokens=self._total_tokens(),
            tool_summary=self._tool_summary(),
            performance=self._performance(),
            estimated_cost=self._estimated_cost(),
            streaming_stats=self._streaming_stats(),
        )

    def _total_tokens(self) -> e.TotalTokens:
        usage = self._usage
        return e.TotalTokens(
            total_input=usage.input_tokens,
            total_output=usage.output_tokens,
            thinking=usage.thinking_tokens,
            reasoning=usage.reasoning_tokens - usage.thinking_tokens,
            cache_read=usage.cache_read_tokens,
            cache_creation=usage.cache_creation_tokens,
            audio_input=usage.audio_input_tokens,
            audio_output=usage.audio_output_tokens,
            grand_total=usage.input_tokens + usage.output_tokens,
            by_model={
                name: e.ModelTokens(
                    request_count=used.requests,
                    input=used.input,
                    output=used.output,
                    total=used.input + used.output,
                )
                for name, used in self._models.items()
            },
        )

    def _tool_summary(self) -> e.ToolSummary:
        tools = self._tools
        return e.ToolSummary(
            total_tool_calls=sum(tool.calls for tool in tools.values()),
            unique_tool_count=len(tools),
            by_tool={
                name: e.ToolStats(
                    call_count=tool.calls,
                    total_execution_time_ms=tool.time_ms,
                    avg_execution_time_ms=tool.time_ms / tool.timed if tool.timed else 0.0,
                    error_count=tool.errors,
                )
                for name, tool in tools.items()
            },
            total_tool_time_ms=sum(tool.time_ms for tool in tools.values()),
            tool_error_count=sum(tool.errors for tool in tools.values()),
        )

    def _performance(self) -> e.Performance:
        times, count = self._provider_ms, max(1, self.requests)
        median, p95, p99 = times.percentiles(*_SHARES)
        share = 100 * self._overhead_ms / self._duration_ms if self._duration_ms else 0.0
        return e.Performance(
            avg_provider_latency_ms=times.mean,
            p50_latency_ms=median,
            p95_latency_ms=p95,
            p99_latency_ms=p99,
            max_latency_ms=times.greatest,
            min_latency_ms=times.least,
            avg_pre_processing_ms=self._detection_ms / count,
            avg_post_processing_ms=(self._overhead_ms - self._detection_ms) / count,
            proxy_overhead_percentage=share,
        )

    def _streaming_stats(self) -> e.StreamingStats | None:
        if self._ttft is None or self._gaps is None:
            return None
        return e.StreamingStats(
            time_to_first_token_ms=self._ttft.mean,
            total_chunks=self._chunks,
            streaming_duration_ms=self._streaming_ms,
            **msgspec.structs.asdict(chunk_latency(self._gaps)),
        )

    def _estimated_cost(self) -> e.EstimatedCost:
        cost = self._cost
        provider, model = self._billed
        per_token = cost.total / self._priced_tokens if cost and self._priced_tokens else None
        return e.EstimatedCost(
            provider=provider,
            model=model,
            input_cost_usd=cost.input if cost else None,
            output_cost_usd=cost.output if cost else None,
            total_cost_usd=cost.total if cost else None,
            cost_per_1k_tokens=None if per_token is None else 1000 * per_token,
            thinking_cost_usd=(cost.thinking or None) if cost else None,
            cache_cost_usd=(cost.cache or None) if cost else None,
            unpriced_requests=self._unpriced or None,
        )


def _known_or_others(name: str, known: Collection[str]) -> str:
    short = name[:NAME_LENGTH]
    return short if short in known or len(known) < NAMES_LIMIT else OTHERS


def streaming_ms(response: Response) -> float:
    """Return how long the body of a streamed response took."""
    return max(0.0, response.duration_ms - response.time_to_first_byte_ms)


def chunk_latency(gaps: Samples) -> e.Latency:
    """Return the times between chunks; all 0 where there are not two."""
    median, p95, p99 = gaps.percentiles(*_SHARES)
    return e.Latency(
        avg_chunk_latency_ms=gaps.mean,
        p50_chunk_latency_ms=median,
        p95_chunk_latency_ms=p95,
        p99_chunk_latency_ms=p99,
        max_chunk_latency_ms=gaps.greatest,
        min_chunk_latency_ms=gaps.least,
    )


def _added(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_creation_tokens=one.cache_creation_tokens + other.cache_creation_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        thinking_tokens=one.thinking_tokens + other.thinking_tokens,
        audio_input_tokens=one.audio_input_tokens + other.audio_input_tokens,
        audio_output_tokens=one.audio_output_tokens + other.audio_output_tokens,
    )


def _sum(one: Cost | None, other: Cost) -> Cost:
    if one is None:
        return other
    return Cost(
        one.input + other.input,
        one.output + other.output,
        one.thinking + other.thinking,
        one.cache + other.cache,
    )
