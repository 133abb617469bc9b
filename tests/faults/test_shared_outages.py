"""Two gateways whose store freezes or refuses: nobody waits, and all comes together again.

Responses are answered and tagged all the time; what each gateway learns alone is stored when the
store is back, so that the other one goes on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.e2e.replicas import gateways, patient
from tests.e2e.wire_desk import Provider, WireClient, WireDesk
from tests.faults.outages import Outages

PATIENCE = 30.0
"""Seconds after which a test fails that waits for a gateway."""
CALL_SECONDS = 0.6
"""How long these gateways wait for their store: longer than a busy machine makes them."""
WHILE_AWAY = 20
CURES = {"freeze": "thaw", "refuse": "admit"}


class Replicas:
    """Two gateways and what can be asked of them."""

    def __init__(self, folder: Path, provider: Provider, ports: list[int]) -> None:
        self._folder = folder
        self.ports = ports
        self.desk = WireDesk(provider, ports, "outage")

    def say(self, client: WireClient, text: str, number: int) -> tuple[str, str]:
        """Let a client say something to one of the gateways; return session and relation."""
        self.desk.ports = cycle([self.ports[number]])
        tag = client.ask(text, f"answer to {text}")
        return tag.session_id, tag.relation

    def problems(self, number: int) -> list[str]:
        """Return what a gateway says about its readiness."""
        try:
            with urlopen(f"http://127.0.0.1:{self.ports[number]}/readyz") as answer:
                said = json.load(answer)
        except HTTPError as error:
            with error:
                said = json.load(error)
        found: list[str] = said.get("problems", [])
        return found

    def until_ready(self) -> None:
        """Wait until both gateways share their sessions again."""
        deadline = time.monotonic() + PATIENCE
        while any(self.problems(number) for number in range(2)):
            assert time.monotonic() < deadline
            time.sleep(0.02)  # nothing outside of a gateway tells

    def warnings(self, number: int) -> list[str]:
        """Return the lines of a gateway's log that ask for attention."""
        log = (self._folder / f"replica-{number}" / "errors").read_text()
        return [line for line in log.splitlines() if " WARNING " in line or " ERROR " in line]


@contextmanager
def replicas(folder: Path, outages: Outages) -> Iterator[Replicas]:
    persistence: dict[str, Any] = {
        "enabled": True, "backend": outages.backend, "connection": outages.url
    }  # fmt: skip
    with Provider() as provider:
        everything = [{"url": provider.url}]
        with gateways(
            folder,
            2,
            provider.url,
            persistence,
            command=patient(CALL_SECONDS),
            upstreams=everything,
        ) as ports:
            yield Replicas(folder, provider, ports)


@pytest.mark.parametrize("fault", CURES)
def test_nothing_waits_and_all_comes_together_again(
    outages: Outages, fault: str, tmp_path: Path
) -> None:
    with replicas(tmp_path, outages) as both:
        client, idle = both.desk.client(), both.desk.client()
        other = both.desk.client(key="other")
        begun = both.say(client, "begin", 0)[0]
        getattr(outages, fault)()
        took = []
        for turn in range(WHILE_AWAY):
            began = time.perf_counter()
            assert both.say(client, f"turn {turn}", 0) == (begun, "continue")
            took.append(time.perf_counter() - began)
        assert sorted(took)[WHILE_AWAY // 2] < CALL_SECONDS / 2  # most do not wait at all
        unseen = both.say(idle, "begin while it is away", 0)[0]
        apart = both.say(other, "begin", 1)[0]
        assert both.say(other, "and on", 1) == (apart, "continue")
        assert both.problems(0)
        getattr(outages, CURES[fault])()
        both.until_ready()
        # The end of a response waits until its session is stored, and all that waited before it.
        both.say(client, "it is back", 0)
        both.say(other, "it is back", 1)
        assert both.say(client, "all together", 1) == (begun, "continue")
        assert both.say(idle, "all together", 1) == (unseen, "continue")
        assert both.say(other, "all together", 0) == (apart, "continue")
    # Logs are whole when their gateways have ended.
    assert len(both.warnings(0)) == 2  # it went, it came
    assert len(both.warnings(1)) in {0, 2}  # which had less to ask


def test_gateways_start_and_serve_without_their_store(outages: Outages, tmp_path: Path) -> None:
    outages.refuse()
    with replicas(tmp_path, outages) as both:
        client = both.desk.client()
        begun = both.say(client, "begin", 0)[0]
        assert both.say(client, "and on", 0) == (begun, "continue")
        outages.admit()
        both.until_ready()
        both.say(client, "it is there", 0)
        assert both.say(client, "all together", 1) == (begun, "continue")
