"""What is measured: a kernel on made-up rows, and other libraries that compute the same."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from biglambda.runtime.inner import Inner, Task
from biglambda.runtime.rows import Rows

from .machine import available_bytes
from .timing import Timer, timed

DEFAULT_K = 25


class WrongResult(ValueError):
    """A contender computed something else than our kernel: its time would say nothing."""


class NotHere(Exception):
    """A contender that cannot take part, and why: "float32 only"."""


class Shape(NamedTuple):
    """Rows, features, and centres or classes (0 where a kernel has none)."""

    n: int
    d: int
    k: int = 0

    def __str__(self) -> str:
        return f"{self.n} x {self.d}" + (f", k={self.k}" if self.k else "")

    @classmethod
    def parse(cls, text: str, k: int = 0) -> Self:
        """A shape from ``ROWSxFEATURES``; k is for kernels that have it.

        Raises
        ------
        ValueError
            If the text is something else.
        """
        found = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text.replace("_", ""))
        if not found:
            raise ValueError(
                f"shape {text!r}: allowed is ROWSxFEATURES, two whole numbers from 1, as in 1000000x16"
            )
        return cls(int(found[1]), int(found[2]), k)


@dataclass(frozen=True)
class Contender:
    """Something that computes what our kernel does.

    Attributes
    ----------
    answer : callable
        Computes once, and returns what `Case.check` compares.
    timer : callable
        Measures once, and returns the seconds of one operation.
    """

    answer: Callable[[], Any]
    timer: Timer

    @classmethod
    def of(cls, call: Callable[[], Any]) -> Self:
        """A contender whose operation is one call."""
        return cls(call, timed(call))


class Case(ABC):
    """A kernel on rows of one shape and dtype.

    Attributes
    ----------
    name : str
        What the kernel is called.
    shapes : tuple of Shape
        Those of the published tables.
    quick : tuple of Shape
        What ``biglambda bench kernels`` measures unless something else is asked for.
    rivals : mapping of str to callable
        From a library's name to a function of (case, threads) that makes its contender. It may raise ImportError
        (the library is not installed) or `NotHere`.
    kernels : tuple of str
        Names in `biglambda.kernels.KERNELS` of what may be called.
    uses_k : bool
        Whether k means something.
    x : ndarray (n, d)
        The rows: one broad Gaussian, in which k-means takes long to converge.
    rows : Rows
        The same, with what the kernel keeps beside them.
    """

    name: ClassVar[str]
    shapes: ClassVar[tuple[Shape, ...]]
    quick: ClassVar[tuple[Shape, ...]]
    rivals: ClassVar[Mapping[str, Callable[[Any, int], Contender]]]
    kernels: ClassVar[tuple[str, ...]]
    uses_k: ClassVar[bool] = False

    def __init__(self, shape: Shape, dtype: Any, seed: int = 0) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.random = np.random.default_rng(seed)
        self.x = self.random.standard_normal((shape.n, shape.d), self.dtype.type)
        self.rows = Rows(self.x, fresh=False)
        self.make()

    def make(self) -> None:  # noqa: B027 - many cases need rows only
        """Make what the kernel needs beside the rows."""

    @classmethod
    def with_k(cls, shape: Shape, k: int | None) -> Shape:
        """The shape with k centres if the kernel has any; 25 if nobody says how many.

        Raises
        ------
        ValueError
            If there are fewer rows than centres.
        """
        wanted = shape._replace(k=(k or shape.k or DEFAULT_K) if cls.uses_k else 0)
        if wanted.k > wanted.n:
            raise ValueError(f"{wanted}: at most {wanted.n} centres can be had of {wanted.n} rows")
        return wanted

    @classmethod
    def check_memory(cls, shape: Shape, dtype: Any) -> None:
        """Raise `ValueError` unless the rows fit into memory, with the copies that rivals make of them."""
        needed, free = shape.n * (3 * shape.d * np.dtype(dtype).itemsize + 64), available_bytes()
        if free is not None and needed > free:
            raise ValueError(
                f"{cls.name} of {shape} {dtype} needs about {needed / 1e9:.1f} GB (three times the rows: "
                f"rivals copy them), but {free / 1e9:.1f} GB are free: take fewer rows"
            )

    @property
    @abstractmethod
    def flops(self) -> float:
        """Floating-point operations of one operation: the useful ones, an FMA being two."""

    @property
    def bytes(self) -> float:
        """Bytes that one operation must move: by default, the rows."""
        return self.x.nbytes

    @abstractmethod
    def task(self) -> Task:
        """Prepare one operation: what each inner worker then does with its part of the rows."""

    def combine(self, parts: list[np.ndarray]) -> Any:
        """The answer of the inner workers together: by default, a sum."""
        return reduce(np.add, parts)

    def operation(self, inner: Inner) -> Any:
        """All that a worker does: preparation, the kernel on all threads, and putting their results together."""
        return self.combine(inner.map(self.task(), self.rows, ()))

    @abstractmethod
    def check(self, ours: Any, theirs: Any) -> None:
        """Raise `WrongResult` unless the two answers agree as far as the dtype can tell."""

    def tolerance(self, single: float = 1e-5, double: float = 1e-12) -> float:
        """The one for this dtype."""
        return single if self.dtype == np.float32 else double

    def near(self, what: str, ours: Any, theirs: Any, allowed: Any) -> None:
        """Raise `WrongResult` unless the shapes are the same and the differences at most `allowed`."""
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if ours.shape != theirs.shape:
            raise WrongResult(f"{what} have shape {theirs.shape}, not {ours.shape}")
        worst = np.abs(ours - theirs) - allowed
        if not (worst <= 0).all():
            raise WrongResult(f"{what} differ by {np.max(worst + allowed):.3g}")
