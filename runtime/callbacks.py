"""Callbacks that keep what happens in a run: as lines of JSON in a file, or in Python's log."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .events import Event, IterationDone, PartsWritten, RunEnded, TargetsMixed, WorkerLost


class JsonLines:
    """Appends every event to a file, as one line of JSON that can be read at once.

    A line has ``time`` (seconds since the epoch), ``event`` (the name of the class in `biglambda.runtime.events`)
    and the event's fields. Numbers that are not finite become ``null``.

    Parameters
    ----------
    path : path
        Created if it does not exist.

    Raises
    ------
    OSError
        It cannot be written to. Later, a full disk ends the history with a warning, not the run.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file: Any = open(self._path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - of the whole run

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if self._file is None:
            return
        fields = {field.name: _plain(getattr(event, field.name)) for field in dataclasses.fields(event)}
        line = {"time": time.time(), "event": type(event).__name__, **fields}
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            with contextlib.suppress(OSError):  # it tries once more to write what is left
                self._file.close()
            self._file = None
            warnings.warn(f"{self._path}: {error.strerror or error}; the history ends here", stacklevel=2)


class EventLog:
    """Hands every event to a logger: what comes often is DEBUG, a loss WARNING, a failed run ERROR, all else INFO.

    Parameters
    ----------
    logger : logging.Logger, optional
        By default the one named ``biglambda``.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logging.getLogger("biglambda") if logger is None else logger

    def __call__(self, event: Event) -> None:
        """Log an event."""
        level = logging.INFO
        if isinstance(event, IterationDone | PartsWritten):
            level = logging.DEBUG
        elif isinstance(event, WorkerLost | TargetsMixed):
            level = logging.WARNING
        elif isinstance(event, RunEnded) and event.error is not None:
            level = logging.ERROR
        self._logger.log(level, "%s", event)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {getattr(key, "name", key): _plain(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
