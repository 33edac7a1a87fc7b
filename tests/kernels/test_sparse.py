import os
import subprocess
import sys
from pathlib import Path

import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_instruction_sets import cpu_flags

from biglambda.kernels import check_csr, extent_csr, logistic_csr, quantum, softmax_csr

RELATIVE = 1e-12
class_counts = st.sampled_from([1, 2, 3, 7, 8, 9, 10, 16, 17])


def csr(seed, m, d, dtype, longest=40):
    """Rows of 0 to `longest` values, their features in any order and some of them twice."""
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, longest + 1, m))]).astype(np.int64)
    indices = rng.integers(0, d, indptr[-1]).astype(np.int32)
    data = (rng.standard_normal(indptr[-1]) * 10.0 ** rng.integers(-3, 4, d)[indices]).astype(dtype)
    return data, indices, indptr


def problem(seed, rows, d, classes=None):
    """(target, weights): margins are of a few units; the weights of logistic have values of the rows' dtype."""
    rng, m = np.random.default_rng(seed), len(rows[2]) - 1
    size = 1 / np.maximum(1, np.append(np.abs(naive.dense(*rows, d)).max(axis=0, initial=0.0), 1))
    if classes is None:
        weights = (rng.standard_normal(d + 1) * size).astype(rows[0].dtype)
        return (rng.random(m) < 0.4).astype(rows[0].dtype), weights.astype(np.float64)
    return rng.integers(0, classes, m).astype(np.int32), rng.standard_normal((classes, d + 1)) * size


def quanta_of(rows, d, heaviest=1.0):
    data, indices, indptr = rows
    largest, counts = np.zeros(d), np.zeros(d, np.int64)
    extent_csr(data, indices, largest, counts)
    m = len(indptr)
    return quantum(heaviest * np.concatenate([largest * counts, [m, 1e4 * m]]))


def run(function, rows, target, weights, quanta, sample_weight=None, slices=None):
    data, indices, indptr = rows
    gradient, loss = np.zeros_like(weights), 0.0
    for part in slices or [slice(0, len(target))]:
        own = np.zeros_like(weights)
        of_part = indptr[part.start : part.stop + 1]
        part_weight = None if sample_weight is None else sample_weight[part]
        loss += function(data, indices, of_part, target[part], weights, quanta, own, part_weight)
        gradient += own
    return loss, gradient


def assert_close(rows, d, found, expected, quanta, heaviest=1.0):
    """Relative to the sum of absolute values, and to what is lost by rounding each term to four quanta."""
    (loss, gradient), (expected_loss, expected_gradient) = found, expected
    matrix = np.abs(naive.dense(*rows, d))
    counts = np.bincount(rows[1], minlength=d)
    size = np.append(matrix.sum(axis=0), len(matrix)) * heaviest
    rounding = 2 * np.append(counts, len(matrix) / 1024 + 1) * quanta[: d + 1]
    assert (np.abs(gradient - expected_gradient) <= RELATIVE * size + rounding).all()
    assert loss == pytest.approx(expected_loss, rel=RELATIVE, abs=1e-11 * heaviest * (len(matrix) + 1))


@settings(max_examples=80, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes, st.booleans())
def test_logistic_agrees_with_extended_precision(seed, m, d, dtype, weighted):
    rows = csr(seed, m, d, dtype)
    target, weights = problem(seed, rows, d)
    sample_weight = np.random.default_rng(seed).uniform(0, 9, m).astype(dtype) if weighted else None
    quanta = quanta_of(rows, d, 9.0)
    found = run(logistic_csr, rows, target, weights, quanta, sample_weight)
    expected = naive.logistic(
        naive.dense(*rows, d), target, weights, 1 if sample_weight is None else sample_weight
    )
    assert_close(rows, d, found, expected, quanta, 9.0)


@settings(max_examples=80, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, class_counts, cases.dtypes, st.booleans())
def test_softmax_agrees_with_extended_precision(seed, m, d, classes, dtype, weighted):
    rows = csr(seed, m, d, dtype)
    target, weights = problem(seed, rows, d, classes)
    sample_weight = np.random.default_rng(seed).uniform(0, 9, m).astype(dtype) if weighted else None
    quanta = quanta_of(rows, d, 9.0)
    found = run(softmax_csr, rows, target, weights, quanta, sample_weight)
    expected = naive.softmax(naive.dense(*rows, d), target, weights, 1 if sample_weight is None else sample_weight)
    assert_close(rows, d, found, expected, quanta, 9.0)


