"""How a kernel is declared, compiled on first use, cached and listed."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import njit, types

SUPPORTED_NUMBA = ">=0.68,<0.70"

try:
    from numba.core.registry import cpu_target

    from .cache import KernelCache

    # For functions that take or return Vecs.  Without reference counts, or vectors would be spilled around each
    # call; with fastmath named, or the flags of whichever caller compiles them first would be used.
    inline = njit(nogil=True, fastmath=False, forceinline=True, _nrt=False)

    def target_machine() -> Any:
        """The LLVM target machine that compiles the kernels."""
        return cpu_target.target_context.codegen()._tm

    target_machine()
except (ImportError, AttributeError, KeyError, TypeError) as error:
    raise ImportError(
        f"biglambda.kernels uses internals of Numba that version {numba.__version__} does not have "
        f"({error}); supported: numba {SUPPORTED_NUMBA}; install one of these"
    ) from error

OPTIONS = {"nogil": True, "fastmath": False, "_nrt": False}  # no array is created inside a kernel
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Argument:
    """An array argument of a kernel: IN is never written to, OUT and INOUT are."""

    item: types.Type | str
    ndim: int
    readonly: bool

    def type_for(self, dtype: np.dtype) -> types.Array:
        """The Numba type when the rows are of this dtype."""
        real = numba.from_dtype(dtype)
        by_name = {"real": real, "integer": types.int32 if real == types.float32 else types.int64}
        item = by_name[self.item] if isinstance(self.item, str) else self.item
        return types.Array(item, self.ndim, "C", readonly=self.readonly)


def IN(item: types.Type | str, ndim: int) -> Argument:
    """An array that is only read; both read-only and writable arrays may be given."""
    return Argument(item, ndim, readonly=True)


def OUT(item: types.Type | str, ndim: int) -> Argument:
    """An array that is written to, scratch included."""
    return Argument(item, ndim, readonly=False)


REAL, INTEGER = "real", "integer"  # the dtype of the rows, and the integers of the same size
WEIGHTS = IN(REAL, 1)
"""The weight of each row, or None: a kernel that takes it is compiled apart for either, see `kernel`."""


class Kernel:
    """A compiled function over arrays, specialised by the dtype of the rows.

    Nothing is compiled or loaded before `kernel[dtype]` is asked for the first time; that is safe from several
    threads at once.

    Attributes
    ----------
    name : str
    function : callable
        The Python source.
    signatures : dict of numpy.dtype to Numba signature
    weighted : Kernel or None
        The same with `WEIGHTS` given, where the kernel takes them; the kernel itself is given None for them.
    """

    weighted: "Kernel | None" = None

    def __init__(
        self, function: Callable, arguments: Iterable, returns: Any, dtypes: Iterable[np.dtype], suffix: str = ""
    ) -> None:
        self.name = function.__name__ + suffix
        self.function = function
        self.__doc__ = function.__doc__
        self.signatures = {
            dtype: returns(*[a.type_for(dtype) if isinstance(a, Argument) else a for a in arguments])
            for dtype in dtypes
        }
        self._ready: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def given(self, weights: Any) -> "Kernel":
        """The kernel that is compiled for these weights of rows, an array or None."""
        if weights is None:
            return self
        if self.weighted is None:
            raise TypeError(f"{self.name} takes no weights of rows")
        return self.weighted

    def __repr__(self) -> str:
        return f"Kernel({self.name}, dtypes={[str(dtype) for dtype in self.signatures]})"

    def __getitem__(self, dtype: Any) -> Any:
        """The compiled dispatcher for rows of this dtype."""
        ready = self._ready.get(dtype)
        return self._specialise(np.dtype(dtype)) if ready is None else ready

    def _specialise(self, dtype: np.dtype) -> Any:
        if dtype not in self.signatures:
            allowed = " or ".join(str(allowed) for allowed in self.signatures)
            raise TypeError(f"{self.name} got rows of dtype {dtype}; allowed is {allowed}: convert with astype")
        with self._lock:
            if dtype not in self._ready:
                dispatcher = njit(**OPTIONS)(self.function)
                dispatcher._cache = KernelCache(f"{self.name}-{dtype}", self.function.__code__.co_filename)
                dispatcher.compile(self.signatures[dtype])
                dispatcher.disable_compile()
                self._ready[dtype] = dispatcher
        return self._ready[dtype]


KERNELS: dict[str, Kernel] = {}


def kernel(*arguments: Any, returns: Any = types.void, dtypes: Iterable[Any] = DTYPES) -> Callable:
    """Declare a kernel: nogil, no fastmath, cached on disk, compiled on first use, listed in `KERNELS`.

    Parameters
    ----------
    *arguments
        `IN(item, ndim)` or `OUT(item, ndim)` for a C-contiguous array, a Numba type for a scalar. With `WEIGHTS`
        among them two kernels are made, of which `NAME_weighted` is given the weights and NAME is given None, so
        that Numba prunes what stands behind `weights is not None`.
    returns : Numba type
    dtypes : iterable of dtypes
        The dtypes of rows for which the kernel exists.
    """

    def declare(function: Callable) -> Kernel:
        kinds = [np.dtype(dtype) for dtype in dtypes]
        unweighted = [types.none if a is WEIGHTS else a for a in arguments]
        made = Kernel(function, unweighted, returns, kinds)
        if any(a is WEIGHTS for a in arguments):  # not ==, which any IN(REAL, 1) is
            made.weighted = Kernel(function, arguments, returns, kinds, "_weighted")
        for variant in filter(None, (made, made.weighted)):
            if variant.name in KERNELS:
                raise ValueError(f"there are two kernels called {variant.name}")
            KERNELS[variant.name] = variant
        return made

    return declare


@dataclass(frozen=True)
class Tally:
    """Where the kernels that this process has used came from.

    Attributes
    ----------
    loaded : int
        How many from the cache, each dtype counted.
    compiled : int
        How many had to be compiled.
    """

    loaded: int
    compiled: int


def tally() -> Tally:
    """Where the kernels that this process has used came from."""
    stats = [dispatcher.stats for kernel in KERNELS.values() for dispatcher in tuple(kernel._ready.values())]
    return Tally(
        sum(sum(one.cache_hits.values()) for one in stats), sum(sum(one.cache_misses.values()) for one in stats)
    )


def specialisations() -> int:
    """How many kernels the library has, each dtype counted."""
    own = (kernel for kernel in KERNELS.values() if kernel.function.__module__.startswith(__package__))
    return sum(len(kernel.signatures) for kernel in own)


def warm(*names: str, dtypes: Iterable[Any] = DTYPES) -> int:
    """Compile kernels, or load them from the cache, ahead of their first use.

    Parameters
    ----------
    *names : str
        Names in `KERNELS`; all of them by default.
    dtypes : iterable of dtypes

    Returns
    -------
    int
        How many had to be compiled; 0 says that the cache had them all.

    Raises
    ------
    KeyError
        If there is no kernel of that name.
    """
    compiled = 0
    for name in names or tuple(KERNELS):
        if name not in KERNELS:
            raise KeyError(f"no kernel is called {name!r}; there are {', '.join(sorted(KERNELS))}")
        for dtype in map(np.dtype, dtypes):
            if dtype in KERNELS[name].signatures:
                compiled += sum(KERNELS[name][dtype].stats.cache_misses.values())
    return compiled
