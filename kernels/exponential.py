"""exp for Vecs: range reduction by log 2 in two parts, then a polynomial (Cephes, Taylor for float64)."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from typing import Any

from numba import types
from numba.extending import overload

from .registry import inline
from .simd import Vec, bits, fma, from_bits, maximum, minimum


@inline
def _exp32(x):
    x = minimum(maximum(x, -87.33654), 88.37626)
    t = fma(x, 1.4426950408889634, 12582912.0)  # the low bits of t hold round(x / log 2)
    n = t - 12582912.0
    r = fma(n, 2.12194440e-4, fma(n, -0.693359375, x))
    p = fma(fma(1.9875691500e-4, r, 1.3981999507e-3), r, 8.3334519073e-3)
    p = fma(fma(fma(p, r, 4.1665795894e-2), r, 1.6666665459e-1), r, 5.0000001201e-1)
    return (fma(p, r * r, r) + 1.0) * from_bits((bits(t) + 127) << 23)


@inline
def _exp64(x):
    x = minimum(maximum(x, -708.0), 709.0)
    t = fma(x, 1.4426950408889634, 6755399441055744.0)
    n = t - 6755399441055744.0
    r = fma(n, -1.90821492927058770002e-10, fma(n, -0.693147180369123816490, x))
    p = fma(fma(1.6059043836821613e-10, r, 2.0876756987868100e-09), r, 2.5052108385441720e-08)
    p = fma(fma(fma(p, r, 2.7557319223985893e-07), r, 2.7557319223985888e-06), r, 2.4801587301587302e-05)
    p = fma(fma(fma(p, r, 1.9841269841269841e-04), r, 1.3888888888888889e-03), r, 8.3333333333333333e-03)
    p = fma(fma(fma(p, r, 4.1666666666666664e-02), r, 1.6666666666666666e-01), r, 0.5)
    return (fma(p, r * r, r) + 1.0) * from_bits((bits(t) + 1023) << 52)


def exp(x: Any) -> Any:
    """e**x of a Vec, to about 1 ulp; overflow and underflow saturate."""
    raise TypeError("exp of a Vec exists in compiled kernels only")


@overload(exp, jit_options={"fastmath": False, "forceinline": True})
def _exp(x):
    if isinstance(x, Vec):
        return (lambda x: _exp32(x)) if x.dtype == types.float32 else (lambda x: _exp64(x))
    return None
