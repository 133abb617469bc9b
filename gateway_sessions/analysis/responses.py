"""A response as events: itself, its error, and the end of its exchange."""

from __future__ import annotations

import msgspec

from gateway_sessions import events as e
from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.facts import Answered
from gateway_sessions.analysis.faults import Fault
from gateway_sessions.analysis.ledger import chunk_latency, streaming_ms
from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.analysis.options import ScribeOptions
from gateway_sessions.analysis.percentiles import Samples
from gateway_sessions.analysis.requests import header_fields
from gateway_sessions.analysis.toolbook import Made
from gateway_sessions.conversation import Reply, Usage
from gateway_sessions.milestones import Finished
from gateway_sessions.prices import Cost

_NO_REPLY = Reply(())


class Outcome:
    """All that is known of an exchange at its end."""

    __slots__ = (
        "answered",
        "cost",
        "fault",
        "finish_reason",
        "finished",
        "model",
        "provider_ms",
        "refused",
        "usage",
    )

    def __init__(
        self,
        *,
        finished: Finished,
        answered: Answered,
        fault: Fault | None,
        usage: Usage | None,
        cost: Cost | None,
    ) -> None:
        response, reply = finished.response, answered.reply or _NO_REPLY
        self.finished = finished
        self.answered = answered
        self.fault = fault
        self.usage = usage
        self.cost = cost
        self.model = rawjson.text(response.model or reply.model or finished.model)
        """The model that answered; the one that was asked for where the provider does not say."""
        said = response.finish_reason or reply.finish_reason
        self.finish_reason = rawjson.text(said) or None
        """The provider's own word for why the answer ended; None where it says none."""
        denied = fault is not None and fault.refused
        self.refused = response.refused or reply.refused or denied
        """Whether the provider declined; a normal end is none."""
        self.provider_ms = max(0.0, response.duration_ms - finished.overhead_ms)
        """How long the exchange took but for our own part of it."""


def response_recorded(
    outcome: Outcome, calls: list[Made], options: ScribeOptions
) -> e.ResponseRecorded:
    """Return a response, whole or broken off."""
    finished, answered = outcome.finished, outcome.answered
    response = finished.response
    stats = _stats(outcome, calls, options)
    return e.ResponseRecorded(
        session_id=finished.session_id,
        request_id=finished.request_id,
        timestamp=rfc3339(finished.at),
        model_used=outcome.model,
        status=response.status,
        stats=stats,
        tokens=stats.tokens,
        response_text=rawjson.text(answered.text) if options.full and answered.text else None,
        response_json=_body(outcome) if options.full else None,
        response_headers=header_fields(response.headers) or None,
    )


def _body(outcome: Outcome) -> msgspec.Raw | None:
    """Return the body as JSON; one that has been read as a reply is known to be some."""
    body = outcome.finished.response.body
    known = outcome.answered.reply is not None
    return rawjson.strict(body) if known else rawjson.embedded(body)


def _stats(outcome: Outcome, calls: list[Made], options: ScribeOptions) -> e.ResponseStats:
    finished, answered = outcome.finished, outcome.answered
    response, streamed = finished.response, finished.response.streamed
    gaps = finished.chunk_gaps_ms if streamed else ()
    return e.ResponseStats(
        provider_latency_ms=outcome.provider_ms,
        post_processing_ms=max(0.0, finished.overhead_ms - finished.detection_ms),
        total_proxy_overhead_ms=finished.overhead_ms,
        tokens=tokens(outcome.usage, outcome.provider_ms),
        tool_calls=tuple([_tool_use(made, options) for made in calls]),
        response_size_bytes=response.size,
        content_blocks=answered.blocks,
        has_refusal=outcome.refused,
        is_streaming=streamed,
        chunk_count=response.chunks if streamed else None,
        streaming_duration_ms=streaming_ms(response) if streamed else None,
        time_to_first_token_ms=response.time_to_first_byte_ms if streamed else None,
        chunk_latency=chunk_latency(Samples(gaps)) if gaps else None,
        raw_usage=rawjson.usage(response.body) if outcome.usage is not None else None,
        cost_usd=outcome.cost.total if outcome.cost is not None else None,
    )


def _tool_use(made: Made, options: ScribeOptions) -> e.ToolUse:
    return e.ToolUse(
        tool_call_id=made.id,
        tool_name=made.call.name,
        input_size_bytes=len(made.call.arguments),
        tool_arguments=msgspec.Raw(made.call.arguments) if options.full else None,
    )


def tokens(usage: Usage | None, provider_ms: float) -> e.Tokens | None:
    """Return an exchange's tokens; counts that the provider does not report are left out."""
    if usage is None:
        return None
    output, thought = usage.output_tokens, usage.reasoning_tokens
    return e.Tokens(
        input_tokens=usage.input_tokens,
        output_tokens=output,
        total_tokens=usage.input_tokens + output,
        thinking_tokens=usage.thinking_tokens or None,
        reasoning_tokens=(thought - usage.thinking_tokens) or None,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_creation_tokens=usage.cache_creation_tokens or None,
        audio_input_tokens=usage.audio_input_tokens or None,
        audio_output_tokens=usage.audio_output_tokens or None,
        thinking_percentage=min(100.0, 100 * thought / output) if thought and output else None,
        tokens_per_second=1000 * output / provider_ms if output and provider_ms else None,
    )


def error(outcome: Outcome, fault: Fault, options: ScribeOptions) -> e.Error:
    """Return why an exchange failed; without content, only of which kind the error is."""
    finished = outcome.finished
    return e.Error(
        session_id=finished.session_id,
        request_id=finished.request_id,
        timestamp=rfc3339(finished.at),
        error_type=fault.kind,
        error_message=fault.message if options.full else fault.kind,
        error_details=fault.details or None,
    )


def request_completed(outcome: Outcome) -> e.RequestCompleted:
    """Return the end of an exchange."""
    finished = outcome.finished
    return e.RequestCompleted(
        session_id=finished.session_id,
        request_id=finished.request_id,
        timestamp=rfc3339(finished.at),
        success=outcome.fault is None,
        total_duration_ms=finished.response.duration_ms,
        error=outcome.fault.kind if outcome.fault else None,
        finish_reason=outcome.finish_reason,
    )
