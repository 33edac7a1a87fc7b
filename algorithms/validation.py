"""Checks of parameters, made before anything is launched."""

from __future__ import annotations

import math
import secrets
from typing import Any

import numpy as np

from biglambda.runtime.data import Source
from biglambda.runtime.engine import RunOptions
from biglambda.runtime.inner import make_inner
from biglambda.runtime.rows import Rows

from .statistics import check_record, describe_rows


def check_whole(name: str, value: Any, low: int) -> int:
    """``value`` as an int, if it is a whole number from ``low`` on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r}: allowed are whole numbers from {low}")
    if value < low:
        raise ValueError(f"{name}={value}: allowed are whole numbers from {low}")
    return int(value)


def check_number(name: str, value: Any, low: float, above: bool = False) -> float:
    """``value`` as a float, if it is finite and at least ``low``, or above it."""
    allowed = f"allowed are finite numbers {'above' if above else 'from'} {low:g}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}={value!r}: {allowed}")
    if not math.isfinite(value) or value < low or (above and value == low):
        raise ValueError(f"{name}={value}: {allowed}")
    return float(value)


def check_seed(seed: Any) -> int:
    """``seed``, or one drawn from the system."""
    if seed is None:
        return secrets.randbits(63)
    seed = check_whole("seed", seed, low=0)
    if seed >= 2**63:
        raise ValueError(f"seed={seed}: allowed are whole numbers below 2**63")
    return seed


def check_before_launch(source: Source, options: RunOptions) -> None:
    """Refuse NaN, infinity and bad targets before anything is launched, where the client has the rows.

    A run in this process launches nothing, and its first pass refuses the same.
    """
    if options.in_process or not source.in_memory:
        return
    with make_inner() as inner:
        x, y, first = source.read(0, 1, inner.workers).align(None)
        records = inner.map(describe_rows, Rows(x, y, first), ())
    for record in records:
        check_record(record, source.feature_names)
