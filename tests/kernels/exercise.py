"""Every kernel over a fixed list of shapes, so that two targets can be compared; needs the kernels and NumPy only.

    python tests/kernels/exercise.py [STEP]

prints the target, and for each STEP-th case the kernels that it ran and a hash of what came out.  The rows are
made by operations that are rounded once, so that they are the same on every machine.  To cover a new kernel, add
a function that yields (what, outputs) to `EXERCISES`.
"""

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from biglambda.kernels import (
    KERNELS,
    LIMBS,
    Kernel,
    assign,
    check_csr,
    extent_csr,
    hessian_product,
    inertia,
    linear,
    lloyd,
    logistic,
    logistic_csr,
    mean_and_variance,
    min_distance,
    pack_centers,
    quantum,
    quantum_pair,
    race,
    softmax,
    softmax_csr,
    summarize,
    target,
)
from biglambda.kernels.centers import PATHS, choose_path
from biglambda.kernels.scores import PATHS as LOGISTIC_PATHS
from biglambda.kernels.scores import choose_logistic_path

# As many as are coprime to what they are cycled with.
ROW_COUNTS = (0, 1, 2, 3, 5, 8, 9, 31, 32, 33, 63, 64, 65, 100, 130, 257, 1025)
LONG = (1023, 1024, 1025, 2048, 2049, 3000)
WIDTHS = (*range(1, 41), 48, 63, 64, 65, 100, 129, 200, 784)
CENTER_COUNTS = (*range(1, 31), 31, 64, 100, 257)
# Offset and spread: the mean far away, tiny squares, large sums.
PLACES = ((0.0, 1.0), (2013.0, 1.0), (0.0, 1.0), (0.0, 1e-20), (-0.5, 1e9))

FINE = 2.0**-24  # of the quantum that a run would take: rounding chunk totals is to hide no difference

Results = Iterator[tuple[str, tuple[Any, ...]]]
STEP = 1


def uniform(seed: int, m: int, d: int, dtype: Any, offset: float = 0.0, spread: float = 1.0) -> np.ndarray:
    """Rows around an offset, by operations that are exact or rounded once, some of them equal and some zero."""
    rows = (np.random.default_rng(seed).random((m, d)) * 4 - 2) * spread + offset
    rows[::7] = rows[:1]
    rows[5::11, ::3] = 0.0
    return rows.astype(dtype)


def shapes(widths: tuple[int, ...], *, places: bool = True) -> Iterator[tuple[int, int, int, float, float]]:
    """(seed, m, d, offset, spread): each width with each place, over few rows and many."""
    counts, long = itertools.cycle(ROW_COUNTS), itertools.cycle(LONG)
    for seed, (d, (offset, spread)) in enumerate(itertools.product(widths, PLACES if places else PLACES[:1])):
        yield 2 * seed, next(counts), d, offset, spread
        yield 2 * seed + 1, next(long) if d < 100 else next(counts), d, offset, spread


def some(cases: Any) -> Iterator[Any]:
    """Each `STEP`-th of the cases; they stay as they were numbered."""
    return itertools.islice(cases, 0, None, STEP)


def lloyds(dtype: Any) -> Results:
    """Every number of features with every number of centres, by every path, with and without the totals."""
    counts, places = itertools.cycle(ROW_COUNTS), itertools.cycle(PLACES)
    grid = [(d, k) for d, k in itertools.product(WIDTHS, CENTER_COUNTS) if d * k <= 1300 or d * k % 5 == 0]
    cases = ((seed, next(counts), d, k, *next(places)) for seed, (d, k) in enumerate(grid))
    for seed, m, d, k, offset, spread in some(cases):
        rows = uniform(seed, m, d, dtype, offset, spread)
        centers, shift = uniform(seed + 1, k, d, float, offset, spread), np.full(d, offset * 0.9)
        reach = 3 * spread + abs(offset)
        units = quantum(np.full(d, m * reach)), quantum([m]), quantum_pair(m * d * reach**2, max(m, 1))
        quanta, weights = FINE * np.concatenate(units), uniform(seed + 2, 1, m, dtype)[0] ** 2
        for path in PATHS:
            packed = pack_centers(centers, shift, dtype, path)
            labels, only_labels = np.full((2, m), -1, np.int32)
            totals, sizes = np.zeros((k, d)), np.zeros(k)
            numbers = lloyd(rows, packed, quanta, labels, totals, sizes)
            assign(rows, packed, only_labels)
            chosen = path == choose_path(d, k, dtype)
            what = f"{path} m={m} d={d} k={k} offset={offset} spread={spread}"
            yield what, (chosen, labels, totals, sizes, *numbers, only_labels)
            if seed % 4 == 0:
                totals, sizes = np.zeros((k, d)), np.zeros(k)
                numbers = lloyd(rows, packed, quanta, labels, totals, sizes, weights)
                yield "weighted " + what, (labels, totals, sizes, *numbers)


