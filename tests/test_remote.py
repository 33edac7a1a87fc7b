"""Backends that share no file system with the client: arrays go through their storage, and are removed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from remote_backend import Remote, remote_backend

from benchmarks.s3_server import S3Server
from biglambda import RunError, fit_kmeans, fit_logistic_regression
from biglambda.runtime.engine.crew import Attempt
from biglambda.runtime.engine.worker import Job


@pytest.fixture
def remote() -> Iterator[Remote]:
    with remote_backend(memory_mb=3538) as backend:
        yield backend


def spooled(remote: Remote) -> list[str]:
    return remote.storage.list_keys(remote.internal_storage.bucket, prefix="biglambda/")


def test_an_array_is_spooled_to_the_backends_storage_and_removed(
    remote: Any, redis_url: str, blobs: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> None:
    x, centers = blobs(9_000, 4, 5)
    seen: list[int] = []
    result = fit_kmeans(
        x,
        5,
        init=centers,
        workers=3,
        executor=remote,
        redis=redis_url,
        callbacks=[lambda event: seen.append(len(spooled(remote)))],
    )
    assert max(seen) == 1
    assert spooled(remote) == []
    alone = fit_kmeans(x, 5, init=centers)
    assert result.centers.tobytes() == alone.centers.tobytes()
    assert result.labels.tobytes() == alone.labels.tobytes()
    assert result.cost.memory_mb == 3538
    y = (x[:, 0] > 0).astype(float)
    fit = fit_logistic_regression(x, y, max_iter=3, workers=2, executor=remote, redis=redis_url)
    assert fit.weights.tobytes() == fit_logistic_regression(x, y, max_iter=3).weights.tobytes()


def test_the_spool_is_removed_when_the_run_fails(remote: Any, redis_url: str) -> None:
    def fail(event: Any) -> None:
        raise ValueError("a callback failed")

    with pytest.raises(ValueError, match="a callback failed"):
        fit_kmeans(np.eye(2_000, 3), 2, workers=2, executor=remote, redis=redis_url, callbacks=[fail])
    assert spooled(remote) == []


def test_the_result_of_another_job_is_refused(remote: Any) -> None:
    """Lithops can mix up executors of two processes of one session, see `_use_bucket`."""
    (future,) = remote.map(lambda word: len(word), ["abc"])
    remote.wait([future], show_progressbar=False)
    with pytest.raises(RunError, match="results of another job"):
        _ = Attempt(Job("some-run", "", 0, 1, None, None, (), "serial", 1), remote, future, 0.0).report  # type: ignore


def test_data_on_s3_are_read_where_they_are(
    remote: Any, redis_url: str, s3: S3Server, blobs: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> None:
    x, centers = blobs(9_000, 4, 5)
    body = io.BytesIO()
    np.save(body, x)
    name = s3.put("remote.npy", body.getvalue())
    seen: list[str] = []
    result = fit_kmeans(
        name,
        5,
        init=centers,
        workers=3,
        executor=remote,
        redis=redis_url,
        callbacks=[lambda event: seen.extend(spooled(remote))],
    )
    assert seen == []
    assert result.centers.tobytes() == fit_kmeans(x, 5, init=centers).centers.tobytes()
