"""Fits in functions as AWS Lambda has them, by Lithops' own backend, S3 and Redis: the bits of a local run."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import lithops
import numpy as np
import pytest
from aws_account import Account
from lambda_root import machine_root

from benchmarks.s3_server import S3Server
from biglambda import fit_kmeans, fit_logistic_regression

WORKERS = 4


@pytest.fixture(scope="module")
def executor(account: Account) -> Iterator[lithops.FunctionExecutor]:
    """Functions with one vCPU and a minute."""
    with account.executor(machine_root(), runtime_memory=1769, runtime_timeout=60) as executor:
        yield executor


def put(s3: S3Server, name: str, array: np.ndarray) -> str:
    """An npy file on S3: its name."""
    body = io.BytesIO()
    np.save(body, array)
    return s3.put(name, body.getvalue())


@pytest.mark.parametrize("inner", ["threads", "processes"])
def test_k_means_in_four_functions_has_the_bits_of_a_local_run(
    inner: str,
    account: Account,
    executor: Any,
    s3: S3Server,
    redis_on_loopback: str,
    blobs: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    x, centers = blobs(40_000, 4, 5)
    alone = fit_kmeans(x, 5, init=centers)
    result = fit_kmeans(
        put(s3, "lambda.npy", x), 5, init=centers, workers=WORKERS,
        executor=executor, redis=redis_on_loopback, inner=inner, inner_workers=2,
    )  # fmt: skip
    assert result.centers.tobytes() == alone.centers.tobytes()
    assert result.labels.tobytes() == alone.labels.tobytes()
    assert result.cost.memory_mb == 1769
    assert account.api.functions[account.function_of(executor)].starts >= WORKERS


def test_logistic_regression_on_an_array_has_the_bits_of_a_local_run(
    executor: Any, redis_on_loopback: str, blobs: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> None:
    x, _ = blobs(9_000, 4, 5)
    y = (x[:, 0] > 0).astype(float)
    alone = fit_logistic_regression(x, y, max_iter=5)
    result = fit_logistic_regression(x, y, max_iter=5, workers=WORKERS, executor=executor, redis=redis_on_loopback)
    assert result.weights.tobytes() == alone.weights.tobytes()
