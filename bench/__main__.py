"""The command of ``scripts/bench``."""

from __future__ import annotations

import argparse

from bench import (
    dashboard,
    detection,
    exchanges,
    feed,
    growth,
    hostile,
    logs,
    memory,
    peers,
    recording,
    report,
    sizing,
    soak,
    steady,
    stores,
    streams,
    throughput,
)

PARTS = {
    "dashboard": dashboard.run,
    "detection": detection.run,
    "exchanges": exchanges.run,
    "feed": feed.run,
    "growth": growth.run,
    "hostile": hostile.run,
    "memory": memory.run,
    "logs": logs.run,
    "peers": peers.run,
    "recording": recording.run,
    "sizing": sizing.run,
    "soak": soak.run,
    "steady": steady.run,
    "stores": stores.run,
    "streams": streams.run,
    "throughput": throughput.run,
}


def main() -> None:
    """Measure the parts asked for, print the tables and write them into docs/performance.md."""
    parser = argparse.ArgumentParser("scripts/bench", description=main.__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="what to measure; all")
    parser.add_argument(
        "--quick", action="store_true", help="few, short runs; printed, but not written down"
    )
    options = parser.parse_args()
    for name in options.part or PARTS:
        block = PARTS[name](quick=options.quick)
        print(f"{name}\n\n{block}\n", flush=True)
        if not options.quick:
            report.publish(name, block)


if __name__ == "__main__":
    main()