def inertias(dtype: Any) -> Results:
    for seed, m, d, offset, spread in some(shapes(WIDTHS)):
        rows, centers = uniform(seed, m, d, dtype, offset, spread), uniform(seed + 1, 5, d, float, offset, spread)
        labels = np.random.default_rng(seed).integers(0, 5, m).astype(np.int32)
        units = FINE * quantum_pair(m * d * (4 * spread) ** 2, max(m, 1))
        yield f"m={m} d={d} offset={offset} spread={spread}", inertia(rows, centers, labels, units)


def statistics(dtype: Any) -> Results:
    for seed, m, d, offset, spread in some(shapes(WIDTHS)):
        rows, limbs = uniform(seed, m, d, dtype, offset, spread), np.zeros((LIMBS, 2, d), np.int64)
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        what = f"m={m} d={d} offset={offset} spread={spread}"
        found = summarize(rows, low, high, limbs)
        yield what, (found, low, high, limbs, *mean_and_variance(max(m, 1), limbs))
        if m:
            rows[m // 2, d // 2] = np.nan
            yield "NaN " + what, (summarize(rows, low, high, limbs),)


def numbers_per_row(dtype: Any) -> Results:
    for seed, m, d, offset, spread in some(shapes(WIDTHS)):
        rows, vector = uniform(seed, m, d, dtype, offset, spread), uniform(seed + 1, 1, d + 1, float)[0]
        distance, out = np.full(m, d * spread * spread), np.empty(m)
        what = f"m={m} d={d} offset={offset} spread={spread}"
        min_distance(rows, vector[:d] * spread + offset, distance)
        yield "min_distance " + what, (distance,)
        linear(rows, vector, out)
        yield "linear " + what, (out,)


def logistics(dtype: Any) -> Results:
    sizes = itertools.cycle((0.1, 1.0, 7.0, 90.0))
    for (seed, m, d, _, _), size in some(zip(shapes((*WIDTHS, 2000)), sizes)):  # noqa: B905
        rows, labels = uniform(seed, m, d, dtype), (np.arange(m) % 3 == 0).astype(dtype)
        weights, vector = uniform(seed + 1, 2, d + 1, float) * size
        quanta = FINE * quantum(np.full(d + 2, m * (1 + d * 4 * size)))
        for path in LOGISTIC_PATHS:
            chosen = path == choose_logistic_path(d, np.dtype(dtype))
            for sample_weight in (None, uniform(seed + 2, 1, m, dtype)[0] ** 2):
                gradient, product = np.zeros((2, d + 1))
                loss = logistic(rows, labels, weights, quanta, gradient, sample_weight, path=path)
                what = f"{path} m={m} d={d} weights={size}"
                yield what, (chosen, gradient, loss)
                hessian_product(rows, weights, vector, quanta[1:], product, sample_weight, path=path)
                yield "Hessian " + what, (product,)


def softmaxes(dtype: Any) -> Results:
    class_counts = itertools.cycle((2, 3, 4, 5, 6, 7, 10, 13, 24, 100))
    for (seed, m, d, _, _), c in some(zip(shapes(WIDTHS), class_counts)):  # noqa: B905
        rows, labels = uniform(seed, m, d, dtype), (np.arange(m) * 7 % c).astype(np.int32)
        weights, quanta = uniform(seed + 1, c, d + 1, float), FINE * quantum(np.full(d + 2, m * (1 + d * 4)))
        for sample_weight in (None, uniform(seed + 2, 1, m, dtype)[0] ** 2):
            gradient = np.zeros((c, d + 1))
            loss = softmax(rows, labels, weights, quanta, gradient, sample_weight)
            yield f"m={m} d={d} c={c}", (gradient, loss)


def sparse(dtype: Any) -> Results:
    class_counts = itertools.cycle((2, 3, 8, 9, 17))
    for (seed, m, d, _, _), c in some(zip(shapes(WIDTHS), class_counts)):  # noqa: B905
        rng = np.random.default_rng(seed)
        indptr = np.append(0, rng.integers(0, 50, m).cumsum())
        indices = rng.integers(0, d, indptr[-1]).astype(np.int32)
        rows = uniform(seed, 1, len(indices), dtype)[0], indices, indptr
        largest, counts = np.zeros(d), np.zeros(d, np.int64)
        check_csr(*rows, d)
        extent_csr(*rows[:2], largest, counts)
        yield f"extent m={m} d={d}", (largest, counts)
        labels, weights = np.arange(m) % c, uniform(seed + 1, c, d + 1, float)
        quanta = FINE * quantum(np.append(4 * largest * counts, [4 * m, 900 * m]))
        for sample_weight in (None, uniform(seed + 2, 1, m, dtype)[0] ** 2):
            gradient, gradients = np.zeros(d + 1), np.zeros((c, d + 1))
            target = (labels == 0).astype(dtype)
            loss = logistic_csr(*rows, target, weights[0], quanta, gradient, sample_weight)
            yield f"logistic m={m} d={d}", (gradient, loss)
            loss = softmax_csr(*rows, labels.astype(np.int32), weights, quanta, gradients, sample_weight)
            yield f"softmax m={m} d={d} c={c}", (gradients, loss)


def races(dtype: Any) -> Results:
    for seed, m in some(enumerate(ROW_COUNTS * 20)):
        distance = uniform(seed, 1, m, float)[0] ** 2
        yield f"m={m} seed={seed}", race(distance, 1024 * seed, seed, seed % 9)


EXERCISES = (lloyds, inertias, statistics, numbers_per_row, logistics, softmaxes, sparse, races)


def digest(outputs: tuple[Any, ...]) -> str:
    """A hash of arrays and numbers, -0 and NaN told apart."""
    out = hashlib.blake2b(digest_size=12)
    for one in outputs:
        out.update(np.ascontiguousarray(one).tobytes())
    return out.hexdigest()


def run() -> dict[str, str]:
    """Hashes by "kernel, kernel ... dtype exercise: what"."""
    used: set[str] = set()
    get = Kernel.__getitem__

    def recorded(kernel: Kernel, dtype: Any) -> Any:
        used.add(f"{kernel.name}[{np.dtype(dtype)}]")
        return get(kernel, dtype)

    hashes: dict[str, str] = {}
    Kernel.__getitem__ = recorded  # type: ignore[method-assign]
    try:
        for exercise, dtype in itertools.product(EXERCISES, (np.float32, np.float64)):
            for what, outputs in exercise(dtype):
                name = f"{' '.join(sorted(used))}: {exercise.__name__} {np.dtype(dtype)} {what}"
                while name in hashes:
                    name += "'"
                hashes[name] = digest(outputs)
                used.clear()
    finally:
        Kernel.__getitem__ = get  # type: ignore[method-assign]
    return hashes


def existing() -> set[str]:
    """Every kernel of the library with every dtype, as `run` names them; benchmarks have more."""
    own = [kernel for kernel in KERNELS.values() if kernel.function.__module__.startswith("biglambda.kernels.")]
    return {f"{kernel.name}[{dtype}]" for kernel in own for dtype in kernel.signatures}


if __name__ == "__main__":
    STEP = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    about = target()
    description = {"name": about.name, "family": about.family, "register_bytes": about.register_bytes}
    print(json.dumps({"target": description, "existing": sorted(existing()), "hashes": run()}))
