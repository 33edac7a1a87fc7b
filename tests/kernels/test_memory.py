import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cases
import numpy as np
import pytest

from biglambda.kernels import (
    LIMBS,
    assign,
    check_csr,
    extent_csr,
    hessian_product,
    inertia,
    linear,
    lloyd,
    logistic,
    logistic_csr,
    min_distance,
    pack_centers,
    softmax,
    softmax_csr,
    summarize,
)
from biglambda.kernels.centers import PATHS
from biglambda.kernels.scores import PATHS as LOGISTIC_PATHS


def everything(rows, target, int_out, float_out):
    """Run every driver on the rows in every path; returns all results as one list of arrays."""
    d, results = rows.shape[1], []
    centers = np.linspace(-1, 1, 5 * d).reshape(5, d)
    for path in PATHS:
        packed = pack_centers(centers, np.full(d, 0.1), rows.dtype, path)
        totals, counts = np.zeros((5, d)), np.zeros(5)
        int_out[:] = 0
        lloyd(rows, packed, np.full(d + 3, 2.0**-30), int_out, totals, counts)
        results += [int_out.copy(), totals, counts]
        assign(rows, packed, int_out)
    results.append(np.array(inertia(rows, centers, int_out, np.full(2, 2.0**-30))))
    low, high, limbs = np.zeros(d), np.zeros(d), np.zeros((LIMBS, 2, d), np.int64)
    results.append(np.array([summarize(rows, low, high, limbs)]))
    float_out[:] = 9.0
    min_distance(rows, centers[0], float_out)
    results += [low, high, limbs, float_out.copy()]
    linear(rows, np.linspace(-1, 1, d + 1), float_out)
    results.append(float_out.copy())
    for path in LOGISTIC_PATHS:
        gradient = np.zeros(d + 1)
        loss = logistic(rows, target, np.linspace(-1, 1, d + 1), np.full(d + 2, 2.0**-30), gradient, path=path)
        results += [gradient, np.array([loss])]
    results += linear_models(rows, target, int_out)
    return results


def linear_models(rows, target, classes):
    """What weighs rows, by the targets, and what has classes; these are the labels of 5 centers."""
    d, results = rows.shape[1], []
    weights, quanta = np.linspace(-1, 1, d + 1), np.full(d + 2, 2.0**-30)
    for path in LOGISTIC_PATHS:
        gradient, product, weighted_product = np.zeros((3, d + 1))
        loss = logistic(rows, target, weights, quanta, gradient, target, path=path)
        hessian_product(rows, weights, weights[::-1], quanta[1:], product, path=path)
        hessian_product(rows, weights, weights[::-1], quanta[1:], weighted_product, target, path=path)
        results += [np.array([loss]), gradient, product, weighted_product]
    for sample_weight in (None, target):
        gradient = np.zeros((5, d + 1))
        loss = softmax(rows, classes, np.outer([1, -1, 2, 0, 0.5], weights), quanta, gradient, sample_weight)
        results += [np.array([loss]), gradient]
    return results


def everything_sparse(data, indices, indptr, target, classes, weights, quanta, gradient, sample_weight):
    """Run every driver for CSR rows; returns all results as one list of arrays."""
    d, results = len(gradient) - 1, []
    check_csr(data, indices, indptr, d)
    largest, counts = np.zeros(d), np.zeros(d, np.int64)
    extent_csr(data, indices, largest, counts)
    results += [largest, counts]
    for weight in (None, sample_weight):
        gradient[:] = 0.0
        loss = logistic_csr(data, indices, indptr, target, weights, quanta, gradient, weight)
        results += [gradient.copy(), np.array(loss)]
        for c in (2, 3, 8, 10):
            of_classes = np.outer(np.arange(c), weights)
            gradients = np.zeros((c, d + 1))
            loss = softmax_csr(data, indices, indptr, classes, of_classes, quanta, gradients, weight)
            results += [gradients, np.array(loss)]
    return results


