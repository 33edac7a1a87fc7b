"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

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
