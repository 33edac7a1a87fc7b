"""Runs whose workers are killed, started twice and cut off: ``biglambda chaos``.

Everything is real, on this machine: a server, a TCP proxy before it that drops connections, and the workers'
own code in processes that kill themselves with SIGKILL just before or just after a command.  The results have to
be those of a run that nobody disturbed, bit by bit.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .algorithms.kmeans import fit_kmeans
from .algorithms.logistic import fit_logistic_regression
from .proxy import proxy
from .runtime.channel import redis as channel
from .runtime.channel.connect import connect
from .runtime.channel.link import Link
from .runtime.channel.server import start_server
from .runtime.events import Event, WorkerLost

fork = multiprocessing.get_context("fork")

ROWS_OF_A_WORKER, FEATURES, CLUSTERS = 2048, 4, 5
DEADLY = {"join": 0.05, "beat": 0.05, "push": 0.15, "put": 0.1, "finish": 0.5}
"""How likely a command is to be a worker's last, as long as workers are to be killed."""

ALGORITHMS = ("kmeans", "logreg")


@dataclass(frozen=True)
class Plan:
    """What happens to a run.

    Attributes
    ----------
    workers, iterations, kills, twice : int
        How many there are, how many are killed, and how many functions are started twice.
    cuts : float
        How likely the proxy is to drop a connection when something comes over it.
    seed : int
        Of all that is random, but for the order of events.
    climb : bool
        Whether workers add partials, as they do with large ones; else the server does.
    """

    workers: int = 13
    iterations: int = 25
    kills: int = 50
    twice: int = 5
    cuts: float = 0.05
    seed: int = 0
    climb: bool = False

    def __post_init__(self) -> None:
        for name, low in (("workers", 1), ("iterations", 1), ("kills", 0), ("twice", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)}: allowed are whole numbers from {low}")
        if not 0 <= self.cuts < 0.5:
            raise ValueError(f"cuts={self.cuts}: allowed are probabilities from 0 to below 0.5")


