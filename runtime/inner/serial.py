"""One inner worker: the calling thread."""

from __future__ import annotations

import numpy as np

from ..rows import Rows
from . import Inner, Task


class Serial(Inner):
    """Runs the task in the calling thread."""

    workers = 1

    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """See `Inner.map`."""
        return [task(rows)]
