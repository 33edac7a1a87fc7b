"""The passes that come first: what the rows hold, and their exact means and variances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from biglambda.kernels import moments, quantum, scan
from biglambda.runtime.algorithm import State
from biglambda.runtime.errors import DataError
from biglambda.runtime.rows import Rows

from .pipeline import Pass

LARGEST: dict[type, float] = {np.float32: 1e16, np.float64: 1e140}
"""Magnitudes whose squared distances, summed over many features and rows, stay finite."""

SMALLEST: dict[type, float] = {np.float32: 1e-16, np.float64: 1e-140}
"""Ranges of values whose squares do not underflow."""

_NONE = -1.0
_FIELDS = 6  # of a record of `Scan`, before the extremes


@dataclass(frozen=True)
class Scan(Pass):
    """Counts the rows, finds each feature's extremes, and refuses what no kernel may see.

    Leaves ``n``, ``minimum`` and ``maximum`` (of shape (d,)) in the state.

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
        scan_rows(Rows(x))

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """A record of each part: its rows, the first bad value, the first bad target, and the extremes."""
        return scan_rows

    def update(self, state: State, total: np.ndarray) -> State:
        """Put the records together.

        Raises
        ------
        DataError
            For NaN or infinity, with row and column, for a target that is not 0 or 1, and for too few rows.
        """
        records = total.reshape(-1, _FIELDS + 2 * self.n_features)
        check_records(records, self.names)
        records = records[records[:, 0] > 0]
        n = int(records[:, 0].sum())
        if n < self.at_least:
            raise DataError(f"the data have {n} rows, but {self.needed_by} needs at least {self.at_least}")
        lows, highs = np.split(records[:, _FIELDS:], 2, axis=1)
        minimum, maximum = lows.min(axis=0), highs.max(axis=0)
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
        return {"pass": self.following, "n": n, "minimum": minimum, "maximum": maximum}


def scan_rows(rows: Rows) -> np.ndarray:
    """Number of rows; row, column and value of the first that is not finite; row and value of the first target
    that is not 0 or 1; each feature's minimum; each feature's maximum.
    """
    d = rows.X.shape[1]
    record = np.full(_FIELDS + 2 * d, _NONE)
    record[0] = len(rows)
    minimum, maximum = np.full(d, np.inf), np.full(d, -np.inf)
    bad = scan(rows.X, minimum, maximum)
    if bad >= 0:
        row, column = divmod(bad, d)
        record[1:4] = rows.first + row, column, rows.X[row, column]
    if rows.y is not None:
        wrong = np.flatnonzero((rows.y != 0) & (rows.y != 1))
        if len(wrong):
            record[4:6] = rows.first + wrong[0], rows.y[wrong[0]]
    record[_FIELDS:] = np.concatenate([minimum, maximum])
    return record


def check_records(records: np.ndarray, names: tuple[str, ...] | None) -> None:
    """Raise `DataError` for the first row with a value, or a target, that is not allowed."""
    for record in records:
        if record[1] >= 0:
            column = int(record[2])
            raise DataError(
                f"row {int(record[1])}, column {column}{named(names, column)} is {record[3]}: only finite numbers "
                "are allowed; drop such rows or fill them in before the fit (rows and columns count from 0)"
            )
        if record[4] >= 0:
            raise DataError(
                f"the target of row {int(record[4])} is {record[5]:g}: only 0 and 1 are allowed "
                "(rows count from 0)"
            )


def named(names: tuple[str, ...] | None, column: int) -> str:
    """The name of a column in brackets, if it has one."""
    return f" ({names[column]})" if names else ""


@dataclass(frozen=True)
class Moments(Pass):
    """Exact mean and variance of each feature, the same bits however the rows are split.

    Leaves ``mean`` and ``variance`` (of shape (d,), of the whole data set, not of a sample) in the state.

    Attributes
    ----------
    following : str
        The next pass.
    """

    following: str

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`."""
        d = x.shape[1]
        moments(x, np.zeros(d), np.ones(2 * d), np.zeros(2 * d))

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """Sums of the distances from the middle of each feature's range, and of their squares."""
        middle, half = _middle(state)
        quanta = quantum(state["n"] * np.concatenate([half, half**2]))

        def sums(rows: Rows) -> np.ndarray:
            out = np.zeros(2 * len(middle))
            moments(rows.X, middle, quanta, out)
            return out

        return sums

    def update(self, state: State, total: np.ndarray) -> State:
        """Mean and variance from the sums."""
        middle, _ = _middle(state)
        first, second = np.split(total / state["n"], 2)
        return {
            "pass": self.following,
            "mean": middle + first,
            "variance": np.maximum(second - first**2, 0.0),
        }


def _middle(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Middle of each feature's range, and the largest distance from it."""
    minimum, maximum = state["minimum"], state["maximum"]
    middle = minimum / 2 + maximum / 2
    return middle, np.maximum(maximum - middle, middle - minimum)
