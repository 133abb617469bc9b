"""How metrics are named: as Prometheus and OpenTelemetry ask for it."""

from __future__ import annotations

from interceptors.prometheus.families import PREFIX, Families
from interceptors.prometheus.series import Counter, Histogram


def families() -> list[Counter | Histogram]:
    return list(vars(Families()).values())


def test_all_of_them_are_ours_or_of_a_convention() -> None:
    names = [family.collect().name for family in families()]
    assert len(set(names)) == len(names)
    assert {name for name in names if not name.startswith(PREFIX)} == {
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_token_usage",
    }


def test_times_are_in_seconds() -> None:
    names = {
        name for name in vars(Families()) if name in ("detection", "hash", "upstream", "write")
    }
    assert len(names) == 4
    for name in names:
        assert vars(Families())[name].collect().name.endswith("_seconds")


def test_bounds_rise() -> None:
    for family in families():
        if isinstance(family, Histogram):
            family.observe(1e9)
            bounds = [
                float(sample.labels["le"])
                for sample in family.collect().samples
                if sample.name.endswith("_bucket")
            ]
            assert bounds == sorted(set(bounds))
            assert len(bounds) > 4