@settings(max_examples=40, deadline=None)
@given(cases.seeds, st.sampled_from([1025, 2049, 3000]), cases.widths, cases.dtypes, st.booleans(), st.booleans())
def test_cuts_at_chunks_and_their_order_do_not_change_a_bit(seed, m, d, dtype, softmax, weighted):
    rows = csr(seed, m, d, dtype, 12)
    target, weights = problem(seed, rows, d, 3 if softmax else None)
    function = softmax_csr if softmax else logistic_csr
    sample_weight = np.random.default_rng(seed).uniform(0, 9, m).astype(dtype) if weighted else None
    quanta = quanta_of(rows, d, 9.0)
    loss, gradient = run(function, rows, target, weights, quanta, sample_weight)
    cut_loss, cut_gradient = run(function, rows, target, weights, quanta, sample_weight, cases.cuts(seed, m))
    assert loss == cut_loss
    assert np.array_equal(gradient, cut_gradient)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("row_length", [1, 16, 17])
@pytest.mark.parametrize("function", [logistic_csr, softmax_csr])
def test_terms_half_way_between_two_multiples_are_rounded_alike_in_any_order(function, row_length, dtype):
    # Weights of zero make every residual a half: a term of 1, 3, ... is half way, and 2, 6, ... are odd units.
    rng, quanta = np.random.default_rng(0), np.full(4, 2.0**-20)
    size = 4096 * row_length
    data = (rng.choice([1, 3, 5, -7, 2, 6, -10], size) * 4 * quanta[0]).astype(dtype)
    indices, indptr = rng.integers(0, 2, size).astype(np.int32), np.arange(0, size + 1, row_length)
    softmax = function is softmax_csr
    weights = np.zeros((2, 3) if softmax else 3)
    target = np.zeros(4096, np.int32 if softmax else dtype)
    _, whole = run(function, (data, indices, indptr), target, weights, quanta)
    backwards = [slice(start, start + 1024) for start in (3072, 1024, 0, 2048)]
    _, cut = run(function, (data, indices, indptr), target, weights, quanta, slices=backwards)
    assert np.array_equal(whole, cut)
    _, reverse = run(function, (data[::-1].copy(), indices[::-1].copy(), indptr), target, weights, quanta)
    assert np.array_equal(whole, reverse)
    expected = np.bincount(indices, data / 2)
    assert np.atleast_2d(whole)[-1, :2] == pytest.approx(expected, abs=size * 2 * quanta[0])


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("size", [1e-30, 1e-3, 40.0, 90.0, 800.0, 1e4])
def test_extreme_margins_are_stable(dtype, size):
    data = np.array([size, -size, size, -size] * 300, dtype)
    rows = data, np.zeros(1200, np.int32), np.arange(1201)
    target = np.array([1, 1, 0, 0] * 300)
    quanta = np.full(3, 2.0**-30)
    matrix, weights = data[:, None], np.array([1.0, 0.0])
    found = run(logistic_csr, rows, target.astype(dtype), weights, quanta)
    assert_close(rows, 1, found, naive.logistic(matrix, target, weights), quanta)
    found = run(softmax_csr, rows, target.astype(np.int32), np.stack([-weights, weights]), quanta)
    expected = naive.softmax(matrix, target, np.stack([-weights, weights]))
    assert_close(rows, 1, found, expected, quanta)


def test_two_classes_are_the_logistic_model():
    rows = csr(1, 2000, 30, np.float64)
    target, weights = problem(1, rows, 30)
    quanta = quanta_of(rows, 30)
    loss, gradient = run(logistic_csr, rows, target, weights, quanta)
    both = run(softmax_csr, rows, target.astype(np.int32), np.stack([0 * weights, weights]), quanta)
    assert both[0] == pytest.approx(loss, rel=1e-12)
    assert both[1] == pytest.approx(np.stack([-gradient, gradient]), rel=1e-9, abs=1e-6)


