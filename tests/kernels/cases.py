"""Data for the kernel tests."""

import itertools

import numpy as np
from hypothesis import strategies as st

DTYPES = (np.float32, np.float64)
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}

dtypes = st.sampled_from(DTYPES)
row_counts = st.one_of(st.integers(0, 130), st.sampled_from([1023, 1024, 1025, 2048, 2049, 3000]))
narrow = st.integers(1, 20)
widths = st.one_of(narrow, st.integers(21, 140))
center_counts = st.one_of(st.integers(1, 14), st.sampled_from([18, 19, 20, 23, 24, 25, 31, 64]))
seeds = st.integers(0, 2**32 - 1)


def gaussian(seed: int, m: int, d: int, dtype: type, offset: float = 0.0) -> np.ndarray:
    """Rows of unit spread around an offset."""
    return (np.random.default_rng(seed).standard_normal((m, d)) + offset).astype(dtype)


def cuts(seed: int, m: int) -> list[slice]:
    """Slices of m rows, cut at some multiples of 1,024, in random order."""
    rng = np.random.default_rng(seed)
    inner = [cut for cut in range(1024, m, 1024) if rng.random() < 0.7]
    bounds = [0, *inner, m]
    slices = [slice(low, high) for low, high in itertools.pairwise(bounds)]
    return [slices[i] for i in rng.permutation(len(slices))]
