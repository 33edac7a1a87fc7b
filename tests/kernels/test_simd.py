import numpy as np
import pytest
from numba import types

from biglambda.kernels import exponential, simd
from biglambda.kernels.registry import IN, KERNELS, OUT, REAL, kernel


@kernel(IN(REAL, 1), OUT(REAL, 1))
def exponentials(x, out):
    for i in range(0, x.size, simd.lanes(x)):
        simd.store(exponential.exp(simd.load(x, i)), out, i)


@kernel(IN(REAL, 2), OUT(REAL, 2), types.int64)
def dealt(x, out, n):
    if n == 1:
        simd.store(simd.columns(1, x, 0), out, 0, 0)
    elif n == 2:
        simd.store(simd.columns(2, x, 0), out, 0, 0)
    elif n == 3:
        simd.store(simd.columns(3, x, 0), out, 0, 0)
    elif n == 4:
        simd.store(simd.columns(4, x, 0), out, 0, 0)
    elif n == 5:
        simd.store(simd.columns(5, x, 0), out, 0, 0)
    elif n == 8:
        simd.store(simd.columns(8, x, 0), out, 0, 0)


for _name in ("exponentials", "dealt"):
    del KERNELS[_name]  # only the package's own are listed


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.float32, -87.3, 88.3), (np.float64, -708, 709)])
def test_exp_is_accurate_to_two_units_in_the_last_place(dtype, low, high):
    x = np.linspace(low, high, 1 << 16).astype(dtype)
    out = np.empty_like(x)
    exponentials[dtype](x, out)
    exact = np.exp(x.astype(np.longdouble))
    assert (np.abs(out - exact) / np.spacing(exact.astype(dtype))).max() < 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_saturates(dtype):
    x = np.array([1e30, -1e30, np.inf, -np.inf] * 4, dtype)
    out = np.empty_like(x)
    exponentials[dtype](x, out)
    assert np.isfinite(out).all()
    assert (out[::2] > 1e38).all()
    assert (out[1::2] < 2e-38).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_columns_deals_out_rows(n, dtype):
    lanes = simd.REGISTER_BYTES // np.dtype(dtype).itemsize
    x = np.arange(lanes * n, dtype=dtype).reshape(lanes, n)
    out = np.empty((n, lanes), dtype)
    dealt[dtype](x, out, n)
    assert np.array_equal(out, x.T)
