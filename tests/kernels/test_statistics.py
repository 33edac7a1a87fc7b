import sys
from fractions import Fraction

import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import KERNELS, LIMBS, mean_and_variance, min_distance, quantum, summarize
from biglambda.kernels.accumulator import MOST_ROWS, carry

FARTHEST = {1e3: 1e-13, 1e6: 1e-12, 1e9: 1e-6}  # offsets in units of the spread; allowed error of the variance


def summary(rows, parts=(slice(None),)):
    """(first bad, minimum, maximum, limbs); the first bad value of the last part."""
    d, bad = rows.shape[1], -1
    low, high, limbs = np.full(d, np.inf), np.full(d, -np.inf), np.zeros((LIMBS, 2, d), np.int64)
    for part in parts:
        bad = summarize(rows[part], low, high, limbs)
    return bad, low, high, limbs


def exact(limbs):
    """The sums (2, d) that limbs hold, as fractions."""
    return sum(limbs[i].astype(object) * Fraction(2) ** (32 * i - 1074) for i in range(LIMBS))


def check_moments(rows, limbs, allowed):
    """Compare some features with exact arithmetic."""
    m, d = rows.shape
    means, variances = mean_and_variance(m, limbs)
    for j in {0, d // 3, d - 1}:
        mean, variance = naive.mean_and_variance(rows[:, j].astype(float))
        assert abs(Fraction(variances[j]) - variance) <= Fraction(allowed) * variance
        assert abs(Fraction(means[j]) - mean) <= 1e-15 * (abs(float(mean)) + m**0.5 * float(variance) ** 0.5)


@settings(max_examples=60, deadline=None)
@given(cases.seeds, cases.row_counts.filter(bool), cases.widths, cases.dtypes, st.sampled_from([0.0, 0.5, 1e3]))
def test_a_summary_agrees_with_exact_arithmetic(seed, m, d, dtype, offset):
    rows = cases.gaussian(seed, m, d, dtype, offset)
    bad, low, high, limbs = summary(rows)
    assert bad == -1
    assert np.array_equal(low, rows.min(axis=0))
    assert np.array_equal(high, rows.max(axis=0))
    assert np.abs(limbs).max() < 2**33
    check_moments(rows, limbs, 1e-13)


@pytest.mark.parametrize("d", [1, 3, 16, 70])
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e120])
@pytest.mark.parametrize(("offset", "allowed"), FARTHEST.items())
def test_the_variance_is_accurate_far_from_zero(offset, allowed, scale, d):
    rows = cases.gaussian(d, 3001, d, float, offset) * scale
    check_moments(rows, summary(rows)[3], allowed)
    rows[0] = 0.0  # the first row, about which its chunk is summed, is far from the others
    check_moments(rows, summary(rows)[3], max(allowed, 1e-12))


def test_the_variance_of_float32_is_accurate_far_from_zero():
    rows = cases.gaussian(0, 3001, 5, np.float32, 1e6)
    check_moments(rows, summary(rows)[3], 1e-13)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("m", [1, 17, 1024, 3001])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e16, 1e-30, 2**0.5])
def test_the_variance_of_a_constant_is_zero(value, m, dtype):
    rows = np.full((m, 3), value, dtype)
    mean, variance = mean_and_variance(m, summary(rows)[3])
    assert np.array_equal(mean, rows[0].astype(float))
    assert not variance.any()


