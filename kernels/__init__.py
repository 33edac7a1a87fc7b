"""Compiled kernels: arrays in, arrays out; no I/O, no threads, no Python objects.

Each driver works on the rows of one inner worker, holds no lock and no global state, and releases the GIL, so
that several threads may run it on disjoint slices of rows.  What a chunk of `CHUNK` rows contributes to a sum
depends on these rows alone and is a multiple of a quantum: sums come out with the same bits however the rows
are cut at chunk boundaries.

Rows are C-contiguous, float32 or float64, finite (see `summarize`), and may be read-only or memory-mapped.
"""

from .accumulator import LIMBS, mean_and_variance, used
from .centers import PackedCenters, choose_path, pack_centers
from .csr import check_csr, extent_csr
from .exact import CHUNK, quantum, quantum_pair
from .hessian import hessian_product
from .kmeans import assign, lloyd
from .logistic import logistic
from .registry import KERNELS, Kernel, Tally, tally, warm
from .rowwise import linear, min_distance
from .seeding import race
from .softmax import softmax
from .sparse import logistic_csr, softmax_csr
from .statistics import inertia, summarize
from .target import Target, target

__all__ = [
    "CHUNK",
    "KERNELS",
    "LIMBS",
    "Kernel",
    "PackedCenters",
    "Tally",
    "Target",
    "assign",
    "check_csr",
    "choose_path",
    "extent_csr",
    "hessian_product",
    "inertia",
    "linear",
    "lloyd",
    "logistic",
    "logistic_csr",
    "mean_and_variance",
    "min_distance",
    "pack_centers",
    "quantum",
    "quantum_pair",
    "race",
    "softmax",
    "softmax_csr",
    "summarize",
    "tally",
    "target",
    "used",
    "warm",
]
