"""A run through Redis: `RedisChannel` is a worker's end of it, `RunControl` the client's.

A worker and iteration cost two commands: push, which gives the partial and merges it into a tree of fixed shape,
and a blocking read of the stream that the next state appears in. Whoever completes the tree gets the sum, computes
the state and publishes it. Every command is safe to repeat, and every wait ends.
"""

from __future__ import annotations

import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..algorithm import Combine, State
from ..errors import RunError
from ..target import Target, grouped
from ..trace import Trace
from . import codec
from .address import redact
from .base import FencedError, LostError, OutOfTime
from .connect import connect
from .heartbeat import Heartbeat
from .link import Link, check_server
from .reason import Reason

__all__ = ["RedisChannel", "RunControl", "Status", "check_server", "connect", "redact", "run_keys"]

_ABORT_PATIENCE = 6.0
RACES = 3
"""Iterations in which a backup may come later than the worker that it is to replace, before it gives up."""
LARGE = 250_000
"""Numbers in all partials of an iteration from which on workers add them, so that the server is not kept busy."""


def run_keys(run: str) -> tuple[str, ...]:
    """The keys of a run, in the order in which every script takes them; see ``lua/prelude.lua``.

    Raises
    ------
    ValueError
        ``run`` is not made of 1 to 64 letters, digits, ``_``, ``.`` and ``-``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", run):
        raise ValueError(f"a run's name is 1 to 64 letters, digits, '_', '.' or '-', not {run!r}")
    return tuple(f"biglambda:{{{run}}}:{key}" for key in "maslce")


class RedisChannel:
    """A worker's end of a run.

    Parameters
    ----------
    url : str
        See `connect`.
    run : str
        The run's name.
    worker, workers : int
        Which worker this is, from 0, of how many.
    trace : Trace
        Receives the time of ``push``, ``wait`` and ``update``.
    target : Target, optional
        What this worker computes on; it is told when it joins.
    block : float, default=2.0
        Seconds after which a worker that waits looks whether everything still goes on.
    lease : float, default=10.0
        Seconds that the worker with the sum has for the next state before another one takes over.
    patience : float, default=12.0
        Seconds after which a Redis that does not answer is given up.
    attempt : int, default=1
        The how manieth attempt to be this worker.
    climb : bool, optional
        Whether workers add partials and the server keeps them; else it adds them. By default, if they are large.
        The same in all workers.
    deadline : float, default=inf
        By `time.monotonic`, when to wait no longer but make room for another attempt.
    beat : float, default=2.0
        Seconds between two signs of life, which a worker that has joined gives from a thread of its own.
    backup : bool, default=False
        Whether an earlier attempt is still at work: this one becomes the worker when it is the first to push.
    """

    def __init__(
        self,
        url: str,
        run: str,
        worker: int,
        workers: int,
        *,
        trace: Trace,
        target: Target | None = None,
        block: float = 2.0,
        lease: float = 10.0,
        patience: float = 12.0,
        attempt: int = 1,
        climb: bool | None = None,
        deadline: float = math.inf,
        beat: float = 2.0,
        backup: bool = False,
    ) -> None:
        self._keys = run_keys(run)
        self._run, self._worker, self._workers = run, worker, workers
        self._attempt, self._deadline, self._every = attempt, deadline, beat
        self._climbs = climb
        self._races = RACES if backup else 0
        self._heartbeat: Heartbeat | None = None
        self._token = secrets.token_hex(16)
        self._trace = trace
        self._target = b"" if target is None else target.pack()
        self._block, self._lease = block, _milliseconds(lease)
        self._link = Link(url, block=block, patience=patience)

    def __repr__(self) -> str:
        return f"RedisChannel({self._link.address!r}, {self._run!r}, {self._worker}, {self._workers})"

    def join(self) -> tuple[int, State, bool]:
        """See `Channel.join`. The newest attempt to join is the worker; earlier ones get FencedError.

        A backup does not join yet; it gets FencedError if the run is over.
        """
        word, version, state = self._join("look" if self._races else "now")
        if self._races and word == "DONE":
            raise self._fenced()
        if not state:
            raise self._lost_state(version - 1)
        return version, _decoded(state, self._run, self._link), word == "DONE"

    def all_reduce(
        self,
        iteration: int,
        partial: np.ndarray,
        how: Combine,
        update: Callable[[np.ndarray], tuple[State, bool]],
    ) -> tuple[int, State, bool]:
        """See `Channel.all_reduce`.

        Raises
        ------
        FencedError
            A newer attempt of this worker has joined.
        RunError, DataError
            The run was aborted or is gone, or Redis is lost.
        ValueError
            ``partial`` is no float64 vector.
        OutOfTime
            The deadline is over. The partial counts all the same.
        """
        payload = codec.pack_partial(partial)
        if self._races and not self._win(iteration):
            return self._follow(iteration)
        give = self._climb if how == "sum" and self._is_to_climb(partial) else self._push
        word, total = give(iteration, how, payload)
        while True:
            if word == "AHEAD":  # the server has lost its last iterations, as in a failover: back to where it is
                return self.join()
            if word == "LAST":
                with self._trace.span("update"):
                    state, done = update(codec.vector_of(total))
                    data = codec.encode(state)
                if self._finish(iteration, data, done):
                    return iteration + 1, codec.decode(data), done
            with self._trace.span("wait"):
                entry = self._link.read_after(self._keys[2], f"{iteration}-0", self._block)
            if entry is not None:
                return self._next(*entry)
            if word in ("STALE", "DONE"):
                raise self._lost_state(iteration)
            if time.monotonic() > self._deadline:
                raise OutOfTime(f"the others were not ready with iteration {iteration} in time")
            # Nothing came. A probe finds out whether the run has ended, takes over from a worker that died with
            # the sum, and shows if the server forgot the partial.
            word, total = give(iteration, how, b"")
            if word == "MISSING":
                word, total = give(iteration, how, payload)

    def abort(self, error: BaseException) -> None:
        """See `Channel.abort`. Of an attempt that was replaced it has no effect."""
        _abort(self._link, self._keys, error, self._worker, self._token)

    def check(self) -> None:
        """See `Channel.check`; as of the last sign of life."""
        if self._heartbeat is not None:
            self._heartbeat.check()

    def close(self) -> None:
        """Disconnect."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._link.close()

    def _join(self, when: str | int) -> tuple[str, int, bytes]:
        word, version, state, why = self._link.script(
            "join", self._keys, self._worker, self._workers, self._token, self._target, self._attempt, when
        )
        self._raise_if_over(word, why)
        if word == "OK" and when != "look" and self._heartbeat is None:
            name = f"biglambda-heartbeat-{self._run}-{self._worker}"
            self._heartbeat = Heartbeat(self._beat, self._every, name)
        return word, version, state

    def _win(self, iteration: int) -> bool:
        """Whether this backup becomes the worker, which has not pushed yet."""
        won = self._join(iteration)[0] == "OK"
        self._races = 0 if won else self._races - 1
        if not won and not self._races:
            raise self._fenced()
        return won

    def _follow(self, iteration: int) -> tuple[int, State, bool]:
        """The next state, to which another attempt gave its partial."""
        while True:
            with self._trace.span("wait"):
                entry = self._link.read_after(self._keys[2], f"{iteration}-0", self._block)
            reached, state, done = self.join() if entry is None else self._next(*entry)
            if done:
                raise self._fenced()
            if reached > iteration:
                return reached, state, done
            if time.monotonic() > self._deadline:
                raise OutOfTime(f"the others were not ready with iteration {iteration} in time")

    def _beat(self) -> bool:
        word, _, why = self._link.script("beat", self._keys, self._worker, self._token)
        self._raise_if_over(word, why)
        return word in ("OK", "AHEAD")  # after data were lost it joins again with its next push

    def _push(self, iteration: int, how: Combine, payload: bytes) -> tuple[str, bytes]:
        with self._trace.span("push"):
            word, _, data = self._link.script(
                "push", self._keys, iteration, self._worker, self._token, self._lease, how, payload
            )
        self._raise_if_over(word, data)
        return word, data

    def _is_to_climb(self, partial: np.ndarray) -> bool:
        return self._workers * partial.size > LARGE if self._climbs is None else self._climbs

    def _climb(self, iteration: int, how: Combine, payload: bytes) -> tuple[str, bytes]:
        """As `_push`, but the server keeps the nodes of the tree, and this worker adds those that meet here."""
        level, index = 0, self._worker
        own = codec.unpack_partial(payload) if payload else np.empty(0)
        with self._trace.span("push"):
            while True:
                word, _, left, *rest = self._link.script(
                    "put", self._keys, iteration, self._worker, self._token, self._lease, level, index, payload
                )
                if word != "CLIMB":
                    break
                level, index, right = rest
                own = (codec.vector_of(left) if left else own) + codec.vector_of(right)
                payload = codec.pack_partial(own)
        self._raise_if_over(word, left)
        return word, left or own.tobytes()

    def _finish(self, iteration: int, state: bytes, done: bool) -> bool:
        """Publish the next state; False if another worker did, or the server has lost the sum."""
        with self._trace.span("push"):
            word, _, why = self._link.script(
                "finish", self._keys, iteration, self._worker, self._token, int(done), state
            )
        self._raise_if_over(word, why)
        return word == "OK"

    def _next(self, entry: str, fields: dict[bytes, bytes]) -> tuple[int, State, bool]:
        if b"abort" in fields:
            raise self._aborted(fields[b"abort"])
        state = _decoded(fields.get(b"state", b""), self._run, self._link)
        return int(entry.partition("-")[0]), state, fields.get(b"done") == b"1"

    def _raise_if_over(self, word: str, why: bytes) -> None:
        if word == "ABORT":
            raise self._aborted(why)
        if word == "FENCED":
            raise self._fenced()
        if word == "GONE":
            raise LostError(
                f"Redis at {self._link.address} has no run {self._run}: it expired, was never created there, or "
                "the server lost its data (restarted without persistence, or flushed). Start the run again"
            )

    def _fenced(self) -> FencedError:
        return FencedError(
            f"another attempt is worker {self._worker} of run {self._run}: this one, number {self._attempt}, is "
            "not needed"
        )

    def _aborted(self, why: bytes) -> Exception:
        error = Reason.unpack(why).exception()
        error.add_note(f"run {self._run} was aborted")
        return error

    def _lost_state(self, iteration: int) -> LostError:
        return LostError(
            f"Redis at {self._link.address} no longer has the state that follows iteration {iteration} of run "
            f"{self._run}: the server evicted or lost it. Set its maxmemory-policy to noeviction and start again"
        )


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
        self._lease, self._ttl, self._linger = _milliseconds(lease), _milliseconds(ttl), _milliseconds(linger)
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
            newest=_decoded(state, self._run, self._link) if state else None,
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
        _abort(self._link, self._keys, error, None, self._owner)

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


def _decoded(data: bytes, run: str, link: Link) -> State:
    try:
        return codec.decode(data)
    except ValueError as error:
        raise RunError(
            f"the state of run {run} that Redis at {link.address} gave is unreadable: {error}. Client and workers "
            "must have the same version of biglambda"
        ) from error


def _abort(link: Link, keys: tuple[str, ...], error: BaseException, worker: int | None, token: str) -> None:
    reason = Reason.of(error, worker)
    reason = Reason(reason.error, link.scrub(reason.message), worker)
    try:
        who = "" if worker is None else worker
        link.script("abort", keys, reason.pack(), who, token, patience=_ABORT_PATIENCE)
    except RunError:
        # The caller is about to raise what really went wrong. If Redis is lost, all others find that out too.
        return


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
