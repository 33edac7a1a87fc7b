"""CSR gradients against SciPy's products, on the same rows: ``python -m benchmarks.sparse``.

SciPy takes two passes: the margins are X @ w, then the gradient is X.T @ residual. It does the second faster from
a transpose that was converted to CSR before; the time for that, and the memory for a second copy of the data, are
not counted. Ours includes all that the driver does, from weights to gradient.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.timing import interleaved, median_ratio, table
from biglambda.kernels import CHUNK, check_csr, extent_csr, logistic_csr, quantum, softmax_csr

OURS, SCIPY, SCIPY_CONVERTED = "biglambda", "scipy, X.T", "scipy, X.T converted to CSR"
DISTRIBUTIONS = ("uniform", "zipf")


def random_csr(m: int, d: int, row_length: int, dtype: str, distribution: str, varied: bool) -> Any:
    """Rows with sorted features: uniform, or with the frequency of the r-th one in proportion to 1/r."""
    from scipy.sparse import csr_matrix

    generator = np.random.default_rng(0)
    lengths = generator.poisson(row_length, m) if varied else np.full(m, row_length)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    if distribution == "uniform":
        features = generator.integers(0, d, indptr[-1])
    else:
        rank = np.exp(generator.random(indptr[-1]) * np.log(d + 1)).astype(np.int64) - 1
        features = generator.permutation(d)[np.minimum(rank, d - 1)]
    data = generator.standard_normal(indptr[-1]).astype(dtype)
    x = csr_matrix((data, features.astype(np.int32), indptr.astype(np.int32)), shape=(m, d))
    x.sort_indices()
    return x


def measure(
    m: int = 200_000, d: int = 1_000_000, row_length: int = 40, dtype: str = "float32",
    distribution: str = "uniform", varied: bool = False, classes: int = 1, threads: int = 1, rounds: int = 9,
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:  # fmt: skip
    """Seconds per gradient of each, and the gradients."""
    x = random_csr(m, d, row_length, dtype, distribution, varied)
    generator = np.random.default_rng(1)
    target = generator.integers(0, max(classes, 2), m).astype(np.int32 if classes > 1 else dtype)
    shape = (classes, d + 1) if classes > 1 else (d + 1,)
    weights = 0.1 * generator.standard_normal(shape)
    weights[..., d] = 0.0
    bounds = [*(round(m * i / threads / CHUNK) * CHUNK for i in range(threads)), m]
    parts = [slice(low, high) for low, high in pairwise(bounds)]
    found: dict[str, np.ndarray] = {}

    check_csr(x.data, x.indices, x.indptr, d)
    largest, counts = np.zeros(d), np.zeros(d, np.int64)
    extent_csr(x.data, x.indices, largest, counts)
    quanta = np.append(quantum(largest * counts), quantum(np.array([m, 1e3 * m])))
    indptr = x.indptr.astype(np.int64)
    kernel: Callable[..., float] = softmax_csr if classes > 1 else logistic_csr

    def our_part(part: slice) -> np.ndarray:
        gradient = np.zeros(shape)
        of_part = indptr[part.start : part.stop + 1]
        kernel(x.data, x.indices, of_part, target[part], weights, quanta, gradient)
        return gradient

    theirs = [(x[part], x[part].T, x[part].T.tocsr(), target[part]) for part in parts]
    narrow_weights = np.ascontiguousarray(weights[..., :d].T, dtype)

    def residual(rows: Any, own: np.ndarray) -> np.ndarray:
        scores = rows @ narrow_weights
        if classes == 1:
            return 1 / (1 + np.exp(-scores)) - own
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        scores[np.arange(len(own)), own] -= 1
        return scores

    with ThreadPoolExecutor(threads) as pool:

        def on_threads(name: str, function: Callable, arguments: list) -> Callable[[], None]:
            def call() -> None:
                run = map if threads == 1 else pool.map
                first, *rest = run(function, arguments)
                for gradient in rest:
                    first += gradient
                found[name] = first

            return call

        calls = {
            OURS: on_threads(OURS, our_part, parts),
            SCIPY: on_threads(SCIPY, lambda part: part[1] @ residual(part[0], part[3]), theirs),
            SCIPY_CONVERTED: on_threads(
                SCIPY_CONVERTED, lambda part: part[2] @ residual(part[0], part[3]), theirs
            ),
        }
        return interleaved(calls, rounds), found


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--row-length", type=int, default=40, help="non-zeros per row")
    parser.add_argument("--varied", action="store_true", help="let the length of rows vary around that")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--distribution", choices=DISTRIBUTIONS, default="uniform", help="of the features")
    parser.add_argument("--classes", type=int, default=1, help="more than one: softmax")
    parser.add_argument("--threads", type=int, default=1, help="of all rivals: scipy gets the same parts of rows")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds, _ = measure(
        options.rows, options.features, options.row_length, options.dtype, options.distribution, options.varied,
        options.classes, options.threads, options.rounds,
    )  # fmt: skip
    ratios = {name: median_ratio(seconds, OURS, name) for name in (SCIPY, SCIPY_CONVERTED)}
    if options.json:
        print(json.dumps({"seconds": seconds, "times_slower_than_biglambda": ratios}))
        return
    print(
        f"{options.rows:,} x {options.features:,}, {options.row_length} per row, {options.distribution}, "
        f"{options.dtype}, {options.classes} classes, {options.threads} threads"
    )
    print(table(seconds))
    for name, ratio in ratios.items():
        print(f"biglambda is {ratio:.2f} times as fast as {name}")


if __name__ == "__main__":
    main()
