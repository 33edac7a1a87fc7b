"""Sums of float64 without any rounding: a long accumulator (Kulisch, 2013, chapter 8), in integers.

Every float64 is a whole multiple of 2**-1074, so that a sum of them is an integer.  It is kept as `LIMBS` limbs of
32 bits in int64, which has room for carries: addition is that of integers, and no order of it can change a bit.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from functools import reduce

import numpy as np
from numba import types

from .exact import CHUNK
from .registry import IN, OUT, inline, kernel

LIMB_BITS = 32
LIMB_MASK = 2**LIMB_BITS - 1
LIMBS = 66  # of the largest exponent, infinity's, the mantissa ends in the last but one; that leaves a carry
UNIT_EXPONENT = -1074

MOST_ROWS = 2**28
"""After how many rows `carry` is due: a full chunk adds less than 2**34 to a limb for each of its rows."""


@inline
def deposit(limbs, power, j, x, times):
    """Add x, a whole number of times, to limbs[:, power, j]."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits >> 52) & 0x7FF
    mantissa = bits & (2**52 - 1)
    if exponent > 0:
        mantissa |= 2**52
        exponent -= 1
    if bits < 0:
        mantissa = -mantissa
    limb, shift = exponent >> 5, exponent & 31
    low, high = (mantissa & LIMB_MASK) << shift, (mantissa >> LIMB_BITS) << shift
    limbs[limb, power, j] += (low & LIMB_MASK) * times
    limbs[limb + 1, power, j] += ((low >> LIMB_BITS) + (high & LIMB_MASK)) * times
    limbs[limb + 2, power, j] += (high >> LIMB_BITS) * times


@inline
def halves(x):
    """Two numbers of at most 26 bits with the sum x (Veltkamp, 1968)."""
    big = 134217729.0 * x  # 2**27 + 1
    high = big - (big - x)
    return high, x - high


@inline
def product(x, y):
    """The rounded product and what it lacks, without FMA, which not every CPU has (Dekker, 1971)."""
    (a, b), (c, d) = halves(x), halves(y)
    rounded = x * y
    return rounded, ((a * c - rounded) + a * d + b * c) + b * d


@kernel(
    IN(types.float64, 2), IN(types.float64, 2), IN(types.float64, 2), types.int64, OUT(types.int64, 3),
    dtypes=(np.float64,),
)  # fmt: skip
def accumulate(origins, sums, squares, m, limbs):
    """Add the sums of x and x**2 over m rows, given those of x - origin and its square for each chunk.

    With c rows they are c * origin + sum and c * origin**2 + 2 * origin * sum + square: all products are exact.
    Several columns of sums and squares are of one feature where rows were folded.
    """
    chunks, d = origins.shape
    for i in range(chunks):
        count = min(CHUNK, m - i * CHUNK)
        for j in range(d):
            origin, first, second = origins[i, j], 0.0, 0.0
            for p in range(j, sums.shape[1], d):
                first += sums[i, p]
                second += squares[i, p]
            deposit(limbs, 0, j, first, 1)
            deposit(limbs, 0, j, origin, count)
            deposit(limbs, 1, j, second, 1)
            high, low = product(origin, first)
            deposit(limbs, 1, j, high, 2)
            deposit(limbs, 1, j, low, 2)
            high, low = product(origin, origin)
            deposit(limbs, 1, j, high, count)
            deposit(limbs, 1, j, low, count)


def carry(limbs: np.ndarray) -> None:
    """Bring all limbs but the last below 2**33, in place, so that float64 holds them; their sum stays the same."""
    above = limbs[:-1] >> LIMB_BITS
    limbs[:-1] -= above << LIMB_BITS
    limbs[1:] += above


def used(limbs: np.ndarray) -> slice:
    """The limbs from the first to the last that is not zero, for any feature or power."""
    found = np.flatnonzero(limbs.any(axis=(1, 2)))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def mean_and_variance(n: int, limbs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the sums of n values and of their squares say, computed exactly and rounded once.

    Parameters
    ----------
    n : int
    limbs : ndarray (LIMBS, 2, d)
        Of the sums of x, and of x**2; int64, or float64 that holds them.

    Returns
    -------
    mean, variance : ndarray (d,) of float64
        The variance of the values themselves, not of a sample.
    """
    part = used(limbs)
    exponent = part.start * LIMB_BITS + UNIT_EXPONENT
    up, down = max(exponent, 0), max(-exponent, 0)
    wholes = limbs[part][::-1].astype(np.int64).astype(object)
    zero = np.zeros(limbs.shape[1:], object)
    first, second = reduce(lambda total, limb: (total << LIMB_BITS) + limb, wholes, zero) << up
    mean = first / (n << down)
    variance = np.maximum((n * second << down) - first * first, 0) / (n * n << 2 * down)
    return mean.astype(np.float64), variance.astype(np.float64)
