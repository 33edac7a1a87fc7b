"""Initial centres for k-means, drawn from the whole data set and not from one worker's partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from biglambda.kernels import min_distance, race
from biglambda.runtime.algorithm import State
from biglambda.runtime.rows import Rows

from .pipeline import Pass


@dataclass(frozen=True)
class PickRows(Pass):
    """Fetches rows by their numbers: k at random without replacement, or the first centre of k-means++.

    Leaves ``centers`` in the state.

    Attributes
    ----------
    following : str
        The next pass.
    n_clusters : int
        How many to draw.
    n_features : int
        d.
    seed : int
        Of the generator; the state's ``restart`` is mixed in.
    """

    following: str
    n_clusters: int
    n_features: int
    seed: int

    combine = "gather"

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`; rows are picked without a kernel."""

    def _numbers(self, state: State) -> np.ndarray:
        generator = np.random.default_rng([self.seed, state["restart"]])
        return generator.choice(state["n"], self.n_clusters, replace=False)

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """Number and values of each wanted row that a part holds."""
        numbers = self._numbers(state)

        def pick(rows: Rows) -> np.ndarray:
            mine = numbers[(numbers >= rows.first) & (numbers < rows.first + len(rows))]
            return np.column_stack([mine, rows.X[mine - rows.first]]).astype(np.float64).ravel()

        return pick

    def update(self, state: State, total: np.ndarray) -> State:
        """The rows in the order in which they were drawn."""
        records = total.reshape(-1, 1 + self.n_features)
        order = {int(number): place for place, number in enumerate(self._numbers(state))}
        centers = np.empty((len(records), self.n_features))
        for number, *row in records:
            centers[order[int(number)]] = row
        return {"pass": self.following, "centers": centers}


@dataclass(frozen=True)
class PlusPlus(Pass):
    """One more centre of k-means++: a row, drawn in proportion to its squared distance from the nearest centre.

    The draw is a race: every row gets an exponential variate, from a hash of its number, divided by its squared
    distance, and the smallest wins. That is the same distribution, and the winner does not depend on how the
    rows are split (Arthur and Vassilvitskii 2007, k-means++; Efraimidis and Spirakis 2006, the race).

    Attributes
    ----------
    following : str
        The pass after the last centre.
    n_clusters : int
        How many centres are wanted.
    n_features : int
        d.
    seed : int
        Of the hash; the state's ``restart`` is mixed in.
    """

    following: str
    n_clusters: int
    n_features: int
    seed: int

    combine = "gather"
    writes = ("distance",)

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`."""
        distance = np.ones(1)
        min_distance(x, x[0].astype(np.float64), distance)
        race(distance, 0, 0, 0)

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """Key, number and values of the winner of each part; nothing where no row has any distance left."""
        centers = state["centers"]
        draw = state["restart"] * self.n_clusters + len(centers)

        def best(rows: Rows) -> np.ndarray:
            distance, anew = rows.memory["distance"], rows.fresh or len(centers) == 1
            if anew:
                distance[:] = np.inf
            for center in centers if anew else centers[-1:]:
                min_distance(rows.X, center, distance)
            key, number = race(distance, rows.first, self.seed, draw)
            if number < 0:
                return np.empty(0)
            return np.concatenate([[key, number], rows.X[number - rows.first]])

        return best

    def update(self, state: State, total: np.ndarray) -> State:
        """Add the winner; if all rows coincide with centres, fill up with copies of the first."""
        records = total.reshape(-1, 2 + self.n_features)
        centers = state["centers"]
        if len(records) == 0:
            missing = self.n_clusters - len(centers)
            centers = np.concatenate([centers, np.repeat(centers[:1], missing, axis=0)])
        else:
            winner = records[np.lexsort((records[:, 1], records[:, 0]))[0]]
            centers = np.concatenate([centers, winner[np.newaxis, 2:]])
        complete = len(centers) == self.n_clusters
        return {"centers": centers, "pass": self.following if complete else state["pass"]}
