import numpy as np
import pytest

from biglambda.kernels import logarithm, simd
from biglambda.kernels.registry import IN, KERNELS, OUT, REAL, kernel


@kernel(IN(REAL, 1), OUT(REAL, 1))
def logarithms_in_lanes(x, out):
    for i in range(0, x.size, simd.lanes(x)):
        simd.store(logarithm.log1p(simd.load(x, i)), out, i)


del KERNELS["logarithms_in_lanes"]  # only the package's own are listed


def run(x):
    out = np.empty_like(x)
    logarithms_in_lanes[x.dtype](x, out)
    return out


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 38), (np.float64, 300)])
@pytest.mark.parametrize("unit", [True, False])
def test_log1p_in_lanes_is_accurate_to_a_unit_and_a_half_in_the_last_place(dtype, largest, unit):
    rng = np.random.default_rng(0)
    x = rng.random(1 << 17) if unit else 10 ** rng.uniform(-largest, largest, 1 << 17)
    out, exact = run(x.astype(dtype)), np.log1p(x.astype(dtype).astype(np.longdouble))
    assert (np.abs(out - exact) / np.spacing(exact.astype(dtype))).max() < 1.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log1p_keeps_zero_tiny_numbers_and_what_is_not_a_number(dtype):
    tiny = np.finfo(dtype).tiny
    out = run(np.array([0.0, tiny, 1e-20, np.nan] * 4, dtype))
    assert out[:3] == pytest.approx(np.array([0.0, tiny, 1e-20], dtype), rel=float(np.finfo(dtype).eps))
    assert np.isnan(out[3::4]).all()
