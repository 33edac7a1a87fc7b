"""What workers compute on, and what it means that they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SHOWN = 10  # workers that a message names


class MixedTargetsWarning(UserWarning):
    """A run had workers whose results can differ in the last bits."""


class Target(NamedTuple):
    """What the code of a worker was compiled for.

    Attributes
    ----------
    name : str
        As "x86-64-v3".
    family : str
        Targets of one family give the same bits; as "fma".
    """

    name: str
    family: str

    def pack(self) -> bytes:
        """As bytes that workers of a run can send."""
        return "/".join(self).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Target:
        """What `pack` packed."""
        name, _, family = data.decode(errors="replace").rpartition("/")
        return cls(name, family)


Targets = Mapping[Target, tuple[int, ...]]
"""The workers of each target, in order."""


def grouped(pairs: Iterable[tuple[Target, int]]) -> dict[Target, tuple[int, ...]]:
    """The workers of each target, targets in the order of their first worker."""
    found: dict[Target, set[int]] = {}
    for target, worker in sorted(pairs, key=lambda pair: pair[1]):
        found.setdefault(target, set()).add(worker)
    return {target: tuple(sorted(workers)) for target, workers in found.items()}


def mixture(targets: Targets) -> str | None:
    """What to say of a run on these targets, or None if they are all of one family."""
    if len({target.family for target in targets}) < 2:
        return None
    listed = "; ".join(
        f"{target.name} ({target.family}): worker{'s' if len(workers) > 1 else ''} {shown(workers)}"
        for target, workers in targets.items()
    )
    return (
        f"workers of this run compute on targets that round differently: {listed}. The result is right, but "
        "another run may differ from it in the last bits. For the same bits on every run, use functions that all "
        "have fused multiply-add (x86-64-v3 or newer, arm64), or all have none"
    )


def shown(workers: tuple[int, ...]) -> str:
    """The first few workers' numbers, as text."""
    some = ", ".join(map(str, workers[:SHOWN]))
    return f"{some} and {len(workers) - SHOWN} more" if len(workers) > SHOWN else some
