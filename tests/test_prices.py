"""What tokens cost: looked up once, multiplied in floats, each token paid once."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.conversation import Usage
from gateway_sessions.prices import MODELS_KEPT, Cost, Prices, Rates

AT = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
MILLION = 1_000_000


def cost(provider: str, model: str, at: float = AT, **counts: int) -> Cost | None:
    return Prices().cost(provider, model, Usage(**counts), at)


def total(prices: Prices, model: str = "m", provider: str = "openai", **counts: int) -> float:
    found = prices.cost(provider, model, Usage(**counts), AT)
    assert found is not None
    return found.total


@pytest.mark.parametrize(
    ("provider", "model", "known_as"),
    [
        ("openai", "gpt-4o", "openai"),
        ("openai", "gpt-4o-2024-08-06", "openai"),
        ("anthropic", "claude-sonnet-4-20250514", "anthropic"),
        ("gemini", "gemini-2.5-flash", "google"),
        ("gemini", "gemini-2.5-pro", "google"),
        ("vertex", "claude-sonnet-4@20250514", "google"),
        ("bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", "aws"),
        ("cohere", "command-r-plus", "cohere"),
    ],
)
@pytest.mark.parametrize("size", [100, 250_000])
def test_prices_are_the_librarys(provider: str, model: str, known_as: str, size: int) -> None:
    usage = {"input_tokens": size, "cache_read_tokens": size // 2, "output_tokens": 70}
    theirs = calc_price(
        TheirUsage(**usage),
        model,
        provider_id=known_as,
        genai_request_timestamp=datetime.fromtimestamp(AT, UTC),
    )
    ours = cost(provider, model, **usage)
    assert ours is not None
    assert ours.total == pytest.approx(float(theirs.total_price))
    assert ours.input == pytest.approx(float(theirs.input_price))
    assert ours.output == pytest.approx(float(theirs.output_price))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "mistral-large-latest"),
        ("openai", "claude-sonnet-4-0"),
        ("openai", "anthropic/claude-sonnet-4-0"),
        ("other", "deepseek-chat"),
        ("OpenAI", "GPT-4o"),
    ],
)
def test_where_only_the_format_is_known_the_models_name_decides(provider: str, model: str) -> None:
    assert cost(provider, model, input_tokens=MILLION) is not None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("openai", "nobody/no-such-model"),
        ("anthropic", "gpt-4o"),
        ("nobody", "gpt-4o"),
        ("ollama", "gpt-4o"),
        ("openai", ""),
        ("openai", "whisper-1"),
        ("openai", "\ud800"),
    ],
)
def test_what_nobody_knows_costs_none_and_not_nothing(provider: str, model: str) -> None:
    prices = Prices()
    for _ in range(2):
        assert prices.cost(provider, model, Usage(10, 10), AT) is None


def test_prices_change_with_the_hour() -> None:
    night = datetime(2025, 8, 1, 20, tzinfo=UTC).timestamp()
    day = datetime(2025, 8, 2, 12, tzinfo=UTC).timestamp()
    prices = Prices()
    found = [
        prices.cost("openai", "deepseek-chat", Usage(MILLION), at) for at in (night, day, night)
    ]
    assert found[0] == found[2] != found[1]


def test_your_own_prices_come_first() -> None:
    rates = Rates(input=1.0, output=2.0)
    other = Rates(input=3.0, output=4.0)
    prices = Prices({"GPT-4o": rates, "anthropic/gpt-4o": other, "llama": rates})
    assert total(prices, "gpt-4o", input_tokens=MILLION) == 1.0
    assert total(prices, "gpt-4O", "anthropic", input_tokens=MILLION) == 3.0
    assert total(prices, "llama", "ollama", output_tokens=MILLION) == 2.0


FULL = Rates(
    input=1.0,
    output=10.0,
    cache_read=0.1,
    cache_write=1.25,
    cache_write_1h=2.0,
    input_audio=5.0,
    output_audio=20.0,
    thinking=8.0,
)


def test_each_part_has_its_own_rate() -> None:
    usage = Usage(
        input_tokens=10 * MILLION,
        output_tokens=6 * MILLION,
        cache_read_tokens=MILLION,
        cache_creation_tokens=3 * MILLION,
        cache_creation_1h_tokens=MILLION,
        audio_input_tokens=MILLION,
        audio_output_tokens=MILLION,
        reasoning_tokens=2 * MILLION,
    )
    found = Prices({"m": FULL}).cost("x", "m", usage, AT)
    assert found is not None
    assert found.cache == pytest.approx(0.1 + 2 * 1.25 + 2.0)
    assert found.input == pytest.approx(5 * 1.0 + 5.0 + found.cache)
    assert found.thinking == pytest.approx(2 * 8.0)
    assert found.output == pytest.approx(3 * 10.0 + 20.0 + found.thinking)
    assert found.total == found.input + found.output


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_no_token_is_paid_twice(inputs: int, outputs: int, shares: list[float]) -> None:
    """At one rate for everything, the parts make no difference."""
    read, written = int(inputs * shares[0] / 2), int(inputs * shares[1] / 2)
    plain = Rates(input=1.0, output=1.0)
    same = Rates(**dict.fromkeys(Rates.__struct_fields__, 1.0))
    usage = Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=read,
        cache_creation_tokens=written,
        cache_creation_1h_tokens=int(written * shares[2]),
        reasoning_tokens=int(outputs * shares[3] / 2),
        audio_output_tokens=int(outputs * shares[2] / 2),
    )
    for rates in (plain, same):
        found = Prices({"m": rates}).cost("x", "m", usage, AT)
        assert found is not None
        assert found.total == pytest.approx((inputs + outputs) / MILLION)


def test_counts_that_contradict_each_other_cost_no_negative_amount() -> None:
    usage = Usage(1, 1, cache_read_tokens=100, reasoning_tokens=100, audio_input_tokens=100)
    found = Prices({"m": FULL}).cost("x", "m", usage, AT)
    assert found is not None
    assert min(found.input, found.output, found.thinking, found.cache) > 0


def test_few_models_are_kept() -> None:
    prices = Prices({"m": FULL})
    for number in range(2 * MODELS_KEPT):
        prices.cost("ollama", f"model-{number}", Usage(1), AT)
    assert prices._known.cache_info().currsize == MODELS_KEPT


def test_the_library_is_imported_when_the_first_price_is_asked_for() -> None:
    code = (
        "import sys; from gateway_sessions.prices import Prices, Usage; p = Prices();"
        "p.cost('ollama', 'x', Usage(1), 0.0); before = 'genai_prices' in sys.modules;"
        "p.cost('openai', 'gpt-4o', Usage(1), 0.0); print(before, 'genai_prices' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_a_price_of_the_library_is_what_it_was() -> None:
    """A change of the data shows here, so that nobody is surprised by it."""
    found = cost("openai", "gpt-4o", input_tokens=MILLION, output_tokens=MILLION)
    assert found is not None
    assert Decimal(str(found.input)) == Decimal("2.5")
    assert Decimal(str(found.output)) == Decimal("10.0")
