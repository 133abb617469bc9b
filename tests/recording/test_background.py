"""Whom processors go to first."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gateway_sessions.recording.background import NICENESS, stand_back

PROGRAM = (
    "import json, os; from gateway_sessions.recording.background import stand_back; stand_back();"
    "print(json.dumps([os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]))"
)


@pytest.mark.skipif(sys.platform != "linux", reason="the policy for batches is Linux's")
def test_a_process_stands_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    niceness, policy = json.loads(done.stdout)
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    assert policy == os.SCHED_BATCH


def test_where_the_policy_is_refused_niceness_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", asked.append)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    stand_back()
    assert asked == [NICENESS]
