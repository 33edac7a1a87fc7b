import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import hessian_product, logistic
from biglambda.kernels.scores import PATHS

paths = st.sampled_from(PATHS)
RELATIVE = {np.float32: 1e-5, np.float64: 1e-12}


def run(rows, weights, vector, path=None, sample_weight=None, slices=None, exponent=-44):
    d = rows.shape[1]
    product = np.zeros(d + 1)
    for part in slices or [slice(0, len(rows))]:
        own, of_rows = np.zeros(d + 1), None if sample_weight is None else sample_weight[part]
        hessian_product(rows[part], weights, vector, np.full(d + 1, 2.0**exponent), own, of_rows, path=path)
        product += own
    return product


def problem(seed, m, d, dtype, is_weighted=False, scale=1.0):
    rng = np.random.default_rng(seed)
    weights, vector = (rng.standard_normal((2, d + 1)) * [[scale], [1]] / np.sqrt(d)).astype(dtype).astype(float)
    return cases.gaussian(seed, m, d, dtype), weights, vector, rng.random(m).astype(dtype) if is_weighted else None


@settings(max_examples=80, deadline=None)
@given(
    cases.seeds, cases.row_counts, cases.widths, cases.dtypes, paths, st.booleans(),
    st.sampled_from([0.0, 0.1, 1.0, 5.0]),
)  # fmt: skip
def test_the_product_agrees_with_extended_precision(seed, m, d, dtype, path, is_weighted, scale):
    rows, weights, vector, sample_weight = problem(seed, m, d, dtype, is_weighted, scale)
    product = run(rows, weights, vector, path, sample_weight)
    of_rows = 1 if sample_weight is None else sample_weight
    expected = naive.hessian_product(rows, weights, vector, of_rows)
    extended = np.column_stack([rows, np.ones(m)]).astype(float)
    size = np.abs(extended).T @ (1 + np.abs(extended) @ np.abs(vector))
    assert (np.abs(product - expected) <= RELATIVE[dtype] * size + 1e-12 * m).all()


@settings(max_examples=40, deadline=None)
@given(cases.seeds, st.sampled_from([1025, 2048, 2049, 3000]), cases.widths, cases.dtypes, paths, st.booleans())
def test_cuts_at_chunks_and_their_order_do_not_change_a_bit(seed, m, d, dtype, path, is_weighted):
    rows, weights, vector, sample_weight = problem(seed, m, d, dtype, is_weighted)
    whole = run(rows, weights, vector, path, sample_weight, exponent=-40)
    cut = run(rows, weights, vector, path, sample_weight, cases.cuts(seed, m), exponent=-40)
    assert np.array_equal(whole, cut)


@pytest.mark.parametrize("path", PATHS)
def test_it_is_the_derivative_of_the_gradient_along_the_vector(path):
    rows, weights, vector, sample_weight = problem(3, 500, 6, np.float64, True)
    target, step = np.zeros(500), 1e-5
    sides = np.zeros((2, 7))
    for sign, gradient in zip((-1, 1), sides, strict=True):
        at = weights + sign * step * vector
        logistic(rows, target, at, np.full(8, 2.0**-44), gradient, sample_weight, path=path)
    derivative = (sides[1] - sides[0]) / (2 * step)
    assert run(rows, weights, vector, path, sample_weight) == pytest.approx(derivative, rel=1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("size", [20.0, 80.0, 800.0, 1e4])
def test_rows_far_from_the_boundary_have_no_curvature_and_keep_their_digits(path, dtype, size):
    rows, vector = np.array([[size], [-size]] * 600, dtype), np.array([1 / size, 0.0])
    product = run(rows, np.array([1.0, 0.0]), vector, path, exponent=-400)
    expected = naive.hessian_product(rows, np.array([1.0, 0.0]), vector)
    assert product[0] == pytest.approx(expected[0], rel=RELATIVE[dtype] * 20, abs=1e-30)


def test_an_unknown_path_is_refused():
    with pytest.raises(ValueError, match="few_features, many_features"):
        run(np.zeros((1, 1)), np.zeros(2), np.zeros(2), "fast")
