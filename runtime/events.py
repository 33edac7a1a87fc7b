"""What happens in a run, as frozen events for callbacks: a progress bar, a history, a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .target import Targets


@dataclass(frozen=True)
class RunStarted:
    """The run's workers were launched."""

    run: str
    workers: int
    inner: str
    total_iterations: int | None


@dataclass(frozen=True)
class WorkersJoined:
    """More workers arrived."""

    joined: int
    workers: int


@dataclass(frozen=True)
class TargetsMixed:
    """Workers compute on targets that round differently; `message` says which, and what it means."""

    targets: Targets
    message: str


@dataclass(frozen=True)
class WorkerLost:
    """An attempt to be a worker failed, was killed, or was not heard of any more.

    Attributes
    ----------
    worker : int
    attempt : int
        From 1.
    why : str
    replaced : bool
        Whether the worker is launched again; else the run ends.
    """

    worker: int
    attempt: int
    why: str
    replaced: bool


@dataclass(frozen=True)
class WorkerLeft:
    """The time of a function was nearly up: the worker is launched again, and goes on.

    Attributes
    ----------
    worker : int
    attempt : int
        From 1.
    """

    worker: int
    attempt: int


@dataclass(frozen=True)
class BackupLaunched:
    """All others have waited long for a worker: whichever of its two attempts pushes first is the worker.

    Attributes
    ----------
    worker : int
    attempt : int
        Number of the new one.
    """

    worker: int
    attempt: int


@dataclass(frozen=True)
class IterationDone:
    """A new state was published.

    Attributes
    ----------
    iteration : int
        Passes over the data so far.
    metrics : mapping of str to float or str
        What the algorithm says of its state, for example ``{"pass": "lloyd", "shift": 0.01}``.
    """

    iteration: int
    metrics: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class PartsWritten:
    """More parts of a data set that is made were written.

    Attributes
    ----------
    parts : int
        Those that are there.
    of : int
        All that are to be made.
    bytes : int
        What is there.
    """

    parts: int
    of: int
    bytes: int


@dataclass(frozen=True)
class RunEnded:
    """The run is over; ``error`` says why it has no result, or is None."""

    run: str
    error: str | None


Event = (
    RunStarted
    | WorkersJoined
    | TargetsMixed
    | WorkerLost
    | WorkerLeft
    | BackupLaunched
    | IterationDone
    | PartsWritten
    | RunEnded
)
Callback = Callable[[Event], None]


def emit(callbacks: Iterable[Callback], event: Event) -> None:
    """Hand an event to every callback."""
    for callback in callbacks:
        callback(event)
