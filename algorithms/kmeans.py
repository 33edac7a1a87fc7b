"""k-means: what users call, and what they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biglambda.kernels import assign, pack_centers
from biglambda.runtime.algorithm import State
from biglambda.runtime.data import Header, Source, StoredArray, describe
from biglambda.runtime.engine import RunOptions, RunTrace
from biglambda.runtime.engine import run as run_engine
from biglambda.runtime.errors import DataError
from biglambda.runtime.events import Callback
from biglambda.runtime.resources import Cost

from .labels import check_labels
from .lloyd import Assign, Lloyd
from .pipeline import Pass, Pipeline
from .result import FitResult, rows_to_predict
from .seeding import PickRows, PlusPlus
from .statistics import LARGEST, Statistics
from .validation import check_before_launch, check_number, check_seed, check_whole

INITS = ("k-means++", "random")
_ALLOWED_INIT = "allowed are 'k-means++', 'random' and an array of"


@dataclass(frozen=True, repr=False, eq=False)
class KMeansResult(FitResult):
    """A k-means model.

    Attributes
    ----------
    centers : ndarray of shape (k, d), float64
        Cluster centres.
    labels : ndarray or StoredArray of shape (n,), int32, or None
        Index of the nearest centre of each row, unless the fit was asked for none. A stored array is read as far
        as it is asked for, and as a whole by `numpy.asarray`.
    inertia : float
        Sum of the squared distances of the rows from their centres.
    n_iter : int
        Iterations run, in scikit-learn's sense.
    converged : bool
        Whether the labels or the centres had stopped changing when the fit ended.
    history : ndarray of shape (n_iter,), float64
        Inertia at the start of each iteration, as the kernel sums it up in the dtype of the rows.
    trace : RunTrace or None
        Where the time went.
    cost : Cost or None
        What it took, and would cost on AWS Lambda.
    feature_names : tuple of str or None
        Names of the columns that it was fitted to, if they had any.
    """

    centers: np.ndarray
    labels: np.ndarray | StoredArray | None
    inertia: float
    n_iter: int
    converged: bool
    history: np.ndarray
    trace: RunTrace | None = None
    cost: Cost | None = None
    feature_names: tuple[str, ...] | None = None

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """Index of the nearest centre of each row.

        Parameters
        ----------
        data : array_like of shape (m, d), path, or list or glob of paths
            Rows with as many features as the model was fitted to. In files with names the columns of the fit are
            found by their names, wherever they are.
        **options
            ``columns``, ``header``, ``delimiter`` and ``dtype`` as in `fit_kmeans`.

        Returns
        -------
        ndarray of shape (m,), int32

        Raises
        ------
        DataError
            For another number of features, NaN, or infinity.
        """
        rows = rows_to_predict(data, self.centers.shape[1], self.feature_names, options)
        labels = np.empty(len(rows), np.int32)
        # The fit subtracted the rows' mean; the centres' is as good, and keeps the numbers as small. Only a row
        # as near to two centres as its dtype can tell may get the other label.
        shift = self.centers.mean(axis=0).astype(rows.dtype).astype(np.float64)
        assign(rows, pack_centers(self.centers, shift, rows.dtype.type), labels)
        return labels

    def __repr__(self) -> str:
        k, d = self.centers.shape
        state = "converged" if self.converged else "not converged"
        fit = f"inertia {self.inertia:.6g}, {self.n_iter} iterations, {state}"
        return f"KMeansResult({k} clusters, {d} features, {fit})"


def fit_kmeans(
    data: Any,
    n_clusters: int,
    *,
    init: str | np.ndarray | Sequence[Sequence[float]] = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    seed: int | None = None,
    labels: str | None = "return",
    labels_to: Any = None,
    columns: Sequence[str | int] | None = None,
    header: Header = "auto",
    delimiter: str = ",",
    dtype: Any = None,
    workers: int = 1,
    inner: str = "threads",
    inner_workers: int | str = "auto",
    executor: Any = None,
    redis: str | None = None,
    callbacks: Sequence[Callback] = (),
    arrival_timeout: float = 60.0,
    stall_timeout: float = 900.0,
    silence_timeout: float = 15.0,
    retries: int = 2,
    backups: int = 0,
    checkpoint: Any = None,
    resume: str | None = None,
) -> KMeansResult:
    """Fit k-means with Lloyd's algorithm.

    The same data, seed and parameters give the same bits, whatever the number of workers and inner workers.

    Parameters
    ----------
    data : array_like of shape (n, d), path, or list or glob of paths
        Rows: an array, or ``.npy``, Parquet or CSV files, of this machine or ``s3://bucket/key``. float32 and
        float64 are kept, integers become float64.
    n_clusters : int
        k, from 1 to n.
    init : {"k-means++", "random"} or array_like of shape (k, d)
        Initial centres: drawn from the whole data set, or given.
    n_init : int
        How many times to start; the lowest inertia wins. With given centres, one.
    max_iter : int
        Iterations at most, of each start.
    tol : float
        The fit ends when the squared shift of all centres is at most ``tol`` times the mean variance of the
        features, as in scikit-learn, or when no label changes.
    seed : int, optional
        Non-negative. Without one, every fit draws other centres.
    labels : {"return", "store", None}
        Whether each row's label comes back in the result, or is written to ``labels_to`` by the worker that has
        the row, or neither.
    labels_to : path, optional
        A directory, or ``s3://bucket/prefix``, in which labels are stored, in a folder RUN of their own:
        `biglambda.load_labels` opens it. Backends that do not run on this machine need S3.
    columns : sequence of str or int, optional
        Which columns to use, by name (Parquet, CSV with a header) or number from 0. Without it, all.
    header : {"auto", True, False}
        Whether CSV files start with names; "auto" finds out.
    delimiter : str
        Between the fields of a CSV file.
    dtype : {None, "float32", "float64"}
        To convert to. Without it, float32 stays float32 and all else becomes float64.
    workers : int
        Functions to run.
    inner : {"threads", "processes", "serial"}
        Kind of inner workers; processes are there to compare with the paper.
    inner_workers : int or "auto"
        Inner workers in each function; "auto" is as many as it has usable CPUs.
    executor : lithops.FunctionExecutor, optional
        Where the workers run. Without one: in this process, or with several workers on Lithops' localhost
        backend. Inside of a function, leave it out: the fit uses all of the function's vCPUs.
    redis : str, optional
        URL of the Redis through which several workers meet (``redis://``, ``rediss://``, ``unix://`` or
        ``redis+sentinel://``; see docs/protocol.md). Else the environment variable ``BIGLAMBDA_REDIS_URL``, else
        the ``redis`` section of the Lithops configuration, else, for workers on this machine only, a server of
        the run's own.
    callbacks : sequence of callables
        Called with each event of the run (`biglambda.runtime.events`): `biglambda.ProgressBar()`,
        `biglambda.JsonLines(path)`, `biglambda.EventLog()`, or functions of your own.
    arrival_timeout : float
        Seconds within which all workers must have started.
    stall_timeout : float
        Seconds that a pass over the data may take, the first one with reading them.
    silence_timeout : float
        Seconds without a sign of life after which a worker counts as lost; it gives one every 2 s.
    retries : int
        How often each worker may be lost: it is launched again, reads its rows again, and goes on.
    backups : int
        How many more functions may be launched for workers that are three times as long at an iteration as half of
        the others, and longer than 5 s: the first of the two to push is the worker.
    checkpoint : path, optional
        A directory, or ``s3://bucket/prefix``, where the client keeps the newest state of a run that goes on, in
        RUN.checkpoint, every 30 s.
    resume : str, optional
        The name of a run whose client, or Redis, died: this fit goes on where it was. The name is in the event
        `RunStarted` and of the checkpoint; without a directory of these it must have died minutes ago. Data and
        parameters must be the same, `workers` may be others.

    Returns
    -------
    KMeansResult

    Raises
    ------
    DataError
        A `ValueError`: the data cannot be used, or do not fit the parameters. Says which row, line or column.
    RunError
        A `RuntimeError`: a worker was lost or never came, or Redis cannot be reached.

    Notes
    -----
    Empty clusters keep their centre. Predoaia and Garcia-Lopez, *Leveraging Intra-Function Parallelism in
    Serverless Machine Learning*, WoSC 2023, section 4, describes the distributed algorithm.

    Examples
    --------
    >>> import numpy as np
    >>> from biglambda import fit_kmeans
    >>> result = fit_kmeans(np.array([[0.0], [1.0], [10.0], [11.0]]), 2, seed=0)
    >>> sorted(result.centers.ravel().tolist())
    [0.5, 10.5]
    """
    k = check_whole("n_clusters", n_clusters, low=1)
    n_init = check_whole("n_init", n_init, low=1)
    max_iter = check_whole("max_iter", max_iter, low=1)
    tol, seed = check_number("tol", tol, low=0.0), check_seed(seed)
    if isinstance(init, str) and init not in INITS:
        raise ValueError(f"init={init!r}: {_ALLOWED_INIT} shape ({k}, d)")
    place = check_labels(labels, labels_to)
    options = RunOptions(
        workers, inner, inner_workers, executor, redis, callbacks,
        arrival_timeout, stall_timeout, silence_timeout, retries, backups, checkpoint, resume=resume,
        outputs_to=place,
    )  # fmt: skip
    source = describe(
        data, columns=columns, header=header, delimiter=delimiter, dtype=dtype, config=options.config
    )
    if source.n_rows is not None and k > source.n_rows:
        raise DataError(
            f"n_clusters={k}, but the data have {source.n_rows} rows: allowed are 1 to {source.n_rows}"
        )
    start = init if isinstance(init, str) else _check_centers(init, k, source.n_features, source.dtype)
    check_before_launch(source, options)
    algorithm = kmeans_algorithm(source, k, start, n_init, max_iter, tol, seed)
    outcome = run_engine(source, algorithm, () if labels is None else ("labels",), options)
    state = outcome.state
    return KMeansResult(
        np.array(state["centers"]),
        outcome.memory.get("labels"),
        state["inertia"],
        state["n_iter"],
        state["converged"],
        np.array(state["history"]),
        outcome.trace,
        outcome.cost,
        source.feature_names,
    )


def _check_centers(init: Any, k: int, d: int, dtype: np.dtype) -> np.ndarray:
    try:
        given = np.asanyarray(init)
    except ValueError:
        given = np.empty(0, object)  # rows of different lengths
    if given.dtype.kind not in "fiub" or np.ma.is_masked(given):
        what = "has masked values" if np.ma.is_masked(given) else f"has dtype {given.dtype}"
        raise DataError(f"init {what}: {_ALLOWED_INIT} numbers of shape ({k}, {d})")
    centers = np.array(given, dtype=np.float64)
    if centers.shape != (k, d):
        raise DataError(
            f"init has shape {centers.shape}: with n_clusters={k} and {d} features it must have shape ({k}, {d})"
        )
    if not np.isfinite(centers).all():
        row, column = np.argwhere(~np.isfinite(centers))[0]
        raise DataError(f"init[{row}, {column}] is {centers[row, column]}: only finite numbers are allowed")
    if np.abs(centers).max() > LARGEST[dtype.type]:
        row, column = np.unravel_index(np.abs(centers).argmax(), centers.shape)
        raise DataError(
            f"init[{row}, {column}] is {centers[row, column]:g}, whose square would overflow: allowed in {dtype} "
            f"data are magnitudes up to {LARGEST[dtype.type]:g}"
        )
    return centers


@dataclass(frozen=True)
class Start(Statistics):
    """The first pass of k-means: what the rows hold, and where the first attempt starts."""

    centers: np.ndarray | None = None

    def update(self, state: State, total: np.ndarray) -> State:
        """Statistics, and the first attempt's start."""
        return {
            **super().update(state, total),
            "centers": self.centers,
            "previous": None,
            "n_iter": 0,
            "history": np.empty(0),
            "restart": 0,
            "best": None,
        }


def kmeans_algorithm(
    source: Source,
    n_clusters: int,
    init: str | np.ndarray,
    n_init: int,
    max_iter: int,
    tol: float,
    seed: int,
) -> Pipeline:
    """The passes of a fit: statistics, seeding, Lloyd's iterations, and the last assignment."""
    k, d, dtype = n_clusters, source.n_features, source.dtype.type
    passes: dict[str, Pass] = {}
    given = None if isinstance(init, str) else init
    if given is not None:
        seeding, rounds, n_init = "lloyd", 0, 1
    elif init == "random":
        seeding, rounds = "pick", 1
        passes["pick"] = PickRows("lloyd", k, d, seed)
    else:
        seeding, rounds = "pick", k
        passes["pick"] = PickRows("k-means++" if k > 1 else "lloyd", 1, d, seed)
        passes["k-means++"] = PlusPlus("lloyd", k, d, seed)
    passes = {
        "statistics": Start(seeding, d, dtype, source.feature_names, k, f"n_clusters={k}", given),
        **passes,
        "lloyd": Lloyd("assign", k, d, dtype, max_iter, tol),
        "assign": Assign(seeding, n_init, dtype),
    }
    memory: dict[str, type] = {"labels": np.int32}
    if "k-means++" in passes:
        memory["distance"] = np.float64
    bound = 3 + n_init * (rounds + max_iter + 1)
    return Pipeline("kmeans", passes, memory, k * (d + 1) + 3, ("n_iter", "shift", "inertia"), bound)
