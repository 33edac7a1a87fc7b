"""Measurements as text."""

from __future__ import annotations

from collections.abc import Sequence

from .measure import FMA, OURS, READ, Measurement
from .timing import quartiles


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, the first one flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


DETAILS = ("", "ms", "quartiles", "GFLOP/s", "% of FMA", "GB/s", "% of read", "times ours")


def details(one: Measurement) -> str:
    """A measurement, with a line for each contender."""
    title = f"{one.kernel}, {one.shape}, {one.dtype}, {one.threads} thread" + "s" * (one.threads > 1)
    rows = [list(DETAILS)]
    for name, values in one.seconds.items():
        low, middle, high = quartiles(values)
        rows.append([
            name, f"{1e3 * middle:.3g}", f"{1e3 * low:.3g} to {1e3 * high:.3g}",
            f"{one.flops / middle / 1e9:.3g}", f"{100 * one.share(FMA, name):.0f}",
            f"{one.bytes / middle / 1e9:.3g}", f"{100 * one.share(READ, name):.0f}",
            "" if name == OURS else ratio_text(one, name),
        ])  # fmt: skip
    lines = [title, aligned_table(rows), *(f"{name}: {reason}" for name, reason in one.absent.items())]
    return "\n".join(lines)


def ratio_header(rivals: Sequence[str]) -> list[str]:
    """Of `ratio_row`."""
    return ["shape", "dtype", "threads", "ms", "% of FMA", "% of read", *(f"{name} / ours" for name in rivals)]


def ratio_text(one: Measurement, name: str) -> str:
    """How many times as long a rival took; with ~ where the rounds disagree, - where it did not take part."""
    if name not in one.seconds:
        return "-"
    return ("" if one.is_certain(name) and one.is_certain(OURS) else "~") + f"{one.ratio(name):.2f}"


def ratio_row(one: Measurement, rivals: Sequence[str]) -> list[str]:
    """A measurement in one line: our time, and how many times as long each rival took."""
    ratios = [ratio_text(one, name) for name in rivals]
    return [
        str(one.shape), one.dtype, str(one.threads), f"{1e3 * one.median(OURS):.2f}",
        f"{100 * one.share(FMA):.0f}", f"{100 * one.share(READ):.0f}", *ratios,
    ]  # fmt: skip


def smallest_ratio(measurements: Sequence[Measurement], but: Sequence[str] = ("NumPy",)) -> str:
    """Where we are least ahead, in words."""
    worst = min(
        ((one.ratio(name), name, one) for one in measurements for name in one.seconds if name not in (OURS, *but)),
        key=lambda found: found[0],
        default=None,
    )
    if worst is None:
        return "no rival was measured"
    _, name, one = worst
    return f"smallest ratio {ratio_text(one, name)}: {name}, {one.shape}, {one.dtype}, threads {one.threads}"
