"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.s3_server import OWNER, S3Server, start_s3
from biglambda.runtime.channel.server import start_server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real server on a unix socket, with a password, for the whole session."""
    with start_server() as server:
        yield server.url


@pytest.fixture
def blobs() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Well separated clusters: rows, and initial centres near the true ones."""

    def make(n: int, d: int, k: int, seed: int = 0, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        centers = generator.uniform(-50, 50, (k, d))
        rows = centers[generator.integers(k, size=n)] + generator.standard_normal((n, d))
        return rows.astype(dtype), centers + generator.standard_normal((k, d))

    return make


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server on loopback ports, for the whole session."""
    with start_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with an environment in which boto3 finds it, and the owner's credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER["secret_access_key"])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    return s3_server
