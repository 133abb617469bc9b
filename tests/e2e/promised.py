"""What is promised of records, word for word: types and fields of events, tables and columns.

It is a list of its own, not made from the code, so that the code can be held against it.
"""

from __future__ import annotations

_STARTED = """
    model_requested provider listener is_streaming parent_session_id root_session_id relation
    source confidence metadata.client_ip metadata.user_agent metadata.api_version
    metadata.request_headers metadata.session_tags
"""
_REQUEST = """
    request_text request_json estimated_tokens pre_processing_ms request_size_bytes message_count
    has_system_prompt has_tools tool_count delta_messages
"""
_TOKENS = """
    input_tokens output_tokens total_tokens thinking_tokens reasoning_tokens cache_read_tokens
    cache_creation_tokens audio_input_tokens audio_output_tokens thinking_percentage
    tokens_per_second
"""
_RESPONSE_STATS = """
    provider_latency_ms post_processing_ms total_proxy_overhead_ms tokens tool_calls
    response_size_bytes content_blocks has_refusal is_streaming chunk_count streaming_duration_ms
"""
_TOOL_CALL = """
    tool_name tool_call_id tool_arguments input_size_bytes output_size_bytes success
    execution_time_ms time_is_upper_bound
"""
_SNAPSHOT = """
    request_count total_input_tokens total_output_tokens total_thinking_tokens total_tool_calls
    unique_tools cumulative_latency_ms cumulative_proxy_overhead_ms
"""
_COMPLETED = """
    success error finish_reason reason total_input total_output total_thinking total_reasoning
    grand_total
"""
_FINAL = """
    total_duration_ms provider_time_ms proxy_overhead_ms request_count
    total_tokens.total_input total_tokens.total_output total_tokens.thinking total_tokens.reasoning
    total_tokens.cache_read total_tokens.cache_creation total_tokens.audio_input
    total_tokens.audio_output total_tokens.grand_total total_tokens.by_model
    tool_summary.total_tool_calls tool_summary.unique_tool_count
    tool_summary.by_tool.*.call_count tool_summary.by_tool.*.total_execution_time_ms
    tool_summary.by_tool.*.avg_execution_time_ms tool_summary.by_tool.*.error_count
    tool_summary.total_tool_time_ms tool_summary.tool_error_count
    performance.avg_provider_latency_ms performance.p50_latency_ms performance.p95_latency_ms
    performance.p99_latency_ms performance.max_latency_ms performance.min_latency_ms
    performance.avg_pre_processing_ms performance.avg_post_processing_ms
    performance.proxy_overhead_percentage
    streaming_stats.time_to_first_token_ms streaming_stats.total_chunks
    streaming_stats.streaming_duration_ms streaming_stats.avg_chunk_latency_ms
    streaming_stats.p50_chunk_latency_ms streaming_stats.p95_chunk_latency_ms
    streaming_stats.p99_chunk_latency_ms streaming_stats.max_chunk_latency_ms
    streaming_stats.min_chunk_latency_ms
    estimated_cost.provider estimated_cost.model estimated_cost.input_cost_usd
    estimated_cost.output_cost_usd estimated_cost.thinking_cost_usd estimated_cost.cache_cost_usd
    estimated_cost.total_cost_usd estimated_cost.cost_per_1k_tokens
"""


def _under(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}.{name}" for name in names.split())


_FIELDS = {
    "started": _STARTED,
    "request_recorded": _REQUEST,
    "stream_started": "time_to_first_token_ms",
    "stream_event": "data",
    "response_recorded": " ".join(
        (
            "response_text response_json model_used",
            _under("stats", _RESPONSE_STATS),
            _under("tokens", _TOKENS),
            _under("stats.tokens", _TOKENS),
        )
    ),
    "tool_call_recorded": _TOOL_CALL,
    "request_completed": "success error finish_reason total_duration_ms",
    "stats_snapshot": _SNAPSHOT,
    "completed": f"{_COMPLETED} {_under('final_stats', _FINAL)}",
    "error": "error_type error_message error_details",
    "gap": "dropped",
}

FIELDS = {
    kind: {"session_id", "request_id", "timestamp", *names.split()}
    for kind, names in _FIELDS.items()
}
"""Fields by type of event; ``*`` stands for a name that is not known before."""

REASONS = {"expired", "evicted", "reset", "shutdown"}
"""Why sessions end."""

_COUNTS = """
    input_tokens output_tokens thinking_tokens reasoning_tokens cache_read_tokens
    cache_creation_tokens audio_input_tokens audio_output_tokens total_tokens
"""
_COLUMNS = {
    "schema_version": "version",
    "sessions": f"""
        session_id parent_session_id root_session_id request_id started_at last_active_at
        completed_at provider listener model_requested model_used success error_message
        finish_reason request_count total_duration_ms provider_latency_ms proxy_overhead_ms
        {_COUNTS} cost_usd request_text response_text client_ip user_agent is_streaming
        time_to_first_token_ms chunk_count streaming_duration_ms title created_at
    """,
    "session_stats": f"""
        session_id request_id model_name created_at relation source confidence pre_processing_ms
        post_processing_ms proxy_overhead_ms provider_latency_ms total_duration_ms {_COUNTS}
        request_size_bytes response_size_bytes tokens_per_second thinking_percentage message_count
        content_blocks has_tools has_refusal cost_usd status
    """,
    "tool_call_executions": """
        session_id request_id tool_call_id tool_name tool_arguments execution_time_ms
        input_size_bytes output_size_bytes success created_at
    """,
    "tool_calls": """
        session_id request_id model_name tool_name call_count avg_execution_time_ms error_count
        created_at
    """,
    "stream_events": """
        session_id request_id model_name time_to_first_token_ms chunk_count avg_chunk_latency_ms
        p50_chunk_latency_ms p95_chunk_latency_ms p99_chunk_latency_ms max_chunk_latency_ms
        min_chunk_latency_ms
    """,
    "daily_stats": f"""
        day provider model_name requests sessions {_COUNTS} cost_usd errors provider_latency_ms
    """,
    "loops": "loop_id session_id agent_id parent_loop_id continuation_kind started_at status",
    "turns": "loop_id turn_index triggered_by started_at ended_at",
}
COLUMNS = {table: names.split() for table, names in _COLUMNS.items()}
"""Columns by table or view."""

INDEXES = {
    "idx_sessions_created": "sessions(created_at DESC)",
    "idx_sessions_provider": "sessions(provider, created_at DESC)",
    "idx_sessions_model": "sessions(model_used, created_at DESC)",
    "idx_sessions_request_id": "sessions(request_id)",
    "idx_sessions_provider_model": "sessions(provider, model_used, created_at DESC)",
    "idx_session_stats_session": "session_stats(session_id)",
    "idx_session_stats_model": "session_stats(model_name, created_at DESC)",
    "idx_session_stats_session_time": "session_stats(session_id, created_at DESC)",
    "idx_tool_calls_model": "tool_call_executions(model_name, created_at DESC)",
    "idx_tool_calls_session": "tool_call_executions(session_id)",
    "idx_tool_calls_name": "tool_call_executions(tool_name, created_at DESC)",
}
