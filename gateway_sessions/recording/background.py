"""Processes that stand back where the gateway needs a processor."""

from __future__ import annotations

import os
from contextlib import suppress

NICENESS = 10
"""A tenth of the weight of the gateway: enough to get on beside one that is busy, and little to
take from it.  With 19 a recorder on a machine without idle time would get next to nothing."""


def stand_back() -> None:
    """Let this process, its threads and its children to come work behind the gateway.

    Where the system has the policy for batches, waking up does not interrupt who is running
    either: recording comes in batches, and each would cost a request half a millisecond.
    """
    os.nice(NICENESS)
    with suppress(AttributeError, OSError):  # Linux only, and a sandbox may refuse it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
