"""The pass that comes first: what the rows hold, and their means and variances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from biglambda.kernels import LIMBS, mean_and_variance, summarize, used
from biglambda.runtime.algorithm import State
from biglambda.runtime.errors import DataError
from biglambda.runtime.rows import Rows

from .pipeline import Pass

LARGEST: dict[type, float] = {np.float32: 1e16, np.float64: 1e140}
"""Magnitudes whose squared distances, summed over many features and rows, stay finite."""

SMALLEST: dict[type, float] = {np.float32: 1e-16, np.float64: 1e-140}
"""Ranges of values whose squares do not underflow."""

_NONE = -1.0
_FIELDS = 8  # of a record, before what there is for each feature


@dataclass(frozen=True)
class Statistics(Pass):
    """Describes each feature, the same bits however the rows are split, and refuses what no kernel may see.

    Leaves ``n``, and ``minimum``, ``maximum``, ``mean`` and ``variance`` (of shape (d,), the variance of the whole
    data set, not of a sample) in the state.

    Attributes
    ----------
    following : str
        The next pass.
    n_features : int
        d.
    dtype : type
        Of the rows, float32 or float64.
    names : tuple of str or None
        Names of the features, for messages.
    at_least : int
        How many rows are needed.
    needed_by : str
        What needs them, for the message.
    """

    following: str
    n_features: int
    dtype: type
    names: tuple[str, ...] | None = None
    at_least: int = 1
    needed_by: str = "a fit"

    combine = "gather"

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`."""
        describe_rows(Rows(x))

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """A record of each part: see `describe_rows`."""
        return describe_rows

    def update(self, state: State, total: np.ndarray) -> State:
        """Put the records together.

        Raises
        ------
        DataError
            For NaN or infinity, with row and column, for a target that is not 0 or 1, and for too few rows.
        """
        records = list(split_records(total, self.n_features))
        for record in records:
            check_record(record, self.names)
        n = int(sum(record[0] for record in records))
        if n < self.at_least:
            raise DataError(f"the data have {n} rows, but {self.needed_by} needs at least {self.at_least}")
        minimum, maximum, limbs = merge_records(records, self.n_features)
        largest = np.maximum(-minimum, maximum)
        if largest.max() > LARGEST[self.dtype]:
            column = int(largest.argmax())
            raise DataError(
                f"column {column}{named(self.names, column)} holds {largest[column]:g}, whose squares would "
                f"overflow: allowed in {np.dtype(self.dtype)} are magnitudes up to {LARGEST[self.dtype]:g}, so "
                "scale it down"
            )
        spread = float((maximum - minimum).max())
        if 0 < spread < SMALLEST[self.dtype]:
            raise DataError(
                f"no column has values that differ by more than {spread:g}, whose square would underflow: the "
                f"least in {np.dtype(self.dtype)} is {SMALLEST[self.dtype]:g}, so scale the data up"
            )
        mean, variance = mean_and_variance(n, limbs)
        return {
            "pass": self.following, "n": n,
            "minimum": minimum, "maximum": maximum, "mean": mean, "variance": variance,
        }  # fmt: skip


def describe_rows(rows: Rows) -> np.ndarray:
    """What is known of some rows, as a record of float64.

    Number of rows; row, column and value of the first that is not finite; row and value of the first target that
    is not 0 or 1; the range of limbs that are not zero. Then each feature's minimum; each feature's maximum; these
    limbs of the features' sums and sums of squares.
    """
    d = rows.X.shape[1]
    fields = np.full(_FIELDS, _NONE)
    fields[0] = len(rows)
    minimum, maximum = np.full(d, np.inf), np.full(d, -np.inf)
    limbs = np.zeros((LIMBS, 2, d), np.int64)
    bad = summarize(rows.X, minimum, maximum, limbs)
    if bad >= 0:
        row, column = divmod(bad, d)
        fields[1:4] = rows.first + row, column, rows.X[row, column]
    if rows.y is not None:
        wrong = np.flatnonzero((rows.y != 0) & (rows.y != 1))
        if len(wrong):
            fields[4:6] = rows.first + wrong[0], rows.y[wrong[0]]
    part = used(limbs)
    fields[6:8] = part.start, part.stop
    return np.concatenate([fields, minimum, maximum, limbs[part].ravel()])


def split_records(records: np.ndarray, d: int) -> Iterator[np.ndarray]:
    """One record after the other, see `describe_rows`."""
    while len(records):
        size = _FIELDS + 2 * d * (1 + int(records[7] - records[6]))
        yield records[:size]
        records = records[size:]


def merge_records(records: list[np.ndarray], d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimum and maximum, (d,), and the limbs, (LIMBS, 2, d): exact sums, for less than 2**20 records."""
    minimum, maximum = np.full(d, np.inf), np.full(d, -np.inf)
    limbs = np.zeros((LIMBS, 2, d))
    for record in records:
        low, high, *_ = values = record[_FIELDS:].reshape(-1, d)
        np.minimum(minimum, low, out=minimum)
        np.maximum(maximum, high, out=maximum)
        limbs[int(record[6]) : int(record[7])] += values[2:].reshape(-1, 2, d)
    return minimum, maximum, limbs


def check_record(record: np.ndarray, names: tuple[str, ...] | None) -> None:
    """Raise `DataError` for the first row with a value, or else a target, that is not allowed."""
    if record[1] >= 0:
        column = int(record[2])
        raise DataError(
            f"row {int(record[1])}, column {column}{named(names, column)} is {record[3]}: only finite numbers "
            "are allowed; drop such rows or fill them in before the fit (rows and columns count from 0)"
        )
    if record[4] >= 0:
        raise DataError(
            f"the target of row {int(record[4])} is {record[5]:g}: only 0 and 1 are allowed (rows count from 0)"
        )


def named(names: tuple[str, ...] | None, column: int) -> str:
    """The name of a column in brackets, if it has one."""
    return f" ({names[column]})" if names else ""
