import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.kernels import linear, logistic
from biglambda.kernels.scores import PATHS, choose_logistic_path

paths = st.sampled_from(PATHS)
RELATIVE = {np.float32: 1e-5, np.float64: 1e-12}


def run(rows, target, weights, path, slices=None, exponent=-44, sample_weight=None):
    d = rows.shape[1]
    gradient, loss = np.zeros(d + 1), 0.0
    for part in slices or [slice(0, len(rows))]:
        own, of_rows = np.zeros(d + 1), None if sample_weight is None else sample_weight[part]
        quanta = np.full(d + 2, 2.0**exponent)
        loss += logistic(rows[part], target[part], weights, quanta, own, of_rows, path=path)
        gradient += own
    return loss, gradient


def problem(seed, m, d, dtype, scale=1.0):
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal(d + 1) * scale / np.sqrt(d)).astype(dtype).astype(float)
    return cases.gaussian(seed, m, d, dtype), (rng.random(m) < 0.4).astype(dtype), weights


@settings(max_examples=80, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes, paths, st.sampled_from([0.0, 0.1, 1.0, 5.0]))
def test_loss_and_gradient_agree_with_extended_precision(seed, m, d, dtype, path, scale):
    rows, target, weights = problem(seed, m, d, dtype, scale)
    loss, gradient = run(rows, target, weights, path)
    expected_loss, expected_gradient = naive.logistic(rows, target, weights)
    assert loss == pytest.approx(expected_loss, rel=RELATIVE[dtype], abs=1e-9)
    # The accumulator of a chunk is of the dtype of the rows: relative to the sum of absolute values.
    size = np.append(np.abs(rows).astype(float).sum(axis=0), m)
    assert (np.abs(gradient - expected_gradient) <= RELATIVE[dtype] * size + 1e-12 * m).all()


@settings(max_examples=80, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes, paths, st.sampled_from([0.0, 0.1, 1.0, 5.0]))
def test_weights_of_rows_agree_with_extended_precision(seed, m, d, dtype, path, scale):
    rows, target, weights = problem(seed, m, d, dtype, scale)
    of_rows = (np.random.default_rng(seed).random(m) * 3).astype(dtype)
    loss, gradient = run(rows, target, weights, path, sample_weight=of_rows)
    expected_loss, expected_gradient = naive.logistic(rows, target, weights, of_rows)
    assert loss == pytest.approx(expected_loss, rel=RELATIVE[dtype], abs=1e-9)
    size = np.append(np.abs(rows).astype(float).sum(axis=0), m)
    assert (np.abs(gradient - expected_gradient) <= 3 * RELATIVE[dtype] * size + 1e-12 * m).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_a_row_of_weight_zero_does_not_count_and_one_of_weight_two_counts_twice(path, dtype):
    rows, target, weights = problem(1, 600, 9, dtype)
    of_rows = np.repeat([0, 1, 2], 200).astype(dtype)
    loss, gradient = run(rows, target, weights, path, sample_weight=of_rows)
    repeated = np.repeat(np.arange(600), of_rows.astype(int))
    same_loss, same_gradient = run(rows[repeated], target[repeated], weights, path)
    assert loss == pytest.approx(same_loss, rel=RELATIVE[dtype])
    assert gradient == pytest.approx(same_gradient, abs=RELATIVE[dtype] * 600)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("where", ["model", "row"])
def test_a_weight_that_is_not_a_number_is_seen_in_the_loss(path, dtype, where):
    weights, of_rows = np.zeros(3), np.ones(50, dtype)
    (weights if where == "model" else of_rows)[1] = np.nan
    loss, _ = run(np.ones((50, 2), dtype), np.zeros(50, dtype), weights, path, sample_weight=of_rows)
    assert np.isnan(loss)


@settings(max_examples=40, deadline=None)
@given(cases.seeds, st.sampled_from([1025, 2048, 2049, 3000]), cases.widths, cases.dtypes, paths, st.booleans())
def test_cuts_at_chunks_and_their_order_do_not_change_a_bit(seed, m, d, dtype, path, is_weighted):
    rows, target, weights = problem(seed, m, d, dtype)
    of_rows = np.random.default_rng(seed).random(m).astype(dtype) if is_weighted else None
    loss, gradient = run(rows, target, weights, path, None, -40, of_rows)
    cut_loss, cut_gradient = run(rows, target, weights, path, cases.cuts(seed, m), -40, of_rows)
    assert loss == cut_loss
    assert np.array_equal(gradient, cut_gradient)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("size", [1e-30, 1e-3, 20.0, 40.0, 90.0, 800.0, 1e4])
def test_extreme_margins_are_stable(path, dtype, size):
    rows = np.array([[size], [-size], [size], [-size]] * 300, dtype)
    target = np.array([1, 1, 0, 0] * 300, dtype)
    with np.errstate(all="raise"):
        loss, gradient = run(rows, target, np.array([1.0, 0.0]), path, exponent=-30)
    expected_loss, expected_gradient = naive.logistic(rows, target, np.array([1.0, 0.0]))
    assert loss == pytest.approx(expected_loss, rel=RELATIVE[dtype])
    assert gradient == pytest.approx(expected_gradient, rel=RELATIVE[dtype], abs=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("margin", [10.0, 30.0, 80.0])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_tiny_loss_keeps_its_relative_accuracy(path, dtype, margin, is_weighted):
    rows, target = np.full((2000, 1), margin, dtype), np.ones(2000, dtype)
    of_rows = np.ones(2000, dtype) if is_weighted else None
    loss, _ = run(rows, target, np.array([1.0, 0.0]), path, exponent=-200, sample_weight=of_rows)
    assert loss == pytest.approx(2000 * np.log1p(np.exp(-margin)), rel=RELATIVE[dtype] * 10)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_the_product_of_a_full_chunk_does_not_overflow(path, dtype):
    loss, _ = run(np.zeros((4096, 3), dtype), np.zeros(4096, dtype), np.zeros(4), path, exponent=-30)
    assert loss == pytest.approx(4096 * np.log(2), rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes)
def test_linear_agrees_with_numpy_wherever_the_row_is(seed, m, d, dtype):
    rows, _, weights = problem(seed, m, d, dtype)
    out = np.full(m, np.nan)
    linear(rows, weights, out)
    assert out == pytest.approx(naive.linear(rows, weights), rel=1e-12, abs=1e-12)
    order = np.random.default_rng(seed).permutation(m)
    shuffled = np.empty(m)
    linear(rows[order], weights, shuffled)
    assert np.array_equal(shuffled, out[order])


def test_an_unknown_path_is_refused():
    with pytest.raises(ValueError, match="few_features, many_features"):
        run(np.zeros((1, 1)), np.zeros(1), np.zeros(2), "fast")


@pytest.mark.parametrize(
    ("d", "dtype", "path"),
    [
        (1, np.float32, "few_features"),
        (8, np.float64, "few_features"),
        (31, np.float64, "few_features"),
        (32, np.float64, "many_features"),
        (47, np.float32, "few_features"),
        (48, np.float32, "many_features"),
    ],
)
def test_rows_are_in_lanes_for_few_features(d, dtype, path):
    assert choose_logistic_path(d, dtype) == path
