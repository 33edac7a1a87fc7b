"""Natural logarithms with the same bits everywhere; the C library's differ between versions and CPUs."""

# mypy: allow-untyped-defs, allow-incomplete-defs

import math
from typing import Any

from numba import types
from numba.extending import overload

from .registry import inline
from .simd import Vec, bits, fma, from_bits

LOG_2_HIGH, LOG_2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
LOG_2_HIGH_32, LOG_2_LOW_32 = 0.693359375, -2.12194440e-4
ROOT_HALF = 0.7071067811865476
ROOT_HALF_BITS, ROOT_HALF_BITS_32 = 0x3FE6A09E667F3BCD, 0x3F3504F3


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
def _log1p_scalar(x):
    u = 1.0 + x
    return log(u) + (x - (u - 1.0)) / u


# For Vecs 1 + x = (1 + g) * 2**e, where 1 + g is between the roots of 1/2 and 2.  What is lost when 1 is added to
# x is added to g.  With s = g / (2 + g), log(1 + g) = 2 atanh(s) = 2 s + s * series, taken as
# g - (h - s * (h + series)) with h = g**2 / 2, whose rounding errors are small beside g.


@inline
def _log1p32(x):
    u = x + 1.0
    e = (bits(u) - ROOT_HALF_BITS_32) >> 23
    g = fma(x - (u - 1.0), from_bits(0x3F800000 - (e << 23)), from_bits(bits(u) - (e << 23)) - 1.0)
    exponent = from_bits(e + 0x4B000000) - 8388608.0
    s, h = g / (g + 2.0), g * g * 0.5
    z = s * s
    series = z * fma(fma(fma(fma(z, 2 / 11, 2 / 9), z, 2 / 7), z, 2 / 5), z, 2 / 3)
    low = fma(s, h + series, exponent * LOG_2_LOW_32)
    return fma(exponent, LOG_2_HIGH_32, g - (h - low))


@inline
def _log1p64(x):
    u = x + 1.0
    e = (bits(u) - ROOT_HALF_BITS) >> 52
    g = fma(x - (u - 1.0), from_bits(0x3FF0000000000000 - (e << 52)), from_bits(bits(u) - (e << 52)) - 1.0)
    exponent = from_bits(e + 0x4330000000000000) - 4503599627370496.0
    s, h = g / (g + 2.0), g * g * 0.5
    z = s * s
    series = fma(fma(fma(fma(z, 2 / 21, 2 / 19), z, 2 / 17), z, 2 / 15), z, 2 / 13)
    series = z * fma(fma(fma(fma(fma(series, z, 2 / 11), z, 2 / 9), z, 2 / 7), z, 2 / 5), z, 2 / 3)
    low = fma(s, h + series, exponent * LOG_2_LOW)
    return fma(exponent, LOG_2_HIGH, g - (h - low))


def log1p(x: Any) -> Any:
    """Logarithm of 1 + x for x >= 0, a float64 or a Vec, to about 1 ulp; a NaN stays one."""
    raise TypeError("this log1p exists in compiled kernels only")


@overload(log1p, jit_options={"fastmath": False, "forceinline": True})
def _log1p(x):
    if isinstance(x, Vec):
        return (lambda x: _log1p32(x)) if x.dtype == types.float32 else (lambda x: _log1p64(x))
    return (lambda x: _log1p_scalar(x)) if x == types.float64 else None
