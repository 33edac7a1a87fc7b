"""Measures a case: contenders and roofs in turn, on pinned threads, after their results were compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from biglambda.runtime.inner import make_inner

from .case import Case, Contender, NotHere, Shape, WrongResult
from .machine import available_bytes
from .roofs import DRAM_BYTES, fma_timer, read_timer
from .timing import SPIN_DOWN, Timer, interleaved, median_ratio, pinned, quartiles

OURS, FMA, READ = "biglambda", "roof: FMA", "roof: read"
ROOFS = (FMA, READ)
ROOF_ROUNDS = 7
CERTAIN = 0.2  # between the quartiles, relative to the median


@dataclass(frozen=True)
class Measurement:
    """A case on so many threads.

    Attributes
    ----------
    kernel, shape, dtype, threads
        What was measured.
    flops, bytes : float
        Of one operation.
    seconds : dict of str to list of float
        Of each contender, `OURS` first, one for each round.
    roofs : dict of str to list of float
        In the same rounds: seconds that the operation's flops would take out of registers (`FMA`), and that
        reading the rows takes (`READ`).
    absent : dict of str to str
        Contenders that did not take part, and why.
    """

    kernel: str
    shape: Shape
    dtype: str
    threads: int
    flops: float
    bytes: float
    seconds: dict[str, list[float]]
    roofs: dict[str, list[float]]
    absent: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Seconds of an operation."""
        return quartiles(self.seconds[name])[1]

    def ratio(self, rival: str) -> float:
        """How many times as long as ours the rival took."""
        return median_ratio(self.seconds, OURS, rival)

    def is_certain(self, name: str) -> bool:
        """Whether half of a contender's times lie close together."""
        low, middle, high = quartiles(self.seconds[name])
        return high - low <= CERTAIN * middle

    def share(self, roof: str, name: str = OURS) -> float:
        """The part of a roof that a contender reached, measured in the same rounds."""
        return median_ratio({**self.seconds, **self.roofs}, name, roof)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True)
class Roofs:
    """What the machine can do.

    Attributes
    ----------
    fma : dict of (str, int) to float
        FLOP/s by dtype and threads.
    read : dict of int to float
        Bytes/s by threads, from a buffer that no cache should hold.
    """

    fma: dict[tuple[str, int], float]
    read: dict[int, float]

    def __str__(self) -> str:
        fma = "; ".join(f"{value / 1e9:.0f} GFLOP/s {dtype} on {n}" for (dtype, n), value in self.fma.items())
        read = "; ".join(f"{value / 1e9:.1f} GB/s on {n}" for n, value in self.read.items())
        return f"roofs by threads: FMA {fma}; DRAM read {read}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fma = [{"dtype": dtype, "threads": n, "flops_per_second": x} for (dtype, n), x in self.fma.items()]
        return {"fma": fma, "read": [{"threads": n, "bytes_per_second": x} for n, x in self.read.items()]}


def measure_roofs(threads: Sequence[int], dtypes: Sequence[str], buffer_bytes: int = DRAM_BYTES) -> Roofs:
    """Measure both roofs for each number of threads; the buffer is a quarter of free memory at most."""
    free = available_bytes()
    size = buffer_bytes if free is None else min(buffer_bytes, free // 4)
    buffer = np.ones(size // 8)
    fma: dict[tuple[str, int], float] = {}
    read: dict[int, float] = {}
    for count in threads:
        with pinned(count), make_inner("threads", count) as inner:
            timers = {dtype: fma_timer(inner, np.dtype(dtype)) for dtype in dtypes}
            seconds = interleaved({**timers, READ: read_timer(inner, buffer)}, ROOF_ROUNDS)
        read[count] = 1 / quartiles(seconds.pop(READ))[1]
        fma |= {(dtype, count): 1 / quartiles(values)[1] for dtype, values in seconds.items()}
    return Roofs(fma, read)


def measure(case: Case, threads: int, rounds: int, rivals: Sequence[str] | None = None) -> Measurement:
    """Measure a case.

    Parameters
    ----------
    case : Case
    threads : int
        Of ours and of every rival; all are kept on as many CPUs.
    rounds : int
    rivals : sequence of str, optional
        Names in ``case.rivals``; all by default.

    Raises
    ------
    WrongResult
        If a contender's result is not ours.
    """
    from threadpoolctl import threadpool_limits

    absent: dict[str, str] = {}
    made: dict[str, Contender] = {}
    for name, make in case.rivals.items():
        if rivals is None or name in rivals:
            try:
                made[name] = make(case, threads)
            except ImportError:
                absent[name] = "not installed: pip install 'biglambda[bench]'"
            except NotHere as reason:
                absent[name] = str(reason)
    # Limits hold for libraries that are loaded, so the rivals come first.
    with pinned(threads), threadpool_limits(threads), make_inner("threads", threads) as inner:
        ours = Contender.of(lambda: case.operation(inner))
        timers: dict[str, Timer] = {OURS: ours.timer}
        fma, read = fma_timer(inner, case.dtype), read_timer(inner, case.x)
        timers[FMA] = lambda: case.flops * fma()
        timers[READ] = lambda: case.x.nbytes * read()
        result = ours.answer()
        for name, rival in made.items():
            try:
                case.check(result, rival.answer())
                rival.timer()
            except WrongResult as error:
                raise WrongResult(f"{case.name} of {case.shape} {case.dtype}: {name}'s {error}") from None
            except NotHere as reason:
                absent[name] = str(reason)
            else:
                timers[name] = rival.timer
        seconds = interleaved(timers, rounds, SPIN_DOWN if threads > 1 else 0.0)
    roofs = {name: seconds.pop(name) for name in ROOFS}
    return Measurement(
        case.name, case.shape, str(case.dtype), threads, case.flops, case.bytes, seconds, roofs, absent
    )