@settings(max_examples=60, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes, st.sampled_from([0.0, 30.0, 1e6]))
def test_cuts_and_their_order_change_no_bit_of_a_summary(seed, m, d, dtype, offset):
    rows = cases.gaussian(seed, m, d, dtype, offset) * np.logspace(-9, 9, d).astype(dtype)
    _, low, high, limbs = summary(rows)
    _, own_low, own_high, own_limbs = summary(rows, cases.cuts(seed, m))
    assert np.array_equal(low, own_low)
    assert np.array_equal(high, own_high)
    assert np.array_equal(exact(limbs), exact(own_limbs))
    if m:
        assert np.array_equal(mean_and_variance(m, limbs), mean_and_variance(m, own_limbs))


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("d", [3, 16, 70])
def test_many_rows_are_summarized_in_blocks(monkeypatch, d, dtype):
    rows = cases.gaussian(0, 5001, d, dtype)
    expected = summary(rows)
    monkeypatch.setattr(sys.modules[summarize.__module__], "MOST_ROWS", 2048)
    found = summary(rows)
    for one, wanted in zip(found[:3], expected[:3], strict=True):
        assert np.array_equal(one, wanted)
    assert np.array_equal(exact(found[3]), exact(expected[3]))
    for row in (0, 2047, 2048, 4999, 5000):
        one = rows.copy()
        one[row, 1] = np.nan
        assert summary(one)[0] == row * d + 1


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize(("m", "d"), [(70, 1), (41, 3), (35, 16), (33, 17), (34, 70), (1050, 2)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_summary_finds_what_is_not_finite_in_each_position(m, d, dtype, bad):
    rows = cases.gaussian(1, m, d, dtype)
    for position in range(rows.size):
        kept = rows.flat[position]
        rows.flat[position] = bad
        assert summary(rows)[0] == position == naive.first_bad(rows)
        rows.flat[position] = kept


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_a_summary_reports_the_first_of_several_and_accepts_the_largest_numbers(dtype):
    largest = np.finfo(dtype).max
    rows = np.full((2500, 5), largest, dtype)
    rows[::3] = -largest
    bad, low, high, _ = summary(rows)
    assert (bad, *low, *high) == (-1, *[-largest] * 5, *[largest] * 5)
    rows[2400, 1], rows[1300, 4], rows[1301, 0] = np.nan, np.inf, np.nan
    assert summary(rows)[0] == 1300 * 5 + 4


def test_a_summary_lowers_and_raises_what_is_given():
    low, high, limbs = np.array([-9.0, 9.0]), np.array([0.0, 0.0]), np.zeros((LIMBS, 2, 2), np.int64)
    for _ in range(2):
        assert summarize(np.array([[1.0, 2.0]]), low, high, limbs) == -1
    assert low.tolist() == [-9.0, 2.0]
    assert high.tolist() == [1.0, 2.0]
    assert exact(limbs).tolist() == [[2, 4], [2, 8]]


any_float = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.one_of(st.just(0.0), st.floats(1e-100, 1e100), st.floats(-1e100, -1e-100))  # exact products


@given(st.lists(st.tuples(moderate, moderate, any_float), min_size=1, max_size=20), st.integers(1, 1024))
def test_accumulated_sums_are_exact(chunks, last):
    origins, sums, squares = np.array(chunks).T[:, :, np.newaxis].copy()
    limbs = np.zeros((LIMBS, 2, 1), np.int64)
    KERNELS["accumulate"][np.float64](origins, sums, squares, 1024 * (len(chunks) - 1) + last, limbs)
    counts = [*[1024] * (len(chunks) - 1), last]
    first, second = Fraction(0), Fraction(0)
    for count, (a, b, c) in zip(counts, [map(Fraction, chunk) for chunk in chunks], strict=True):
        first += count * a + b
        second += count * a * a + 2 * a * b + c
    assert exact(limbs).ravel().tolist() == [first, second]
    carry(limbs)
    assert exact(limbs).ravel().tolist() == [first, second]
    assert np.abs(limbs).max() < 2**33


@pytest.mark.parametrize("x", [(1 + 2.0**-52) * 2.0**60, -(2 - 2.0**-52) * 2.0**-71, (2 - 2.0**-26) * 2.0**-5])
def test_a_chunk_leaves_room_for_carries(x):
    limbs = np.zeros((LIMBS, 2, 1), np.int64)
    x = np.full((1, 1), x)
    KERNELS["accumulate"][np.float64](x, x, x, 1024, limbs)
    assert np.abs(limbs).max() < 1024 * 2**34
    assert MOST_ROWS * 2**34 <= 2**62


@settings(max_examples=60, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes)
def test_min_distance_agrees_with_numpy_wherever_the_row_is(seed, m, d, dtype):
    rows, center = cases.gaussian(seed, m, d, dtype, 1e4), cases.gaussian(seed + 1, 1, d, float, 1e4)[0]
    before = np.random.default_rng(seed).random(m) * 4 * d
    distance = before.copy()
    min_distance(rows, center, distance)
    assert distance == pytest.approx(naive.min_distance(rows, center, before), rel=1e-13)
    order = np.random.default_rng(seed).permutation(m)
    shuffled = before[order]
    min_distance(rows[order], center, shuffled)
    assert np.array_equal(shuffled, distance[order])


@given(st.floats(0, 1e300))
def test_a_quantum_is_a_power_of_two_that_makes_sums_exact(bound):
    unit = quantum(bound)
    assert np.frexp(unit)[0] == 0.5
    assert bound <= unit * 2.0**52
    assert unit == np.finfo(float).tiny or bound > unit * 2.0**51


def test_quantum_takes_arrays_and_refuses_what_is_not_finite():
    assert quantum(np.array([0.0, 1.0, 1.5])).tolist() == [np.finfo(float).tiny, 2.0**-52, 2.0**-51]
    for bound in (np.nan, np.inf, -1.0, np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="finite"):
            quantum(bound)
