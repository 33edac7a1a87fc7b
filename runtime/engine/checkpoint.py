"""How far a run is, in a file: what is left of it when its client, or its Redis, has died."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import bsp
from ..algorithm import Algorithm
from ..channel import codec
from ..data import Source, store_for
from ..data.store import MissingError, Store, try_out
from ..errors import DataError, RunError
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
    run : str
        Its name is that of the file.
    options : RunOptions
        Where to, if anywhere, and how often at most.

    Attributes
    ----------
    newest : Checkpoint or None
        The last one, written or not.
    """

    def __init__(self, run: str, options: RunOptions) -> None:
        self._place: tuple[Store, str] | None = None
        if options.checkpoint is not None:
            name = _name(options.checkpoint, run)
            self._place = store_for(name, options.config), name
        self._every = options.checkpoint_interval
        self.newest: Checkpoint | None = None
        self._written = time.monotonic()

    def try_out(self) -> None:
        """Write and delete a file, before anything is launched; DataError if that is not possible."""
        if self._place is not None:
            try_out(*self._place)

    def keep(self, iteration: int, envelope: bsp.Envelope) -> None:
        """Write a state, unless it is too soon for that. If it cannot be written, a warning says so."""
        self.newest = Checkpoint(iteration, envelope)
        now = time.monotonic()
        if self._place is None or now - self._written < self._every:
            return
        store, name = self._place
        try:
            store.write(name, codec.encode({"iteration": iteration, "envelope": envelope}))
        except DataError as error:
            warnings.warn(f"no checkpoint of iteration {iteration}: {error}", stacklevel=2)
        self._written = time.monotonic()

    def remove(self) -> None:
        """The run has its result: nobody needs the file any more."""
        if self._place is not None:
            store, name = self._place
            try:
                store.delete(name)
            except DataError as error:
                warnings.warn(f"the checkpoint is left behind: {error}", stacklevel=2)


def _name(place: str, run: str) -> str:
    return f"{place.rstrip('/')}/{run}{SUFFIX}"


def read(place: str, run: str, config: Mapping[str, Any] | None = None) -> Checkpoint | None:
    """The checkpoint of a run, if there is one.

    Raises
    ------
    RunError
        The file is not that of a checkpoint.
    """
    name = _name(place, run)
    try:
        data = bytes(store_for(name, config).find(name).read())
    except MissingError:
        return None
    try:
        kept = codec.decode(data)
        return Checkpoint(int(kept["iteration"]), kept["envelope"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{name} is no checkpoint: {error}") from error


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
    newest = find(options.resume, options, url).envelope
    if newest["of"] != first["of"]:
        raise RunError(
            f"resume={options.resume!r}: that was a run of {newest['of']}, and this is one of {first['of']}"
        )
    return {**first, "state": newest["state"]}


def find(run: str, options: RunOptions, url: str | None) -> Checkpoint:
    """The newest state that there is of a run whose client died, in its Redis or in a file.

    If it still goes on, it is ended.

    Raises
    ------
    RunError
        There is none.
    """
    found = [] if options.checkpoint is None else [read(options.checkpoint, run, options.config)]
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
        places = [place for place, is_one in (("the checkpoints", options.checkpoint), ("Redis", url)) if is_one]
        raise RunError(
            f"resume={run!r}: nothing of this run is in {' or '.join(places) or 'a place that was given'}. States "
            "stay in Redis for some minutes after a client died; for longer, give checkpoint=, a directory or "
            "s3://bucket/prefix"
        )
    return newest