def sparse_arguments(m, d, row_length, dtype):
    """Arguments of `everything_sparse`; every row has the last feature, at its end."""
    rng = np.random.default_rng(m)
    indptr = np.arange(0, m * row_length + 1, row_length)
    indices = rng.integers(0, d, m * row_length).astype(np.int32)
    indices[row_length - 1 :: row_length] = d - 1
    return (
        rng.standard_normal(indices.size).astype(dtype), indices, indptr, np.ones(m, dtype), np.ones(m, np.int32),
        np.linspace(-1, 1, d + 1), np.full(d + 2, 2.0**-30), np.zeros(d + 1), np.linspace(1, 2, m).astype(dtype),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize(("m", "d", "row_length"), [(1, 1, 1), (70, 5, 17), (1030, 65, 3)])
def test_read_only_mapped_and_oddly_placed_sparse_rows_give_the_same_results(tmp_path, m, d, row_length, dtype):
    arguments = sparse_arguments(m, d, row_length, dtype)
    expected = everything_sparse(*arguments)
    variants = []
    for array in (*arguments[:7], arguments[8]):
        array.tofile(tmp_path / "array")
        mapped = np.memmap(tmp_path / "array", array.dtype, "r", shape=array.shape)
        frozen, shifted = array.copy(), np.append(array[:1], array)[1:]
        frozen.flags.writeable = False
        variants.append((mapped, frozen, shifted))
        (tmp_path / "array").unlink()
    for same in zip(*variants, strict=True):
        found = everything_sparse(*same[:7], np.zeros(d + 1), same[7])
        assert all(map(np.array_equal, found, expected))


def run(rows, target):
    return everything(rows, target, np.zeros(len(rows), np.int32), np.zeros(len(rows)))


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize(("m", "d"), [(1, 1), (100, 2), (1030, 17), (70, 65)])
def test_read_only_mapped_and_oddly_placed_rows_give_the_same_results(tmp_path, m, d, dtype):
    rows, target = cases.gaussian(1, m, d, dtype), np.ones(m, dtype)
    expected = run(rows, target)
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", dtype, "r", shape=(m, d))
    frozen = rows.copy()
    frozen.flags.writeable = False
    shifted = np.empty(m * d + 1, dtype)[1:].reshape(m, d)
    shifted[:] = rows
    long = np.concatenate([rows[:1], rows, rows[:1]])
    for same in (mapped, frozen, shifted, long[1:-1]):
        for result, wanted in zip(run(same, target), expected, strict=True):
            assert np.array_equal(result, wanted)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_no_rows_change_nothing(dtype):
    results = run(np.empty((0, 3), dtype), np.empty(0, dtype))
    position = next(i for i, result in enumerate(results) if result.tolist() == [-1])  # of `summarize`: all finite
    assert not any(result.any() for i, result in enumerate(results) if i != position)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_threads_on_disjoint_slices_get_what_one_thread_gets(dtype):
    rows, target = cases.gaussian(3, 8 * 1024, 20, dtype), np.ones(8 * 1024, dtype)
    slices = [slice(start, start + 1024) for start in range(0, len(rows), 1024)]
    expected = [run(rows[part], target[part]) for part in slices]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for results, wanted in zip(pool.map(lambda s: run(rows[s], target[s]), slices), expected, strict=True):
                assert all(map(np.array_equal, results, wanted))


def test_rows_of_another_dtype_are_refused_with_advice():
    packed = pack_centers(np.zeros((1, 2)), np.zeros(2), np.float32)
    with pytest.raises(TypeError, match="float16; allowed is float32 or float64"):
        assign(np.zeros((4, 2), np.float16), packed, np.zeros(4, np.int32))


GUARD = """
import ctypes, mmap, sys
import numpy as np
sys.path.insert(0, {here!r})
from test_memory import everything, everything_sparse, sparse_arguments

PAGE, libc, kept = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True), []

def guarded(values, at_end):
    # An array between two pages that may not be touched, against the one or the other.
    pages = -(-max(values.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        assert libc.mprotect(ctypes.c_void_p(address + page * PAGE), ctypes.c_size_t(PAGE), 0) == 0
    kept.append(memory)
    start = PAGE + (pages * PAGE - values.nbytes if at_end else 0)
    out = np.frombuffer(memory, values.dtype, values.size, start).reshape(values.shape)
    out[...] = values
    return out

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for m in (1, 3, 31, 33, 64, 1025):
        for d in (1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64, 65):
            rows, target = rng.standard_normal((m, d)).astype(dtype), np.ones(m, dtype)
            expected = everything(rows, target, np.zeros(m, np.int32), np.zeros(m))
            for at_end in (False, True):
                arrays = [guarded(x, at_end) for x in (rows, target, np.zeros(m, np.int32), np.zeros(m))]
                for result, wanted in zip(everything(*arrays), expected, strict=True):
                    assert np.array_equal(result, wanted), (dtype, m, d)
    for m in (1, 3, 17, 1025):
        for d in (1, 3, 8, 40):
            for row_length in (0, 1, 8, 15, 16, 17, 40):
                arguments = sparse_arguments(m, d, max(row_length, 1), dtype)
                if row_length == 0:
                    arguments = (*(x[:0] for x in arguments[:2]), 0 * arguments[2], *arguments[3:])
                expected = everything_sparse(*arguments)
                for at_end in (False, True):
                    found = everything_sparse(*(guarded(x, at_end) for x in arguments))
                    for result, wanted in zip(found, expected, strict=True):
                        assert np.array_equal(result, wanted), (dtype, m, d, row_length)
                    kept.clear()
print("untouched")
"""


def test_nothing_outside_the_arrays_is_touched():
    code = GUARD.format(here=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "untouched", (done.returncode, done.stderr)
