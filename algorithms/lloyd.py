"""The passes of k-means itself: Lloyd's iteration, and the last assignment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from biglambda.kernels import assign, inertia, lloyd, pack_centers, quantum, quantum_pair
from biglambda.runtime.algorithm import State
from biglambda.runtime.rows import Rows

from .pipeline import Pass


@dataclass(frozen=True)
class Lloyd(Pass):
    """One iteration: label the rows, total each cluster's, and move the centres.

    Follows scikit-learn: an iteration that changes no label ends the fit (strict convergence), and so does one
    whose centres moved by no more than the tolerance. A centre without rows stays where it was.

    Attributes
    ----------
    following : str
        The pass after the last iteration.
    n_clusters, n_features : int
        k and d.
    dtype : type
        Of the rows.
    max_iter : int
        Iterations at most.
    tol : float
        Tolerance for the squared shift of all centres, relative to the mean variance of the features.
    """

    following: str
    n_clusters: int
    n_features: int
    dtype: type
    max_iter: int
    tol: float

    writes = ("labels",)

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`."""
        k, d = self.n_clusters, self.n_features
        packed = pack_centers(np.zeros((k, d)), np.zeros(d), self.dtype)
        lloyd(x, packed, np.ones(d + 3), np.zeros(1, np.int32), np.zeros((k, d)), np.zeros(k))

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """Totals (k, d), counts (k,), the two parts of the score, and how many labels changed."""
        k, d = self.n_clusters, self.n_features
        shift = _shift(state, self.dtype)
        packed = pack_centers(state["centers"], shift, self.dtype)
        previous = state["previous"]
        quanta = _quanta(state, shift)

        def iterate(rows: Rows) -> np.ndarray:
            labels = rows.memory["labels"]
            if previous is None:
                labels[:] = -1
            elif rows.fresh:
                assign(rows.X, pack_centers(previous, shift, self.dtype), labels)
            out = np.zeros(k * d + k + 3)
            totals, counts = out[: k * d].reshape(k, d), out[k * d : -3]
            out[-1], out[-3], out[-2] = lloyd(rows.X, packed, quanta, labels, totals, counts)
            return out

        return iterate

    def update(self, state: State, total: np.ndarray) -> State:
        """The new centres, and whether they are the last."""
        k, d = self.n_clusters, self.n_features
        totals, counts = total[: k * d].reshape(k, d), total[k * d : -3]
        old, n_iter, offset = state["centers"], state["n_iter"] + 1, _shift(state, self.dtype)
        inertia_before, changed = max(_energy(state, offset) + (total[-3] + total[-2]), 0.0), total[-1]
        centers = move_centers(old, offset, totals, counts)
        shift = float(((centers - old) ** 2).sum())
        converged = changed == 0 or shift <= self.tol * state["variance"].mean()
        over = converged or n_iter == self.max_iter
        return {
            "pass": self.following if over else state["pass"],
            "centers": centers,
            "previous": old,
            "n_iter": n_iter,
            "shift": shift,
            "changed": int(changed),
            "inertia": float(inertia_before),
            "history": np.append(state["history"], inertia_before),
            "converged": bool(converged),
        }


def move_centers(centers: np.ndarray, shift: np.ndarray, totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Each cluster's mean; a centre without rows stays where it was.

    Parameters
    ----------
    centers : ndarray of shape (k, d)
        The centres that the rows were assigned to.
    shift : ndarray of shape (d,)
        What was subtracted from each row before it was totalled.
    totals : ndarray of shape (k, d)
        Sum of each cluster's rows, less the shift.
    counts : ndarray of shape (k,)
        Rows of each cluster.
    """
    some = (counts > 0)[:, np.newaxis]
    return np.where(some, shift + totals / np.maximum(counts, 1)[:, np.newaxis], centers)


@dataclass(frozen=True)
class Assign(Pass):
    """The labels and the inertia that belong to the final centres; the best of several starts wins.

    Attributes
    ----------
    restart_with : str
        The pass that starts the next attempt.
    n_init : int
        How many attempts.
    dtype : type
        Of the rows.
    """

    restart_with: str
    n_init: int
    dtype: type

    writes = ("labels",)

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`; labels come from Lloyd's kernel."""
        inertia(x, x.astype(np.float64), np.zeros(1, np.int32), np.ones(2))

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """The two parts of the inertia, from float64 differences."""
        centers, shift = state["centers"], _shift(state, self.dtype)
        packed = pack_centers(centers, shift, self.dtype)
        units = _inertia_units(state)

        def label(rows: Rows) -> np.ndarray:
            labels = rows.memory["labels"]
            assign(rows.X, packed, labels)
            return np.array(inertia(rows.X, centers, labels, units))

        return label

    def update(self, state: State, total: np.ndarray) -> State:
        """Finish, or start again, or go back to the best attempt for its labels."""
        fit = {name: state[name] for name in ("centers", "n_iter", "converged", "shift", "history")}
        fit["inertia"] = float(total[0] + total[1])
        if state["best"] is not None and state["best"]["inertia"] <= fit["inertia"]:
            fit = state["best"]
        restart = state["restart"] + 1
        if restart < self.n_init:
            again = {"pass": self.restart_with, "restart": restart}
            return {"best": fit, "previous": None, "n_iter": 0, "history": np.empty(0), **again}
        # The labels are those of the attempt that came last: one more pass unless that was the best.
        last = np.array_equal(fit["centers"], state["centers"])
        return {**fit, "best": fit, "restart": restart, "done": last}


def _shift(state: State, dtype: type) -> np.ndarray:
    """The mean, as far as the rows' dtype can hold it: what kernels subtract from each row."""
    return state["mean"].astype(dtype).astype(np.float64)


def _energy(state: State, shift: np.ndarray) -> float:
    """The sum of |row - shift|**2 over all rows."""
    return float(state["n"] * (state["variance"] + (state["mean"] - shift) ** 2).sum())


def _quanta(state: State, shift: np.ndarray) -> np.ndarray:
    """Units in which the totals of each feature, the counts, and the score are exact."""
    reach = np.maximum(state["maximum"] - shift, shift - state["minimum"])
    # A score is between -|row - shift|**2 and |row - center|**2.
    bound = state["n"] * max(2 * (reach**2).sum(), _inertia_bound(state))
    return np.concatenate([quantum(state["n"] * reach), [1.0], quantum_pair(bound, state["n"])])


def _inertia_units(state: State) -> np.ndarray:
    """Units of the inertia: no row is farther from its centre than the farthest corner is from any one centre.

    Twice that, since a label is the nearest centre's only as far as the rows' dtype can tell.
    """
    return quantum_pair(state["n"] * _inertia_bound(state), state["n"])


def _inertia_bound(state: State) -> float:
    reach = np.maximum(state["maximum"] - state["centers"], state["centers"] - state["minimum"])
    return 2 * float((reach**2).sum(axis=1).min())
