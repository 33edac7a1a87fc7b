import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import min_distance, moments, quantum, scan


def extremes(rows):
    low, high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
    return scan(rows, low, high), low, high


@settings(max_examples=60, deadline=None)
@given(cases.seeds, cases.row_counts.filter(bool), cases.widths, cases.dtypes)
def test_scan_finds_the_extremes(seed, m, d, dtype):
    rows = cases.gaussian(seed, m, d, dtype, offset=0.5)
    low, high, _ = naive.scan(rows)
    found, own_low, own_high = extremes(rows)
    assert found == -1
    assert np.array_equal(own_low, low)
    assert np.array_equal(own_high, high)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize(("m", "d"), [(70, 1), (41, 3), (35, 16), (33, 17), (34, 70)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scan_finds_what_is_not_finite_in_each_position(m, d, dtype, bad):
    rows = cases.gaussian(1, m, d, dtype)
    for position in range(rows.size):
        kept = rows.flat[position]
        rows.flat[position] = bad
        assert extremes(rows)[0] == position
        rows.flat[position] = kept


def test_scan_reports_the_first_of_several_and_accepts_the_largest_numbers():
    rows = np.full((500, 5), np.finfo(np.float32).max, np.float32)
    assert extremes(rows)[0] == -1
    rows[400, 1], rows[300, 4], rows[301, 0] = np.nan, np.inf, np.nan
    assert extremes(rows)[0] == 300 * 5 + 4


def test_scan_lowers_and_raises_what_is_given():
    low, high = np.array([-9.0, 9.0]), np.array([0.0, 0.0])
    assert scan(np.array([[1.0, 2.0]]), low, high) == -1
    assert low.tolist() == [-9.0, 2.0]
    assert high.tolist() == [1.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes)
def test_moments_agree_with_numpy_and_do_not_depend_on_cuts(seed, m, d, dtype):
    rows, shift = cases.gaussian(seed, m, d, dtype, 30.0), np.random.default_rng(seed).standard_normal(d) + 30
    quanta = quantum(np.repeat([m * 8.0, m * 64.0], d))
    sums = np.zeros(2 * d)
    moments(rows, shift, quanta, sums)
    expected = naive.moments(rows, shift)
    assert np.abs(sums - expected).max() <= 1e-12 * (m + 1)
    total = np.zeros(2 * d)
    for part in cases.cuts(seed, m):
        moments(rows[part], shift, quanta, total)
    assert np.array_equal(sums, total)


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
