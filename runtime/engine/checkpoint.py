"""How far a run is, in a file: what is left of it when its client, or its Redis, has died."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from .. import bsp
from ..algorithm import Algorithm
from ..channel import codec
from ..data import Source
from ..errors import RunError
from ..private import replaced
from .options import RunOptions

SUFFIX = ".checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """A state of a run.

    Attributes
    ----------
    iteration : int
        The one that it belongs to.
    envelope : dict
        What travels between workers.
    """

    iteration: int
    envelope: bsp.Envelope


class Checkpoints:
    """Writes the states of a run to a file, one in the place of the other.

    Parameters
    ----------
    directory : Path or None
        Where to; nowhere if None.
    run : str
        Its name is that of the file.
    every : float
        Seconds between two of them at least.

    Attributes
    ----------
    newest : Checkpoint or None
        The last one, written or not.
    """

    def __init__(self, directory: Path | None, run: str, every: float) -> None:
        self._path = None if directory is None else directory / f"{run}{SUFFIX}"
        self._every = every
        self.newest: Checkpoint | None = None
        self._written = time.monotonic()

    def keep(self, iteration: int, envelope: bsp.Envelope) -> None:
        """Write a state, unless it is too soon for that."""
        self.newest = Checkpoint(iteration, envelope)
        now = time.monotonic()
        if self._path is None or now - self._written < self._every:
            return
        self._written = now
        data = codec.encode({"iteration": iteration, "envelope": envelope})
        with replaced(self._path) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """The run has its result: nobody needs the file any more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def read(directory: Path, run: str) -> Checkpoint | None:
    """The checkpoint of a run, if there is one.

    Raises
    ------
    RunError
        The file is not that of a checkpoint.
    """
    path = directory / f"{run}{SUFFIX}"
    try:
        kept = codec.decode(path.read_bytes())
        return Checkpoint(int(kept["iteration"]), kept["envelope"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no checkpoint: {error}") from error


def first_envelope(algorithm: Algorithm, source: Source, options: RunOptions, url: str | None) -> bsp.Envelope:
    """What a run over ``source`` starts with: its first state, or the newest of the run that it goes on with.

    Raises
    ------
    RunError
        Nothing is left of that run, or it was of another kind.
    """
    first = bsp.first_envelope(algorithm, source)
    if options.resume is None:
        return first
    newest = find(options.resume, options.checkpoint, url).envelope
    if newest["of"] != first["of"]:
        raise RunError(
            f"resume={options.resume!r}: that was a run of {newest['of']}, and this is one of {first['of']}"
        )
    return {**first, "state": newest["state"]}


def find(run: str, directory: Path | None, url: str | None) -> Checkpoint:
    """The newest state that there is of a run whose client died, in its Redis or in a file.

    If it still goes on, it is ended.

    Raises
    ------
    RunError
        There is none.
    """
    found = [read(directory, run)] if directory is not None else []
    if url is not None:
        from ..channel.control import RunControl  # a run in this process needs no Redis, and does not load it

        control = RunControl(url, run, 1)
        status = control.status()
        if status.newest is not None and "of" in status.newest:
            found.append(Checkpoint(status.iteration, status.newest))
        if status.state == "running":
            control.abort(RunError("another client goes on with this run"))
        control.close()
    newest = max((one for one in found if one is not None), key=lambda one: one.iteration, default=None)
    if newest is None:
        places = [place for place, is_one in (("the checkpoints", directory), ("Redis", url)) if is_one]
        raise RunError(
            f"resume={run!r}: nothing of this run is in {' or '.join(places) or 'a place that was given'}. States "
            "stay in Redis for some minutes after a client died; for longer, give checkpoint=, a directory"
        )
    return newest
