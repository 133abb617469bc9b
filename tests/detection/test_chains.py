from __future__ import annotations

from msgspec import Raw

from gateway_sessions.detection.chains import (
    Run,
    as_sent,
    chained,
    next_state,
    rebased,
    runs_backwards,
    summed_up,
)
from gateway_sessions.detection.runs import Said

SEED = 7
SAID: list[Said] = [(side, bytes([n]) * 16, n, ()) for n, side in enumerate([False, True] * 3)]


def test_a_state_depends_on_all_before_it_and_on_the_side() -> None:
    assert next_state(1, False, b"a") != next_state(2, False, b"a")
    assert next_state(1, False, b"a") != next_state(1, True, b"a")
    assert next_state(1, False, b"a") != next_state(1, False, b"b")


def test_a_chain_can_be_walked_back() -> None:
    runs = list(runs_backwards(chained(SAID, None, SEED)))
    assert [(run.model_side, run.links, run.weight, run.call_ids) for run in runs] == SAID[::-1]
    for run, before in zip(runs, [*runs[1:], None], strict=True):
        assert run.before is before
        assert run.state == next_state(before.state if before else SEED, run.model_side, run.links)


def test_nothing_said_is_no_chain() -> None:
    assert chained([], None, SEED) is None
    assert summed_up([], None, SEED) is None


def test_what_is_summed_up_ends_at_the_same_state() -> None:
    whole, base = chained(SAID, None, SEED), summed_up(SAID[:4], None, SEED)
    assert whole is not None
    assert base is not None
    assert base.weight == sum(weight for _, _, weight, _ in SAID[:4])
    rest = chained(SAID[4:], base, SEED)
    assert rest is not None
    assert rest.state == whole.state
    before = Run(None, True, b"", 5, (), 99)
    after = summed_up(SAID, before, SEED)
    assert after is not None
    assert after.state == (chained(SAID, before, SEED) or before).state
    assert after.weight == 5 + sum(weight for _, _, weight, _ in SAID)


def test_what_was_not_read_counts_byte_for_byte() -> None:
    one, other = [Raw(b'{"a":1}')], [Raw(b'{"a": 1}')]
    assert as_sent(one, SEED, SAID).state != as_sent(other, SEED, SAID).state
    assert as_sent(one, SEED, SAID).state != as_sent(one, SEED + 1, SAID).state
    # It is the side that has not the next word.
    assert as_sent(one, SEED, SAID).model_side
    assert not as_sent(one, SEED, SAID[1:]).model_side
    assert not as_sent(one, SEED, []).model_side


def test_known_states_of_the_newest_runs_outlast_others() -> None:
    whole = chained(SAID, None, SEED)
    known = chained(SAID[-2:], Run(None, True, b"", 0, (), 99), SEED)
    assert whole is not None
    assert known is not None
    found = list(runs_backwards(rebased(known, whole)))
    assert [run.links for run in found] == [links for _, links, _, _ in SAID[::-1]]
    assert [run.state for run in found[:3]] == [run.state for run in runs_backwards(known)]
    assert found[3:] == list(runs_backwards(whole))[3:]
    assert rebased(whole, whole) is whole
