"""The values of the tree: sums, links, and their JSON."""

from __future__ import annotations

import msgspec
import pytest

from gateway_sessions.analysis import agent_tree as t


def test_usage_adds_up() -> None:
    total = t.Usage(input=10, output=2, cache_read=5, cost_usd=0.5) + t.Usage(input=1, reasoning=1)
    assert total == t.Usage(input=11, output=2, reasoning=1, cache_read=5, cost_usd=0.5)
    assert total.total_tokens == 13
    assert total.cache_hit_rate == pytest.approx(5 / 11)
    assert t.Usage().cache_hit_rate == 0


def test_a_cost_is_unknown_only_where_nothing_was_priced() -> None:
    assert (t.Usage() + t.Usage()).cost_usd is None
    assert (t.Usage(cost_usd=0.25) + t.Usage()).cost_usd == 0.25


def test_the_total_is_in_the_json_and_can_not_be_wrong() -> None:
    raw = msgspec.json.encode(t.Usage(input=3, output=4))
    assert msgspec.json.decode(raw)["total_tokens"] == 7
    assert msgspec.json.decode(b'{"input":1,"total_tokens":99}', type=t.Usage).total_tokens == 1


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (t.Initial(), {"kind": "initial"}),
        (t.Default(), {"kind": "default"}),
        (t.Rerun(tag="1"), {"kind": "rerun", "tag": "1"}),
        (t.Branch(tag="2"), {"kind": "branch", "tag": "2"}),
        (t.Compaction(), {"kind": "compaction"}),
    ],
)
def test_how_a_loop_goes_on_is_written_with_its_kind(
    kind: t.ContinuationKind, written: dict[str, str]
) -> None:
    assert msgspec.to_builtins(kind) == written
    assert msgspec.convert(written, t.ContinuationKind) == kind


def loop(loop_id: str, parent: str | None = None) -> t.LoopRecord:
    return t.LoopRecord(
        loop_id=loop_id,
        session_id="s",
        agent_id="main",
        parent_loop_id=parent,
        continuation_kind=t.Default(),
        started_at=1.0,
        status="completed",
        usage=t.Usage(input=1),
    )


def session(*loops: t.LoopRecord, **fields: object) -> t.Session:
    values = {
        "session_id": "s",
        "agent_id": "main",
        "created_at": 1.0,
        "last_active_at": 2.0,
        "formation": t.FirstLoop(),
        "scope": "persistent",
    }
    return t.Session(**(values | fields), loops=loops)  # type: ignore[arg-type]


def test_ways_through_a_session() -> None:
    a, b, c = loop("a"), loop("b", "a"), loop("c", "elsewhere")
    tree = session(a, b, c)
    assert tree.root_loops() == (a, c), "a parent in another session is no root's"
    assert tree.children_of(a) == (b,)
    assert tree.loop_chain_to(b) == (a, b)
    assert tree.parallel_siblings(a) == ()


def test_a_ring_of_parents_ends() -> None:
    a, b = loop("a", "b"), loop("b", "a")
    assert session(a, b).loop_chain_to(a) == (b, a)


def test_the_total_includes_what_is_no_longer_held() -> None:
    side_call = t.SideCall(request_id="r", at=1.0, usage=t.Usage(input=10))
    tree = session(loop("a"), side_calls=(side_call,), earlier_usage=t.Usage(input=100))
    assert tree.total_usage().input == 111
