"""The client's end of a run through Redis."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from ..algorithm import State
from ..errors import RunError
from ..target import Target, grouped
from . import codec
from .link import Link
from .reason import Reason
from .run import abort_run, decode_state, milliseconds, run_keys


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    state : {"running", "done", "aborted", "gone"}
    iteration : int
        The current one; once it is done, one more than were computed.
    workers, joined : int
        How many there are to be, and how many have joined.
    missing : tuple of int
        Workers that have not joined yet.
    waiting_for : tuple of int
        Workers that have not pushed in the current iteration; none once the run has ended.
    why : Reason or None
        Why it was aborted: ``str(why)`` is a sentence, ``why.exception()`` what to raise.
    newest : dict or None
        The newest state; None if it was not asked for or the run is gone.
    attempts : tuple of int
        For each worker the number of its attempt, 0 if none has joined.
    beats : tuple of int
        For each worker how often it gave a sign of life.
    """

    state: Literal["running", "done", "aborted", "gone"]
    iteration: int = 0
    workers: int = 0
    joined: int = 0
    missing: tuple[int, ...] = ()
    waiting_for: tuple[int, ...] = ()
    why: Reason | None = None
    newest: State | None = None
    attempts: tuple[int, ...] = ()
    beats: tuple[int, ...] = ()


class RunControl:
    """The client's end of a run.

    A run lives only as long as its client: `wait` and `status` renew a lease, and workers that find it expired
    abort the run. Between `create` and the end of the run, call one of them at least every ``lease / 2``, or do
    what takes longer (uploading data, invoking functions) in `keep_alive`.

    Parameters
    ----------
    url : str
        See `connect`.
    run : str
        The run's name.
    workers : int
    lease : float, default=15.0
        Seconds after which a client that does not renew it counts as gone.
    ttl : float, default=600.0
        Seconds after which a run that neither client nor workers touch expires.
    linger : float, default=300.0
        Seconds for which a run that has ended still tells late workers so.
    """

    def __init__(
        self,
        url: str,
        run: str,
        workers: int,
        *,
        lease: float = 15.0,
        ttl: float = 600.0,
        linger: float = 300.0,
    ) -> None:
        self._keys = run_keys(run)
        self._run, self._workers = run, workers
        self._owner = secrets.token_hex(16)
        self._lease, self._ttl, self._linger = milliseconds(lease), milliseconds(ttl), milliseconds(linger)
        self._slice = min(lease / 3, 2.0)
        self._renewed = time.monotonic()
        self._link = Link(url, block=self._slice, patience=12.0)

    def __repr__(self) -> str:
        return f"RunControl({self._link.address!r}, {self._run!r}, {self._workers})"

    def create(self, state: State | bytes) -> None:
        """Create the run with the state of its first iteration, a dict or what `codec.encode` made of it.

        Raises
        ------
        RunError
            There is a run of this name, or Redis cannot be reached.
        """
        data = state if isinstance(state, bytes) else codec.encode(state)
        word, _ = self._link.script(
            "init", self._keys, self._ttl, self._linger, self._workers, self._lease, self._owner, data
        )
        if word != "OK":
            raise RunError(f"Redis at {self._link.address} has a run {self._run} already: choose another name")
        self._renewed = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for the run to end, renewing the lease; whether it has ended or is gone."""
        deadline = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if now - self._renewed >= self._slice and not self.renew():
                return True
            if self._link.read_after(self._keys[5], "0-0", min(self._slice, deadline - now)) is not None:
                return True
            if time.monotonic() >= deadline:
                return False

    def renew(self) -> bool:
        """Renew the lease; whether the run is still going on. May be called from any thread."""
        return self._ask(newest=False)[0] == "RUN"

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Renew the lease from a thread of its own during a ``with`` block, whatever else takes its time.

        If Redis cannot be reached it stops renewing: whoever uses this object next meets the error.
        """
        end = threading.Event()

        def renew() -> None:
            with suppress(RunError):
                while not end.wait(self._slice) and self.renew():
                    pass

        thread = threading.Thread(target=renew, name=f"biglambda-lease-{self._run}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def status(self, *, newest: bool = True) -> Status:
        """Renew the lease and tell how far the run is; ``newest=False`` leaves the state, which may be large."""
        word, version, workers, missing, waiting, why, state, _, attempts, beats = self._ask(newest)
        return Status(
            state=_STATES[word],
            iteration=version,
            workers=workers,
            joined=workers - len(missing),
            missing=tuple(missing),
            waiting_for=tuple(waiting),
            why=Reason.unpack(why) if word == "ABORT" else None,
            newest=decode_state(state, self._run, self._link) if state else None,
            attempts=tuple(attempts),
            beats=tuple(beats),
        )

    def targets(self) -> dict[Target, tuple[int, ...]]:
        """The workers of each target that has joined; one that was replaced counts, too."""
        told = self._ask(newest=False, targets=True)[7]
        pairs = (one.partition(b":") for one in told)
        return grouped((Target.unpack(target), int(worker)) for worker, _, target in pairs)

    def abort(self, error: BaseException) -> None:
        """End the run for everybody, with the reason. Never raises: without a client the run ends anyway."""
        abort_run(self._link, self._keys, error, None, self._owner)

    def close(self) -> None:
        """Disconnect. A run that is going on ends when the lease has expired."""
        self._link.close()

    def _ask(self, newest: bool, targets: bool = False) -> list[Any]:
        reply = self._link.script("status", self._keys, self._lease, int(newest), int(targets))
        self._renewed = time.monotonic()
        return reply


_STATES: dict[str, Literal["running", "done", "aborted", "gone"]] = {
    "RUN": "running",
    "DONE": "done",
    "ABORT": "aborted",
    "GONE": "gone",
}
