"""Arrow's arrays of numbers as NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

LIBRARY_BYTES = 12 << 20
"""Bytes of pyarrow's own, in a process that reads with it."""


def arrow_values(array: Any, dtype: np.dtype) -> np.ndarray:
    """A view of the numbers in an Arrow array, which are of ``dtype``; where one is missing, anything."""
    # Not array.to_numpy(), which imports pandas where it is installed.
    _, data = array.buffers()
    return np.frombuffer(data, dtype, count=len(array), offset=array.offset * dtype.itemsize)
