import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import logistic, softmax

RELATIVE = {np.float32: 1e-5, np.float64: 1e-12}
class_counts = st.one_of(st.integers(2, 14), st.sampled_from([18, 23, 64]))
weighted = st.booleans()


def run(rows, target, weights, sample_weight=None, slices=None, exponent=-44):
    d, gradient, loss = rows.shape[1], np.zeros(weights.shape), 0.0
    for part in slices or [slice(0, len(rows))]:
        own, of_rows = np.zeros(weights.shape), None if sample_weight is None else sample_weight[part]
        loss += softmax(rows[part], target[part], weights, np.full(d + 2, 2.0**exponent), own, of_rows)
        gradient += own
    return loss, gradient


def problem(seed, m, d, classes, dtype, is_weighted=False, scale=1.0):
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal((classes, d + 1)) * scale / np.sqrt(d)).astype(dtype).astype(float)
    target = rng.integers(0, classes, m).astype(np.int32)
    return cases.gaussian(seed, m, d, dtype), target, weights, rng.random(m).astype(dtype) if is_weighted else None


@settings(max_examples=80, deadline=None)
@given(
    cases.seeds, cases.row_counts, cases.widths, class_counts, cases.dtypes, weighted,
    st.sampled_from([0.0, 0.1, 1.0, 5.0]),
)  # fmt: skip
def test_loss_and_gradient_agree_with_extended_precision(seed, m, d, classes, dtype, is_weighted, scale):
    rows, target, weights, sample_weight = problem(seed, m, d, classes, dtype, is_weighted, scale)
    loss, gradient = run(rows, target, weights, sample_weight)
    of_rows = np.ones(m) if sample_weight is None else sample_weight.astype(float)
    expected_loss, expected_gradient = naive.softmax(rows, target, weights, of_rows)
    # Scores are of the dtype of the rows: their rounding errors are relative to the largest.
    assert loss == pytest.approx(expected_loss, rel=RELATIVE[dtype], abs=RELATIVE[dtype] * 1e-1 * (m + 1))
    size = np.append(np.abs(rows).astype(float).sum(axis=0), m)
    assert (np.abs(gradient - expected_gradient) <= RELATIVE[dtype] * size + 1e-12 * m).all()


@settings(max_examples=40, deadline=None)
@given(cases.seeds, st.sampled_from([1025, 2048, 2049, 3000]), cases.widths, class_counts, cases.dtypes, weighted)
def test_cuts_at_chunks_and_their_order_do_not_change_a_bit(seed, m, d, classes, dtype, is_weighted):
    rows, target, weights, sample_weight = problem(seed, m, d, classes, dtype, is_weighted)
    loss, gradient = run(rows, target, weights, sample_weight, exponent=-40)
    cut_loss, cut_gradient = run(rows, target, weights, sample_weight, cases.cuts(seed, m), exponent=-40)
    assert loss == cut_loss
    assert np.array_equal(gradient, cut_gradient)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("m", [1, 31, 1024, 3001])
def test_two_classes_are_logistic_regression(dtype, m):
    rows, target, weights, sample_weight = problem(5, m, 7, 2, dtype, True)
    loss, gradient = run(rows, target, weights, sample_weight)
    single = np.zeros(8)
    expected = logistic(
        rows, target.astype(dtype), weights[1] - weights[0], np.full(9, 2.0**-44), single, sample_weight
    )
    assert loss == pytest.approx(expected, rel=RELATIVE[dtype])
    assert gradient == pytest.approx(np.stack([-single, single]), abs=RELATIVE[dtype] * m)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("size", [1e-30, 1e-3, 20.0, 90.0, 800.0, 1e4])
def test_extreme_scores_are_stable(dtype, size):
    rows = np.array([[size], [-size], [0.0]] * 400, dtype)
    target = np.array([0, 1, 2, 2, 1, 0] * 200, np.int32)
    weights = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    loss, gradient = run(rows, target, weights, exponent=-30)
    expected_loss, expected_gradient = naive.softmax(rows, target, weights)
    assert loss == pytest.approx(expected_loss, rel=RELATIVE[dtype])
    assert gradient == pytest.approx(expected_gradient, rel=RELATIVE[dtype], abs=RELATIVE[dtype] * 400 + 2.0**-29)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("margin", [10.0, 30.0, 80.0])
def test_a_tiny_loss_keeps_its_relative_accuracy(dtype, margin):
    rows, target = np.full((2000, 1), margin, dtype), np.ones(2000, np.int32)
    weights = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    loss, _ = run(rows, target, weights, exponent=-200)
    assert loss == pytest.approx(2000 * np.log1p(2 * np.exp(-margin)), rel=RELATIVE[dtype] * 10)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_equal_scores_share_alike(dtype):
    loss, gradient = run(np.ones((1500, 2), dtype), np.zeros(1500, np.int32), np.zeros((5, 3)))
    assert loss == pytest.approx(1500 * np.log(5), rel=1e-6)
    assert gradient == pytest.approx(np.outer([-0.8, 0.2, 0.2, 0.2, 0.2], np.full(3, 1500.0)), rel=1e-5)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_weight_that_is_not_a_number_is_seen_in_the_loss(dtype, position):
    weights = np.zeros((3, 2))
    weights[position, 1] = np.nan
    loss, _ = run(np.ones((10, 1), dtype), np.zeros(10, np.int32), weights)
    assert np.isnan(loss)


@pytest.mark.parametrize("bad", [-1, 3])
def test_a_class_out_of_range_is_refused(bad):
    target = np.array([0, bad, 2], np.int32)
    with pytest.raises(ValueError, match="allowed are 0 to 2"):
        run(np.zeros((3, 1)), target, np.zeros((3, 2)))