@dataclass
class Report:
    """What did happen.

    Attributes
    ----------
    same : bool
        Whether the results have the bits of an undisturbed run.
    kills : Counter
        How many workers were killed at each point, as in "before push".
    lost : int
        How many workers the client launched again.
    attempts : int
        How many processes were started.
    planned : int
        How many should have been: each worker once, each lost one again, and those that are started twice.
    cuts : int
        How many connections were dropped.
    eternal : list of str
        Keys that would never expire.
    seconds : float
        What it took.
    """

    same: bool
    kills: Counter[str]
    lost: int
    attempts: int
    planned: int
    cuts: int
    eternal: list[str]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong."""
        return self.same and self.attempts == self.planned and not self.eternal

    def __str__(self) -> str:
        points = ", ".join(f"{count} {point}" for point, count in sorted(self.kills.items()))
        return (
            f"{'same bits' if self.same else 'OTHER BITS'}, {self.kills.total()} killed ({points}), "
            f"{self.attempts} attempts of {self.planned} planned, {self.cuts} connections cut, "
            f"{len(self.eternal)} keys without an end, {self.seconds:.1f} s"
        )


def run(algorithm: str, plan: Plan) -> Report:
    """Disturb a run as planned, and compare it with one in this process.

    Parameters
    ----------
    algorithm : {"kmeans", "logreg"}
    plan : Plan
    """
    fit = _fit(algorithm, plan)
    expected = fit()
    lost: list[WorkerLost] = []

    def note(event: Event) -> None:
        if isinstance(event, WorkerLost):
            lost.append(event)

    start = time.perf_counter()
    with ExitStack() as stack:
        server = stack.enter_context(start_server())
        cut = fork.Value("i", 0)
        url = stack.enter_context(cutting_proxy(server.url, plan.cuts, plan.seed, cut))
        executor = stack.enter_context(Executor(plan))
        found = fit(
            workers=plan.workers, inner_workers=1, executor=executor, redis=url, retries=plan.kills + plan.workers,
            callbacks=[note],
        )  # fmt: skip
        seconds = time.perf_counter() - start
        with connect(server.url) as client:
            eternal = [key.decode() for key in client.scan_iter("*") if client.ttl(key) == -1]
    return Report(
        same=found == expected,
        kills=executor.kills(),
        lost=len(lost),
        attempts=executor.started,
        planned=plan.workers + len(lost) + executor.doubled,
        cuts=cut.value,
        eternal=eternal,
        seconds=seconds,
    )


def _fit(algorithm: str, plan: Plan) -> Callable[..., tuple[bytes, ...]]:
    """A fit that goes on for all its iterations, as a function of how to run it; it returns all bits."""
    generator = np.random.default_rng(plan.seed)
    x = generator.standard_normal((plan.workers * ROWS_OF_A_WORKER, FEATURES))

    def kmeans(**how: Any) -> tuple[bytes, ...]:
        result = fit_kmeans(x, CLUSTERS, init=x[:CLUSTERS], max_iter=plan.iterations, tol=0.0, **how)
        return result.centers.tobytes(), np.asarray(result.labels).tobytes(), result.history.tobytes()

    if algorithm == "kmeans":
        return kmeans
    y = (x[:, 0] + generator.standard_normal(len(x)) > 0).astype(float)

    def logistic(**how: Any) -> tuple[bytes, ...]:
        result = fit_logistic_regression(x, y, max_iter=plan.iterations, tol=0.0, **how)
        return result.weights.tobytes(), result.history.tobytes()

    return logistic


# ---- functions -----------------------------------------------------------------------------------


class Executor:
    """Runs each function in a process of its own; stands in for a Lithops executor, whose interface it has.

    Parameters
    ----------
    plan : Plan
        How many of the processes kill themselves, and how many functions are started twice.
    """

    backend = "localhost"
    config: dict[str, Any] = {"localhost": {}}  # noqa: RUF012 - as Lithops has it

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._to_kill = fork.Value("i", plan.kills)
        self._points, self._killed = fork.Pipe(duplex=False)
        self._random = random.Random(plan.seed)
        self._processes: list[Any] = []
        self.started = self.doubled = 0

    def map(self, function: Callable[[Any], Any], jobs: Sequence[Any], **_: object) -> list[Future]:
        """Start a process for each job, and for some of them two."""
        return [self._start(function, job) for job in jobs]

    def wait(self, futures: Sequence[Future], **_: object) -> None:
        """See what has come in."""
        for future in futures:
            future.look()

    def kills(self) -> Counter[str]:
        """Where processes killed themselves."""
        found: Counter[str] = Counter()
        while self._points.poll():
            found[self._points.recv_bytes().decode()] += 1
        return found

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()

    def _start(self, function: Callable[[Any], Any], job: Any) -> Future:
        twice = self.doubled < self._plan.twice and self._random.random() < self._plan.twice / self._plan.workers
        self.doubled += twice
        receivers = []
        for _ in range(1 + twice):
            receiver, sender = fork.Pipe(duplex=False)
            seed = self._random.random()
            process = fork.Process(target=self._work, args=(function, job, sender, seed), daemon=True)
            process.start()
            sender.close()
            self._processes.append(process)
            self.started += 1
            receivers.append(receiver)
        return Future(receivers)

    def _work(self, function: Callable[[Any], Any], job: Any, sender: Connection, seed: float) -> None:
        self._make_deadly(random.Random(seed))
        with suppress(KeyboardInterrupt):
            try:
                answer: tuple[Exception | None, Any] = (None, function(job))
            except Exception as error:
                answer = (error, None)
            sender.send(answer)

    def _make_deadly(self, chance: random.Random) -> None:
        call, channel.LARGE = Link.script, 0 if self._plan.climb else channel.LARGE

        def script(link: Link, name: str, *args: Any, **options: Any) -> Any:
            dies = chance.random() < DEADLY.get(name, 0.0)
            before = chance.random() < 0.5
            if dies and before:
                self._die(f"before {name}")
            reply = call(link, name, *args, **options)
            if dies:
                got = {"LAST": " with the sum", "CLIMB": " with two to add"}.get(reply[0], "")
                self._die(f"after {name}{got}")
            return reply

        Link.script = script  # type: ignore[method-assign, assignment]

    def _die(self, point: str) -> None:
        with self._to_kill.get_lock():
            if self._to_kill.value == 0:
                return
            self._to_kill.value -= 1
            self._killed.send_bytes(point.encode())
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Future:
    """What a function brings back, from the first of its processes that brings anything but a failure."""

    _receivers: list[Connection]
    error: bool = False
    done: bool = False
    _answer: tuple[Exception | None, Any] = (None, None)
    success: bool = field(init=False, default=False)

    def look(self) -> None:
        """Take what has come."""
        for receiver in list(self._receivers):
            if self.done or not receiver.poll():
                continue
            self._receivers.remove(receiver)
            try:
                self._answer = receiver.recv()
            except EOFError:
                self._answer = MemoryError("killed with SIGKILL"), None
            receiver.close()
            failed = self._answer[0] is not None
            self.done = not failed or not self._receivers
            self.error, self.success = self.done and failed, self.done

    def status(self, **_: object) -> None:
        """Raise why it failed, if it did."""
        if self._answer[0] is not None:
            raise self._answer[0]

    def result(self, **_: object) -> Any:
        """What it brought back."""
        return self._answer[1]


# ---- the network ---------------------------------------------------------------------------------


def cutting_proxy(url: str, cuts: float, seed: int, count: Any) -> AbstractContextManager[str]:
    """The address of a proxy that may drop a connection, as likely as ``cuts``, when something comes over it."""
    return proxy(url, _serve, cuts, seed, count)


def _serve(listener: socket.socket, server: dict[str, Any], cuts: float, seed: int, count: Any) -> None:
    chance = random.Random(seed)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if chance.random() < cuts:
                    count.value += 1
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "path" in server:
            to_server = await asyncio.open_unix_connection(server["path"])
        else:
            to_server = await asyncio.open_connection(server["host"], server["port"])
        pumps = [pump(reader, to_server[1]), pump(to_server[0], writer)]
        tasks = [asyncio.ensure_future(one) for one in pumps]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, to_server[1]):
            end.close()
        await asyncio.wait(tasks)

    async def serve() -> None:
        async with await asyncio.start_server(connected, sock=listener) as cutting:
            await cutting.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
