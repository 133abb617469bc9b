"""What tokens cost: public list prices that ship with a library, and your own.

Nothing here asks the network.  The library matches names of models by rules and calculates in
decimals, which takes longer than all else that is done with an exchange; so what it knows of a
model is looked up once and kept as a handful of factors.  It is imported when the first price is
asked for, since that takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from gateway_sessions.conversation import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

MODELS_KEPT = 1024
"""Models whose prices are at hand; the names come from clients and must not fill the memory."""

_LIBRARY_NAMES = {"gemini": "google", "vertex": "google", "bedrock": "aws"}
"""Our providers that the library calls otherwise."""
_ANYBODY = ("openai", "other")
"""Providers that are only said for the format: everybody speaks it, so the model's name decides."""
_FREE = ("ollama",)
"""Providers whose models run on one's own machines: a public price is none of theirs."""


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model's tokens cost, in US dollars per million.

    Rates that are not given are those of what the tokens are a part of, of input or output.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    """Into a cache that lives an hour."""
    input_audio: float | None = None
    output_audio: float | None = None
    thinking: float | None = None


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What an exchange cost, in US dollars; ``input`` and ``output`` make the total."""

    input: float
    output: float
    thinking: float
    """Part of ``output``."""
    cache: float
    """Part of ``input``: what was read from caches and written into them."""

    @property
    def total(self) -> float:
        """Everything."""
        return self.input + self.output


class Prices:
    """Looks up and multiplies; safe to use from one thread."""

    def __init__(self, own: Mapping[str, Rates] | None = None) -> None:
        """Know the public prices, and before them your own.

        Args:
            own: rates by ``model`` or ``provider/model``, upper or lower case.
        """
        self._own = {name.lower(): rates for name, rates in (own or {}).items()}
        self._known = lru_cache(MODELS_KEPT)(self._look_up)

    def cost(self, provider: str, model: str, usage: Usage, at: float) -> Cost | None:
        """Return what the tokens of an exchange cost; None where nobody knows the model's price.

        Args:
            provider: ``openai``, ``anthropic``, …, as exchanges have it.
            model: as the provider or the client calls it.
            usage: its input includes the cache's, its output what the model thought.
            at: unix time in seconds; some prices change with the date or the hour.
        """
        rates = self._known(provider, model).rates(usage.input_tokens, at)
        return _cost(rates, usage) if rates is not None else None

    def load(self) -> None:
        """Read the public prices, which takes a quarter of a second, before the first exchange."""
        _find("openai", "gpt-4o")

    def _look_up(self, provider: str, model: str) -> _Priced:
        provider, model = provider.lower(), model.lower()
        own = self._own.get(f"{provider}/{model}") or self._own.get(model)
        if own is not None:
            return _Priced([(0, own)])
        found = _find(provider, model) if model and provider not in _FREE else None
        return _Priced([], found)


_Tiers = list[tuple[int, Rates]]
"""Input tokens above which rates hold for all tokens, and the rates; ascending, the first is 0."""


class _Priced:
    """What is known of one model: its rates by size of the input, as they are this minute."""

    __slots__ = ("_minute", "_model", "_tiers")

    def __init__(self, tiers: _Tiers, model: ModelInfo | None = None) -> None:
        self._tiers = tiers
        self._model = model
        self._minute = -1

    def rates(self, input_tokens: int, at: float) -> Rates | None:
        """Return the rates for an input of this size at this time; None if there are none."""
        if self._model is not None and self._minute != at // 60:
            self._minute = int(at // 60)
            prices = self._model.get_prices(datetime.fromtimestamp(self._minute * 60, UTC))
            self._tiers = _tiers(prices)
        tiers = self._tiers
        if not tiers:
            return None
        for start, rates in reversed(tiers):
            if input_tokens > start:
                return rates
        return tiers[0][1]


def _find(provider: str, model: str) -> ModelInfo | None:
    """Return what the library knows of a model."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - it is slow to import

    snapshot = get_snapshot()
    vendor, _, name = model.partition("/")
    tries: list[tuple[str | None, str]] = [(_LIBRARY_NAMES.get(provider, provider), model)]
    if provider in _ANYBODY:
        tries += [(None, model), *([(vendor, name)] if name else [])]
    for known, asked in tries:
        try:
            return snapshot.find_provider_model(asked, None, known, None)[1]
        except LookupError:
            continue
    return None


_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "thinking": "output_reasoning_mtok",
}
"""Our rates by the library's names."""


def _tiers(prices: ModelPrice) -> _Tiers:
    """Return rates from the library's; none for a model that is not paid by text tokens."""
    found: dict[str, Any] = {
        ours: price
        for ours, theirs in _FIELDS.items()
        if (price := prices.__dict__.get(theirs)) is not None
    }
    if "input" not in found or "output" not in found:
        return []
    starts = {0}
    for price in found.values():
        starts.update(tier.start for tier in getattr(price, "tiers", ()))
    return [
        (start, Rates(**{name: _rate(price, start) for name, price in found.items()}))
        for start in sorted(starts)
    ]


def _rate(price: Any, start: int) -> float:
    """Return a price as it is for inputs above a number of tokens."""
    if not hasattr(price, "tiers"):
        return float(price)
    chosen = price.base
    for tier in price.tiers:
        if tier.start <= start and start:
            chosen = tier.price
    return float(chosen)


_MILLION = 1e-6


def _cost(rates: Rates, usage: Usage) -> Cost:
    """Multiply.  Each token is paid once, at the rate of the smallest part that has one."""
    read = usage.cache_read_tokens
    hour = usage.cache_creation_1h_tokens if rates.cache_write_1h is not None else 0
    written = usage.cache_creation_tokens - hour
    read_rate = rates.input if rates.cache_read is None else rates.cache_read
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    cache = read * read_rate + written * write_rate + hour * (rates.cache_write_1h or 0.0)
    heard = usage.audio_input_tokens if rates.input_audio is not None else 0
    plain = max(0, usage.input_tokens - read - written - hour - heard)
    spoken = usage.audio_output_tokens if rates.output_audio is not None else 0
    thought = usage.reasoning_tokens
    thinking_rate = rates.output if rates.thinking is None else rates.thinking
    thinking = thought * thinking_rate
    said = max(0, usage.output_tokens - thought - spoken)
    return Cost(
        input=(plain * rates.input + heard * (rates.input_audio or 0.0) + cache) * _MILLION,
        output=(said * rates.output + spoken * (rates.output_audio or 0.0) + thinking) * _MILLION,
        thinking=thinking * _MILLION,
        cache=cache * _MILLION,
    )
