"""A natural logarithm with the same bits everywhere; the C library's differs between versions and CPUs."""

# mypy: allow-untyped-defs, allow-incomplete-defs

import math

from .registry import inline

LOG_2_HIGH, LOG_2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
ROOT_HALF = 0.7071067811865476


@inline
def log(x):
    """Natural logarithm of a positive, finite float64 f * 2**e, to about 1 ulp, by 2 atanh((f - 1)/(f + 1))."""
    f, e = math.frexp(x)
    if f < ROOT_HALF:
        f, e = f * 2.0, e - 1
    s = (f - 1.0) / (f + 1.0)
    z = s * s
    series = 0.0
    for k in range(10, 0, -1):
        series = (series + 1.0 / (2 * k + 1)) * z
    return e * LOG_2_HIGH + (2.0 * s + (2.0 * s * series + e * LOG_2_LOW))


@inline
def log1p(x):
    """Logarithm of 1 + x for a finite float64 x >= 0."""
    u = 1.0 + x
    return log(u) + (x - (u - 1.0)) / u
