"""The kinds of rows that can be made, each chunk of them by itself.

What is drawn comes from Philox, whose counter starts at a place of its own for each chunk of rows: whoever makes a
chunk needs none of those before. All arithmetic that decides a value is one correctly rounded operation at a time,
column by column, so that all machines write the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..runtime.rows import CHUNK

TRUTH, ROWS = 0, 1
"""What a stream is for: the truth that all rows share, or a chunk of rows."""

TAIL = 3.65
"""NumPy draws normal numbers beyond this one through the C library's logarithm, others without it."""

TAIL_STEP = 2.0**-16
"""Those are rounded to multiples of it: libraries differ in the last bit of a logarithm."""


def stream(seed: int, what: int, number: int = 0) -> np.random.Generator:
    """The random numbers for the truth, or for chunk ``number`` of the rows."""
    # The lowest 64 bits of the counter are what is counted in one stream.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, number, what, 0]))


def normals(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers, float64."""
    z = generator.standard_normal(shape)
    far = np.abs(z) > TAIL
    z[far] = np.rint(z[far] / TAIL_STEP) * TAIL_STEP
    return z


@dataclass(frozen=True)
class Blobs:
    """Clusters: a centre, drawn with equal probability, and normal numbers around it.

    Attributes
    ----------
    seed, n_features, n_clusters : int
    spread : float
        Standard deviation of each feature within a cluster; the centres are uniform between -10 and 10.
    """

    seed: int
    n_features: int
    n_clusters: int
    spread: float

    name = "blobs"
    has_target = False

    @cached_property
    def centers(self) -> np.ndarray:
        """The true centres, shape (n_clusters, n_features), float64."""
        return 20.0 * stream(self.seed, TRUTH).random((self.n_clusters, self.n_features)) - 10.0

    @property
    def truth(self) -> dict[str, np.ndarray]:
        """What a fit should find."""
        return {"centers": self.centers}

    def fill(self, chunk: int, out: np.ndarray) -> None:
        """Write the rows of a chunk, or the first of them: OUT, shape (m, n_features)."""
        generator = stream(self.seed, ROWS, chunk)
        cluster = generator.integers(self.n_clusters, size=CHUNK)[: len(out)]
        x = normals(generator, out.shape)
        x *= self.spread
        x += self.centers[cluster]
        out[...] = x


@dataclass(frozen=True)
class Logistic:
    """Standard normal features, and a target of 0 or 1 from a logistic model of them.

    The probability of 1 is ``1 / (1 + exp(-(x @ weights + intercept)))``. With the scores' standard deviation near
    2, whatever the number of features, the target is neither a coin nor certain.

    Attributes
    ----------
    seed, n_features : int
    """

    seed: int
    n_features: int

    name = "logistic"
    has_target = True

    @cached_property
    def _drawn(self) -> np.ndarray:
        return normals(stream(self.seed, TRUTH), (self.n_features + 1,))

    @property
    def weights(self) -> np.ndarray:
        """The true weights, shape (n_features,), float64."""
        return self._drawn[1:] * 2.0 / np.sqrt(self.n_features)

    @property
    def intercept(self) -> float:
        """The score of a row of zeros."""
        return float(self._drawn[0] / 2.0)

    @property
    def truth(self) -> dict[str, np.ndarray]:
        """What a fit should find."""
        return {"weights": self.weights, "intercept": np.asarray(self.intercept)}

    def fill(self, chunk: int, out: np.ndarray) -> None:
        """Write the rows of a chunk, or the first of them: OUT, shape (m, n_features + 1), the target last."""
        generator = stream(self.seed, ROWS, chunk)
        uniform = generator.random(CHUNK)[: len(out)]
        x = normals(generator, (len(out), self.n_features))
        score = np.full(len(out), self.intercept)
        for weight, column in zip(self.weights, x.T, strict=True):
            score += weight * column
        out[:, :-1] = x
        # Machines differ in the last bit of an exponential: of one target in 10**16.
        out[:, -1] = uniform < 1.0 / (1.0 + np.exp(-score))


Kind = Blobs | Logistic
