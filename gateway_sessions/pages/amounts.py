"""Numbers as people read them: tokens, dollars, times, bytes, shares."""

from __future__ import annotations

UNKNOWN = "–"
"""Stands for what was not recorded, which is not 0."""


def counted(number: int | None) -> str:
    """Return a whole number: ``12,345``."""
    return UNKNOWN if number is None else f"{number:,}"


def short(number: float | None) -> str:
    """Return a number with three digits at most: ``12.3k``, ``4.5M``."""
    if number is None:
        return UNKNOWN
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit * 0.9995:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def dollars(amount: float | None) -> str:
    """Return a cost: two digits after the point, for small ones as many as say something."""
    if amount is None:
        return UNKNOWN
    if amount == 0 or amount >= 0.995:
        return f"${amount:,.2f}"
    if amount >= 0.01:
        return f"${amount:.3f}"
    return f"${amount:.5f}" if amount >= 0.00001 else "<$0.00001"


def round_dollars(amount: float) -> str:
    """Return a cost that is a round number, as on an axis."""
    if 0 < amount < 0.001:
        return f"${amount:.7f}".rstrip("0")
    return f"${short(amount)}"


def milliseconds(time: float | None) -> str:
    """Return a length of time: ``85 ms``, ``1.24 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if time is None:
        return UNKNOWN
    if time < 999.5:
        return f"{time:.0f} ms" if time >= 9.95 else f"{time:.2g} ms"
    if time < 59_950:
        return f"{time / 1e3:.2f} s" if time < 9_995 else f"{time / 1e3:.1f} s"
    seconds = round(time / 1e3)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes / 1440:.1f} days"


def size(number: int | None) -> str:
    """Return a size: ``512 B``, ``1.4 kB``."""
    if number is None:
        return UNKNOWN
    if number < 1000:
        return f"{number} B"
    digits = short(number)
    return f"{digits[:-1]} {digits[-1]}B"


def share(part: float, whole: float) -> str:
    """Return a share: ``12.5%``; unknown of nothing."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    return f"{percent:.1f}%" if 0 < percent < 99.95 else f"{percent:.0f}%"


def plural(number: int, unit: str) -> str:
    """Return a number with its unit: ``1 session``, ``2,000 sessions``."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
