"""A progress bar for a run, as a callback."""

from __future__ import annotations

import sys
from typing import Any

from .events import Event, IterationDone, PartsWritten, RunEnded, RunStarted, WorkersJoined


class ProgressBar:
    """Shows iterations, what the algorithm says of its state, and the workers, on standard error.

    On a terminal it is a tqdm bar; elsewhere it stays silent, for a bar in a log file is noise.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._workers = ""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if sys.stderr is None or not sys.stderr.isatty():
            return
        if isinstance(event, RunStarted):
            from tqdm import tqdm

            self._bar = tqdm(total=event.total_iterations, unit="it", dynamic_ncols=True, leave=False)
            self._workers = f"0/{event.workers} workers"
            self._bar.set_description(self._workers)
        elif isinstance(event, PartsWritten):
            from tqdm import tqdm

            if self._bar is None:
                self._bar = tqdm(total=event.of, unit="part", dynamic_ncols=True, leave=False)
            self._bar.update(event.parts - self._bar.n)
            self._bar.set_postfix_str(f"{event.bytes / 1e6:,.0f} MB")
        elif self._bar is None:
            return
        elif isinstance(event, WorkersJoined):
            self._workers = f"{event.joined}/{event.workers} workers"
            self._bar.set_description(self._workers)
        elif isinstance(event, IterationDone):
            self._bar.update(event.iteration - self._bar.n)
            self._bar.set_postfix({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in event.metrics.items()})
        elif isinstance(event, RunEnded):
            self._bar.close()
            self._bar = None
