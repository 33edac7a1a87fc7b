"""A function: its instances, started when all others are at work, and used again."""

from __future__ import annotations

import threading
import time
from collections import deque

from lambda_instance import Instance, Invocation, Reply, Spec

STARTS_AT_ONCE = 2
"""On a few cores, instances that start together would keep each other from it."""

_starts = threading.BoundedSemaphore(STARTS_AT_ONCE)


class Function:
    """Invokes instances.

    Attributes
    ----------
    spec : Spec
        For new instances.
    starts, invocations : int
        How often an instance was started, and how many events there were.
    log : deque of str
        The last lines of instances that have ended.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.starts = self.invocations = 0
        self._lock = threading.Lock()
        self._idle: list[Instance] = []
        self._all: set[Instance] = set()
        self._ended: deque[str] = deque(maxlen=200)

    def invoke(self, payload: bytes) -> Reply:
        """Have an instance handle an event, and return what it returns."""
        instance = self._take()
        if isinstance(instance, Reply):
            return instance
        reply = instance.run(Invocation(payload, time.time() + instance.spec.timeout))
        self._give_back(instance)
        return reply

    def update(self, spec: Spec) -> None:
        """Have events that come from now on handled by new instances."""
        with self._lock:
            self.spec = spec
            idle, self._idle = self._idle, []
        for instance in idle:
            self._end(instance)

    def stop(self) -> None:
        """End all instances, also those at work."""
        with self._lock:
            self._idle = []
            instances = list(self._all)
        for instance in instances:
            self._end(instance)

    def log(self) -> list[str]:
        """The last lines that instances printed."""
        with self._lock:
            return [*self._ended, *(line for instance in self._all for line in list(instance.log))]

    def _take(self) -> Instance | Reply:
        with self._lock:
            self.invocations += 1
            while self._idle:
                instance = self._idle.pop()
                if not instance.has_ended:
                    return instance
        with _starts:
            instance = Instance(self.spec)
            with self._lock:
                self.starts += 1
                self._all.add(instance)
            problem = instance.wait_until_ready()
        if problem is not None:
            self._end(instance)
            return problem
        return instance

    def _give_back(self, instance: Instance) -> None:
        with self._lock:
            if not instance.has_ended and instance in self._all and instance.spec is self.spec:
                self._idle.append(instance)
                return
        self._end(instance)

    def _end(self, instance: Instance) -> None:
        instance.stop()
        with self._lock:
            self._all.discard(instance)
            self._ended.extend(instance.log)
