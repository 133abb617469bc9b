"""The numbers of several workers as one: what counts adds up, and never falls when one dies.

Workers give all of their metrics away on request.  The main process asks for them once a second,
so that little of a worker that dies is lost, and before it answers a scrape, so that nothing of
the others is missing.  Counters and histograms of workers that have ended are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from gateway_sessions import Company

TOPIC = "metrics"
"""What the workers are asked for."""
ASK_SECONDS = 1.0
"""How often they are asked while nobody scrapes: as much is lost of a worker that dies."""

OWN = frozenset(
    {
        "gateway_sessions_build_info",
        "gateway_sessions_start_time_seconds",
        "process_max_fds",
        "process_start_time_seconds",
    }
)
"""Gauges of which the main process's is shown: the same for all, or the start of everything."""
LONGEST = "gateway_sessions_longest_session_messages"
LARGEST = frozenset(
    {LONGEST, "gateway_sessions_interceptor_enabled", "gateway_sessions_sessions_active"}
)
"""Gauges whose sum would mean nothing: a session may be live in several workers.  All others, of
memory or of what waits, add up."""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels."""


class _Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    name: str
    labels: dict[str, str]
    value: float
    example: tuple[dict[str, str], float, float] | None = None
    """Labels, value and unix time of the exemplar."""


class _Family(msgspec.Struct, frozen=True, array_like=True, gc=False):
    name: str
    text: str
    type: str
    samples: list[_Sample]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Family]).decode


def packed(metrics: Iterable[Metric]) -> bytes:
    """Return metrics as bytes, for `Together`."""
    return _encode([_family(metric) for metric in metrics])


def _family(metric: Metric) -> _Family:
    samples = []
    for sample in metric.samples:
        found = sample.exemplar
        example = (
            None
            if found is None
            else (dict(found.labels), found.value, float(found.timestamp or 0))
        )
        samples.append(_Sample(sample.name, sample.labels, sample.value, example))
    return _Family(metric.name, metric.documentation, metric.type, samples)


class _Sum:
    """A metric of several processes."""

    def __init__(self, family: _Family) -> None:
        self.family = family
        self._samples: dict[Key, _Sample] = {}
        self._join = max if family.name in LARGEST else float.__add__

    def add(self, samples: Iterable[_Sample]) -> None:
        """Add the samples of one process."""
        for sample in samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            before = self._samples.get(key)
            if before is None:
                self._samples[key] = sample
                continue
            value = self._join(float(before.value), float(sample.value))
            examples = [each for each in (before.example, sample.example) if each is not None]
            newest = max(examples, key=lambda each: each[2], default=None)
            self._samples[key] = _Sample(sample.name, sample.labels, value, newest)

    def whole(self) -> _Family:
        """Return it as the metric of one process."""
        name, text, kind, _ = msgspec.structs.astuple(self.family)
        return _Family(name, text, kind, list(self._samples.values()))

    def metric(self) -> Metric:
        """Return it for a registry."""
        family = self.family
        metric = Metric(family.name, family.text, family.type)
        for sample in self._samples.values():
            example = None if sample.example is None else Exemplar(*sample.example)
            metric.add_sample(sample.name, sample.labels, sample.value, exemplar=example)
        return metric


class Together(Collector):
    """Collects the metrics of the main process and of all workers that there have been.

    Args:
        own: returns the metrics of this process.
        company: the workers.
    """

    def __init__(self, own: Callable[[], Iterable[Metric]], company: Company) -> None:
        self._own = own
        self._company = company
        self._shares: dict[str, list[_Family]] = {}
        self._ended: dict[str, _Sum] = {}
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask the workers from now on; belongs to the event loop."""
        self._asking = asyncio.get_running_loop().create_task(self._keep_asking())

    def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    async def ask(self) -> None:
        """Get the numbers of all workers as they are now."""
        answers = await self._company.ask(TOPIC)
        alive = self._company.names()
        for name, answer in answers.items():
            # Of one that ended meanwhile, another call may have put everything aside already.
            if name in alive or name in self._shares:
                self._shares[name] = _decode(answer)
        for name in self._shares.keys() - alive:
            _add(self._ended, (f for f in self._shares.pop(name) if _lasts(f)))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, added up."""
        sums: dict[str, _Sum] = {}
        _add(sums, map(_family, self._own()))
        for share in list(self._shares.values()):
            _add(sums, (family for family in share if family.name not in OWN))
        _add(sums, [each.whole() for each in list(self._ended.values())])
        for each in sums.values():
            yield each.metric()

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            await self.ask()


def _add(sums: dict[str, _Sum], families: Iterable[_Family]) -> None:
    for family in families:
        found = sums.get(family.name)
        if found is None:
            found = sums[family.name] = _Sum(family)
        found.add(family.samples)


def _lasts(family: _Family) -> bool:
    """Tell whether a metric of a process still counts after its end."""
    return family.type != "gauge" or family.name == LONGEST
