import itertools

import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import race
from biglambda.kernels.registry import IN, OUT, kernel


@settings(max_examples=60, deadline=None)
@given(cases.seeds, st.integers(1, 400), st.integers(-(2**70), 2**70), st.integers(0, 100), st.integers(0, 10**9))
def test_the_race_agrees_with_python(seed, m, race_seed, round_number, first):
    distance = np.random.default_rng(seed).random(m) * 10 ** np.random.default_rng(seed).uniform(-5, 5)
    key, row = race(distance, first, race_seed, round_number)
    expected_key, expected_row = naive.race(distance, first, race_seed, round_number)
    assert row == expected_row
    assert key == pytest.approx(expected_key, rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(cases.seeds, st.lists(st.integers(0, 3000), max_size=6))
def test_the_winner_does_not_depend_on_the_split(seed, bounds):
    rng = np.random.default_rng(seed)
    distance = rng.random(3000) * (rng.random(3000) < 0.5)
    bounds = [0, *sorted(bounds), 3000]
    parts = [race(distance[low:high], low, seed, 3) for low, high in itertools.pairwise(bounds)]
    assert min(parts) == race(distance, 0, seed, 3)


def test_rows_are_drawn_in_proportion_to_their_distances():
    distance = np.array([1.0, 2.0, 0.0, 3.0, 4.0, 0.5])
    draws = 30_000
    rows = [race(distance, 17, 5, round_number)[1] - 17 for round_number in range(draws // 2)]
    rows += [race(distance, 17, seed, 5)[1] - 17 for seed in range(draws // 2)]
    observed, expected = np.bincount(rows, minlength=6), draws * distance / distance.sum()
    assert observed[2] == 0
    chosen = expected > 0
    chi_square = (np.square(observed - expected)[chosen] / expected[chosen]).sum()
    assert chi_square < 20.5  # 4 degrees of freedom, probability 0.0004; the draws are the same on each run


def test_rows_without_distance_never_win():
    assert race(np.zeros(100), 0, 1, 2) == (np.inf, -1)
    assert race(np.zeros(0), 0, 1, 2) == (np.inf, -1)
    distance = np.zeros(100)
    distance[40] = 1e-300
    assert race(distance, 1000, 1, 2)[1] == 1040


def test_the_logarithm_is_accurate():
    import numba

    from biglambda.kernels import logarithm
    from biglambda.kernels.registry import KERNELS

    @kernel(IN(numba.types.float64, 1), OUT(numba.types.float64, 2), dtypes=(np.float64,))
    def logarithms(x, out):
        for i in range(x.size):
            out[0, i] = logarithm.log(x[i])
            out[1, i] = logarithm.log1p(x[i])

    del KERNELS["logarithms"]
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [10 ** rng.uniform(-300, 300, 20_000), rng.uniform(0.5, 2, 20_000), [1.0, 2.0**-53, 2.0**128]]
    )
    out = np.empty((2, x.size))
    logarithms[np.float64](x, out)
    for own, exact in ((out[0], np.log(x.astype(np.longdouble))), (out[1], np.log1p(x.astype(np.longdouble)))):
        error = np.abs(own - exact) / np.spacing(np.maximum(np.abs(exact), 1e-320).astype(float))
        assert error.max() < 2.5
