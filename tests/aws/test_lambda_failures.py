"""What goes wrong in a function is an error at the caller, within a bounded time, that says what it was."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import lambda_probe as probe
import lithops
import numpy as np
import pytest
from aws_account import Account
from lambda_limits import why_no_groups
from lambda_root import machine_root

from benchmarks.s3_server import S3Server
from biglambda import DataError, RunError, fit_kmeans

CLUSTERS = 512
Fit = Callable[..., Any]


def test_lithops_reports_what_a_function_dies_of(account: Account) -> None:
    start = time.monotonic()
    with account.executor(machine_root(), runtime_memory=512, runtime_timeout=10) as executor:
        calls = [
            executor.call_async(function, arguments, include_modules=None)
            for function, arguments in [
                (probe.wait, ()),
                (probe.allocate, (700,)),
                (probe.fail, ()),
                (probe.respond, (7,)),
            ]
        ]
        for future, error, said in [
            (calls[0], TimeoutError, "maximum time of 5 seconds"),
            (calls[1], MemoryError, "out-of-memory killer|^$"),
            (calls[2], ValueError, "these rows make no sense"),
        ]:
            with pytest.raises(error, match=said):
                executor.get_result(future, timeout=30)
        # Results come by S3, where they may be larger than responses.
        assert len(executor.get_result(calls[3], timeout=30)) == 7 << 20
    assert time.monotonic() - start < 30


@pytest.fixture(scope="module")
def executor(account: Account) -> Iterator[lithops.FunctionExecutor]:
    """An executor that has deployed its function: the tests change that behind its back."""
    with account.executor(machine_root(), runtime_memory=1769, runtime_timeout=60) as executor:
        executor.get_result(executor.call_async(probe.allocate, (1,), include_modules=None), timeout=30)
        yield executor


@pytest.fixture
def change(account: Account, executor: lithops.FunctionExecutor) -> Iterator[Callable[..., None]]:
    """Gives the deployed function other limits than its executor knows of, until the test is over."""
    name = account.function_of(executor)

    def change(**limits: int) -> None:
        account.functions.update_function_configuration(FunctionName=name, **limits)

    yield change
    if name in account.api.functions:
        change(Timeout=60, MemorySize=1769)


@pytest.fixture
def fit(executor: lithops.FunctionExecutor, s3: S3Server, redis_on_loopback: str) -> Fit:
    """A fit of many clusters to rows that have none, which takes far longer than any test."""
    rows = np.random.default_rng(0).standard_normal((400_000, 8))
    body = io.BytesIO()
    np.save(body, rows)
    name = s3.put("random.npy", body.getvalue())
    endless: dict[str, Any] = {"init": rows[:CLUSTERS], "tol": 0, "max_iter": 1_000_000}
    fit_kmeans(rows[:1_000], CLUSTERS, init=rows[:CLUSTERS], max_iter=1)  # functions find the kernels compiled

    def fit(**options: Any) -> Any:
        where: dict[str, Any] = {"workers": 2, "inner_workers": 1, "executor": executor}
        return fit_kmeans(name, CLUSTERS, redis=redis_on_loopback, **endless, **where, **options)

    return fit


def test_a_function_that_runs_out_of_memory_is_a_lost_worker(fit: Fit, change: Callable[..., None]) -> None:
    if (why := why_no_groups()) is not None:
        pytest.skip(why)
    change(MemorySize=150)  # it starts with 100, and a worker takes 90 more
    start = time.monotonic()
    # The kernel kills a worker's process, of which Lithops tells, or the one that would have told.
    with pytest.raises(RunError, match=r"out of memory, or killed: .* more than 1769 MB|for a lack of memory"):
        fit(retries=0, silence_timeout=5.0, arrival_timeout=30.0)
    assert time.monotonic() - start < 45


def test_a_function_that_is_killed_by_its_time_out_is_a_lost_worker(fit: Fit, change: Callable[..., None]) -> None:
    change(Timeout=5)
    start = time.monotonic()
    with pytest.raises(RunError, match=r"was lost: not heard of for .* killed, as for a lack of memory or time"):
        fit(retries=0, silence_timeout=3.0)
    assert time.monotonic() - start < 30


def test_an_error_of_a_worker_is_raised_at_the_caller(
    executor: lithops.FunctionExecutor, s3: S3Server, redis_on_loopback: str
) -> None:
    rows = np.zeros((2_000, 2))
    rows[1_500, 1] = np.nan
    body = io.BytesIO()
    np.save(body, rows)
    with pytest.raises(DataError, match="1500"):
        fit_kmeans(s3.put("nan.npy", body.getvalue()), 2, workers=2, executor=executor, redis=redis_on_loopback)


def test_a_function_that_cannot_start_is_reported_with_its_reason(
    account: Account, redis_on_loopback: str
) -> None:
    root = replace(machine_root(), cmd=("no_such_module.handler",))
    with (
        account.executor(root, runtime_memory=1769) as executor,
        pytest.raises(RunError, match=r"could not launch the workers: .*no_such_module"),
    ):
        fit_kmeans(np.eye(8), 2, workers=2, executor=executor, redis=redis_on_loopback)


def test_a_missing_function_is_noticed_at_once(
    account: Account, executor: lithops.FunctionExecutor, fit: Fit
) -> None:
    account.functions.delete_function(FunctionName=account.function_of(executor))
    start = time.monotonic()
    with pytest.raises(RunError, match=r"was not started: is its runtime deployed, .* not deployed"):
        fit(retries=1)
    assert time.monotonic() - start < 10
