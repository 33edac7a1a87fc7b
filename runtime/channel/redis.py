"""A worker's end of a run through Redis.

A worker and iteration cost two commands: push, which gives the partial and merges it into a tree of fixed shape,
and a blocking read of the stream that the next state appears in. Whoever completes the tree gets the sum, computes
the state and publishes it. Every command is safe to repeat, and every wait ends.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable

import numpy as np

from ..algorithm import Combine, State
from ..target import Target
from ..trace import Trace
from . import codec
from .base import FencedError, LostError, OutOfTime
from .heartbeat import Heartbeat
from .link import Link
from .reason import Reason
from .run import abort_run, decode_state, milliseconds, run_keys

RACES = 3
"""Iterations in which a backup may come later than the worker that it is to replace, before it gives up."""
LARGE = 250_000
"""Numbers in all partials of an iteration from which on workers add them, so that the server is not kept busy."""


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
        self._block, self._lease = block, milliseconds(lease)
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
        return version, decode_state(state, self._run, self._link), word == "DONE"

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
        abort_run(self._link, self._keys, error, self._worker, self._token)

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
        state = decode_state(fields.get(b"state", b""), self._run, self._link)
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
