"""Two installed gateways on one store give the verdicts of one gateway alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway_sessions.exchange import SessionTag
from tests import postgres, redis
from tests.docs.blocks import every
from tests.docs.conversations import Conversations
from tests.e2e.all_kinds import answer, hold
from tests.e2e.replicas import Verdict, gateways, round_robin
from tests.e2e.wire_desk import Provider, Said, WireDesk, numbered
from tests.web.harness import upstream

Persistence = dict[str, Any]

REDIS = pytest.param("redis", marks=redis.NEEDED)
TURNS = 150
POSTGRES = pytest.param("postgres", marks=postgres.NEEDED)


@pytest.fixture(params=["file", REDIS, POSTGRES])
def persistence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Persistence]:
    """Return the configuration of a store."""
    with ExitStack() as stack:
        if request.param == "file":
            url = str(tmp_path / "live.db")
        elif request.param == "redis":
            url = request.getfixturevalue("redis").url
        else:
            admin = request.getfixturevalue("postgres")
            url = stack.enter_context(postgres.database(admin))
        yield {"enabled": True, "backend": request.param, "connection": url}


def only(
    folder: Path, count: int, provider: Provider, persistence: Persistence | None
) -> AbstractContextManager[list[int]]:
    """Run gateways that send everything to one provider."""
    upstreams = [{"url": provider.url}]
    return gateways(folder, count, provider.url, persistence, upstreams=upstreams)


@dataclass
class Overheard(Conversations):
    """Conversations that keep what they are told about each request."""

    tags: list[SessionTag] = field(default_factory=list)

    def _ask(self, name: str, how: str, text: str) -> SessionTag:
        tag = super()._ask(name, how, text)
        self.tags.append(tag)
        return tag


async def _hold(folder: Path, count: int, persistence: Persistence | None) -> list[Verdict]:
    """Hold conversations of every kind through some gateways; return what they say."""
    async with upstream(answer) as provider:
        with gateways(folder, count, provider.url, persistence) as ports:
            async with round_robin(ports) as front:
                await hold(front.url)
                return front.structure()


def _talk(folder: Path, count: int, persistence: Persistence | None) -> dict[str, list[Said]]:
    """Hold the worked examples of the documentation; return what the gateways say, by example."""
    said = {}
    with Provider() as provider, only(folder, count, provider, persistence) as ports:
        for number, block in enumerate(every("conversation")):
            if "(has " in block.text:
                continue  # It overtakes a reply, and with it perhaps what is stored before that.
            desk = WireDesk(provider, ports, f"example{number}")
            # Why a session is new is not told to clients.
            text = re.sub(r"(-> .*) \(\w+\)$", r"\1", block.text, flags=re.MULTILINE)
            conversations = Overheard(desk=desk)
            conversations.run(text)
            said[str(block)] = numbered(conversations.tags)
            desk.close()
    return said


@pytest.fixture(scope="module")
def held_alone(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """Return the verdicts of one gateway that shares nothing."""
    return asyncio.run(_hold(tmp_path_factory.mktemp("alone"), 1, None))


@pytest.fixture(scope="module")
def said_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Said]]:
    """Return what one gateway that shares nothing says about the worked examples."""
    return _talk(tmp_path_factory.mktemp("alone"), 1, None)


async def test_conversations_of_every_kind_get_the_same_verdicts(
    held_alone: list[Verdict], persistence: Persistence, tmp_path: Path
) -> None:
    relations = {each.relation for each in held_alone}
    assert {"retry", "regenerate", "fork", "subagent", "reset"} <= relations
    assert await _hold(tmp_path, 2, persistence) == held_alone


def test_the_worked_examples_get_the_same_verdicts(
    said_alone: dict[str, list[Said]], persistence: Persistence, tmp_path: Path
) -> None:
    relations = {each.relation for said in said_alone.values() for each in said}
    assert {"compaction", "side_call", "subagent", "fork", "retry"} <= relations
    shared = _talk(tmp_path, 2, persistence)
    different = {name for name, said in shared.items() if said != said_alone[name]}
    assert not different, {name: (shared[name], said_alone[name]) for name in different}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_request_right_after_the_last_byte_finds_its_session_elsewhere(
    persistence: Persistence, tmp_path: Path, seed: int
) -> None:
    """Each turn goes to another gateway than the one before it, in the moment that one ends."""
    chance = Random(seed)
    with Provider() as provider, only(tmp_path, 2, provider, persistence) as ports:
        desk = WireDesk(provider, ports, "tight")
        clients = [desk.client(key=f"key {number % 3}") for number in range(6)]
        for number, client in enumerate(clients):
            client.system = f"You are number {number}."
            client.fields = {"stream": True} if number % 2 else {}
        sessions: dict[int, set[str]] = {}
        for turn in range(TURNS):
            number = chance.randrange(len(clients))
            words = " word" * chance.randrange(1, 200)
            tag = clients[number].ask(f"{turn}{words}", f"answer {turn}{words}")
            sessions.setdefault(number, set()).add(tag.session_id)
            begins = len(clients[number].history) == 2
            assert tag.relation == ("first" if begins else "continue"), turn
    assert all(len(found) == 1 for found in sessions.values())
    assert len(set.union(*sessions.values())) == len(clients)
