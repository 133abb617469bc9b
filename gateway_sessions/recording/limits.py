"""How much may wait for a writer, for how long, and how often it is tried again."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """How much waits, for how long, and how often a failed write is tried again."""

    batch_size: int = 100
    """Items of a batch, which then waits for no more.  A writer with ``batches_at_once`` gets up to
    so many batches as one, if they come while the first item waits."""
    batch_seconds: float = 0.1
    """How long the first item of a batch waits for company."""
    max_count: int = 10_000
    """Items that may wait for one writer."""
    max_bytes: int = 256 * 1024 * 1024
    """Bytes that may wait for all writers of the process; each has an equal share."""
    pauses: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    """Seconds before each new attempt; after the last one the batch is dropped."""
