"""What a Redis server did between two moments, by its own account."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from biglambda.runtime.channel.connect import connect

_SAMPLES = 11


@dataclass(frozen=True)
class Usage:
    """What a server did.

    Attributes
    ----------
    calls : Counter
        How often each command ran, also inside scripts.
    requests : float
        How often it read from a connection: a transaction that is sent at once counts once.
    cpu : float
        Seconds of user and system time.
    bytes_in, bytes_out : float
        What it received and sent.
    blocked : int
        Clients that wait in a blocking command.
    """

    calls: Counter[str]
    requests: float
    cpu: float
    bytes_in: float
    bytes_out: float
    blocked: int = 0

    def plus(self, other: Usage, times: int = 1) -> Usage:
        """The sum of both, the other taken so many times; a negative number takes it off."""
        names = self.calls.keys() | other.calls.keys()
        calls = Counter({name: self.calls[name] + times * other.calls[name] for name in names})
        return Usage(
            +calls,
            self.requests + times * other.requests,
            self.cpu + times * other.cpu,
            self.bytes_in + times * other.bytes_in,
            self.bytes_out + times * other.bytes_out,
            self.blocked,
        )


class Meter:
    """Reads a server's counters by INFO, and takes off what reading them costs.

    Parameters
    ----------
    url : str
        See `connect`.
    """

    def __init__(self, url: str) -> None:
        self._client, self._readings = connect(url), 0

    def begin(self) -> None:
        """What `used` says is counted from here."""
        readings = [self._read() for _ in range(_SAMPLES)]
        steps = [after.plus(before, -1) for before, after in pairwise(readings)]
        cpu, bytes_in, bytes_out = (
            statistics.median(getattr(step, name) for step in steps) for name in ("cpu", "bytes_in", "bytes_out")
        )
        # Now, not once for all: what INFO says gets longer with every command that the server comes to know.
        self._cost = Usage(Counter(info=1), 1, cpu, bytes_in, bytes_out)
        self._before, self._readings = readings[-1], 0

    def used(self) -> Usage:
        """What the server did since `begin`."""
        return self._read().plus(self._before, -1).plus(self._cost, -self._readings)

    def wait_for_blocked(self, clients: int, seconds: float = 60.0) -> None:
        """Wait until so many clients wait in a blocking command."""
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while (blocked := self._read().blocked) < clients:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{blocked} of {clients} workers wait for the next state after {seconds:.0f} s")
            pause.wait(2e-3)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _read(self) -> Usage:
        said = self._client.info("all")
        self._readings += 1
        calls = {name[8:].lower(): one["calls"] for name, one in said.items() if name.startswith("cmdstat_")}
        return Usage(
            Counter(calls),
            said["total_reads_processed"],
            said["used_cpu_user"] + said["used_cpu_sys"],
            said["total_net_input_bytes"],
            said["total_net_output_bytes"],
            said["blocked_clients"],
        )