def test_weights_of_one_are_no_weights():
    rows = csr(2, 1500, 30, np.float32)
    for function, classes in ((logistic_csr, None), (softmax_csr, 4)):
        target, weights = problem(2, rows, 30, classes)
        quanta = quanta_of(rows, 30)
        loss, gradient = run(function, rows, target, weights, quanta)
        weighted_loss, weighted = run(function, rows, target, weights, quanta, np.ones(1500, np.float32))
        assert np.array_equal(weighted, gradient)
        assert weighted_loss == pytest.approx(loss, rel=1e-13)


# ---- what the kernels trust ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cases.seeds, st.integers(1, 200), cases.widths, cases.dtypes, st.integers(0, 3))
def test_the_first_bad_row_is_named(seed, m, d, dtype, fault):
    data, indices, indptr = csr(seed, m, d, dtype)
    check_csr(data, indices, indptr, d)
    check_csr(data, indices, indptr.astype(np.int32), d)
    if not data.size:
        return
    places = np.sort(np.random.default_rng(seed).integers(0, data.size, 2))
    row = int(np.searchsorted(indptr, places[0], "right")) - 1
    if fault < 2:
        indices[places] = (-1, d)[fault]
        expected = f"row {row} has a value for feature {(-1, d)[fault]}; features are 0 to {d - 1}"
    else:
        data[places] = (np.nan, -np.inf)[fault - 2]
        expected = f"row {row} has {data[places[0]]} for feature {indices[places[0]]}"
    with pytest.raises(ValueError, match=expected):
        check_csr(data, indices, indptr, d)


def test_indptr_that_does_not_fit_is_refused():
    data, indices = np.ones(3), np.zeros(3, np.int32)
    for indptr, message in (
        ([1, 2, 3], "must start with 0"),
        ([], "must start with 0"),
        ([0, 2, 1, 3], "falls from 2 to 1 at row 1"),
        ([0, 2], "3 indices and 3 values"),
        ([0, 4], "ends with 4"),
    ):
        with pytest.raises(ValueError, match=message):
            check_csr(data, indices, np.array(indptr, np.int64), 1)


def test_arrays_of_another_kind_are_refused_with_advice():
    data, indices, indptr = np.ones(2), np.zeros(2, np.int32), np.array([0, 2])
    with pytest.raises(TypeError, match="indices of CSR rows are int64; allowed is int32: convert"):
        check_csr(data, indices.astype(np.int64), indptr, 1)
    with pytest.raises(TypeError, match="data of CSR rows are float16; allowed is float32 or float64"):
        check_csr(data.astype(np.float16), indices, indptr, 1)
    with pytest.raises(ValueError, match="contiguous"):
        check_csr(np.ones(4)[::2], indices, indptr, 1)


@settings(max_examples=30, deadline=None)
@given(cases.seeds, cases.row_counts, cases.widths, cases.dtypes)
def test_extent_counts_the_values_of_each_feature_and_finds_the_largest(seed, m, d, dtype):
    data, indices, _ = csr(seed, m, d, dtype)
    largest, counts = np.zeros(d), np.zeros(d, np.int64)
    half = data.size // 2
    for part in (slice(half), slice(half, None)):
        extent_csr(data[part], indices[part], largest, counts)
    assert np.array_equal(counts, np.bincount(indices, minlength=d))
    expected = np.zeros(d)
    np.maximum.at(expected, indices, np.abs(data))
    assert np.array_equal(largest, expected)


# ---- memory and instruction sets -----------------------------------------------------------------

DIGEST = """
import hashlib, sys
sys.path.insert(0, {here!r})
from test_sparse import *
digest = hashlib.sha256()
for dtype in cases.DTYPES:
    for d, classes in ((20, None), (100, 3), (100, 10)):
        rows = csr(1, 2500, d, dtype)
        target, weights = problem(1, rows, d, classes)
        function = logistic_csr if classes is None else softmax_csr
        for sample_weight in (None, np.linspace(0, 2, 2500).astype(dtype)):
            loss, gradient = run(function, rows, target, weights, quanta_of(rows, d, 2.0), sample_weight)
            digest.update(np.float64(loss).tobytes() + gradient.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(not {"avx512vl", "fma"} <= cpu_flags(), reason="needs a CPU with AVX-512")
def test_avx2_and_avx512_give_the_same_bits():
    code = DIGEST.format(here=str(Path(__file__).parent))
    digests = set()
    for name, features in (("x86-64-v3", ""), ("x86-64-v4", "-prefer-256-bit")):
        env = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
