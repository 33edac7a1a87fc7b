"""The command line: ``biglambda`` and ``kmeans``, ``logreg``, ``make-data``, ``demo``, ``bench`` or ``chaos``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .bench.command import add_arguments, run
from .image import command as image
from .synthetic import command as synthetic


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 for a failed run, 2 for a wrong command line, or 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    from .runtime.errors import DataError, RunError

    try:
        result: int = options.command(options)
        return result
    except KeyboardInterrupt:
        print("biglambda: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if sys.stderr is not None:
            sys.stderr.close()  # the reader of our output has gone; nobody is left to tell
        return 1
    except (DataError, RunError, OSError, ValueError, TypeError) as error:
        print(f"biglambda: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="biglambda",
        description="Classic machine learning on serverless functions with several vCPUs.",
    )
    parser.add_argument("--version", action="version", version=f"biglambda {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    kmeans = commands.add_parser(
        "kmeans", help="cluster rows with k-means", description="Cluster rows with k-means."
    )
    _add_data(kmeans)
    kmeans.add_argument("-k", "--clusters", type=int, required=True, metavar="K", help="number of clusters")
    kmeans.add_argument(
        "--init",
        default="k-means++",
        metavar="INIT",
        help="k-means++, random, or a .npy file with initial centres, K x features (default: %(default)s)",
    )
    kmeans.add_argument(
        "--n-init", type=int, default=1, metavar="N", help="starts; the lowest inertia wins (default: 1)"
    )
    kmeans.add_argument(
        "--tol",
        type=float,
        default=1e-4,
        metavar="T",
        help="end when the centres' squared shift is at most T times the mean variance (default: %(default)s)",
    )
    kmeans.add_argument("--seed", type=int, metavar="SEED", help="seed of the initial centres (default: random)")
    kmeans.add_argument(
        "--labels",
        metavar="PLACE",
        help="write each row's label to a .npy file; or to a directory or s3://bucket/prefix, in parts that the "
        "workers write",
    )
    _add_run(kmeans, max_iter=300)
    kmeans.set_defaults(command=_kmeans)

    logreg = commands.add_parser(
        "logreg",
        help="fit a logistic regression by gradient descent",
        description="Fit a logistic regression by full-batch gradient descent.",
    )
    _add_data(logreg)
    logreg.add_argument(
        "--target",
        required=True,
        metavar="COLUMN",
        help="column with 0 or 1, by name or number from 0; for .npy data also a .npy file",
    )
    logreg.add_argument(
        "--learning-rate",
        type=float,
        metavar="R",
        help="factor of the gradient, a sum over rows (default: safe steps with momentum)",
    )
    logreg.add_argument(
        "--tol",
        type=float,
        default=1e-4,
        metavar="T",
        help="end when no entry of gradient / rows is larger (default: %(default)s)",
    )
    _add_run(logreg, max_iter=100)
    logreg.set_defaults(command=_logreg)

    make_data = commands.add_parser(
        "make-data",
        help="make synthetic data of any size",
        description="Make synthetic data of any size: the same bytes for the same seed, whoever writes them.",
    )
    synthetic.add_arguments(make_data)
    _add_where(make_data)
    _add_reports(make_data)
    make_data.set_defaults(command=_make_data)

    demo = commands.add_parser(
        "demo",
        help="336,776 real flights, beside scikit-learn",
        description="Cluster and classify 336,776 real flights on 4 workers of 2 threads, beside scikit-learn.",
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="directory for the picture and the data (default: %(default)s)",
    )
    demo.set_defaults(command=_demo)

    _add_chaos(
        commands.add_parser(
            "chaos",
            help="kill workers and cut connections, and compare the bits",
            description="Run fits on this machine whose workers are killed, started twice and cut off from Redis; "
            "the results must have the bits of undisturbed ones.",
        )
    )

    image.add_arguments(
        commands.add_parser(
            "runtime",
            help="kernels that are compiled ahead of time, for the image that functions run in",
            description="The kernels of the image that functions run in, and what this process runs on.",
        )
    )

    bench = commands.add_parser("bench", help="measure the kernels on this machine", description="Measure.")
    benches = bench.add_subparsers(required=True, metavar="WHAT")
    kernels = benches.add_parser(
        "kernels",
        help="against this machine's limits, and other libraries",
        description="Measure kernels against this machine's limits, NumPy, scikit-learn, sklearnex and faiss.",
    )
    add_arguments(kernels)
    kernels.set_defaults(command=run)
    return parser


def _add_chaos(chaos: argparse.ArgumentParser) -> None:
    chaos.add_argument("--kills", type=int, default=50, metavar="N", help="workers killed in a run (default: 50)")
    chaos.add_argument("--workers", type=int, default=13, metavar="W", help="(default: 13)")
    chaos.add_argument("--iterations", type=int, default=25, metavar="I", help="of each run (default: 25)")
    chaos.add_argument("--twice", type=int, default=5, metavar="N", help="functions that start twice (default: 5)")
    chaos.add_argument(
        "--cuts",
        type=float,
        default=0.05,
        metavar="P",
        help="probability that a connection is dropped when something comes over it (default: %(default)s)",
    )
    chaos.add_argument("--runs", type=int, default=1, metavar="N", help="of each algorithm (default: 1)")
    chaos.add_argument("--seed", type=int, default=0, metavar="SEED", help="of the first run (default: 0)")
    chaos.add_argument("--climb", action="store_true", help="have the workers add partials, as they do large ones")
    chaos.set_defaults(command=_chaos)


def _chaos(options: argparse.Namespace) -> int:
    from .chaos import ALGORITHMS, Plan, run

    failed = 0
    for number in range(options.runs):
        plan = Plan(
            options.workers,
            options.iterations,
            options.kills,
            options.twice,
            options.cuts,
            options.seed + number,
            options.climb,
        )
        for algorithm in ALGORITHMS:
            report = run(algorithm, plan)
            failed += not report.is_good
            print(f"{algorithm}, seed {plan.seed}: {report}", flush=True)
    if failed:
        print(f"biglambda: {failed} of {2 * options.runs} runs went wrong", file=sys.stderr)
    return int(failed > 0)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", nargs="+", metavar="DATA", help=".npy, Parquet or CSV files, or patterns such as 'part-*.csv'"
    )
    parser.add_argument(
        "--columns", metavar="A,B,...", help="columns to use, by name or number from 0 (default: all)"
    )
    parser.add_argument(
        "--header", choices=("auto", "yes", "no"), default="auto", help="whether CSV files start with names"
    )
    parser.add_argument("--delimiter", default=",", metavar="C", help="between CSV fields (default: a comma)")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), help="convert to (default: as stored, else float64)"
    )


def _add_run(parser: argparse.ArgumentParser, max_iter: int) -> None:
    parser.add_argument(
        "--max-iter", type=int, default=max_iter, metavar="N", help="iterations at most (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="W", help="functions to run (default: 1, this process)"
    )
    parser.add_argument(
        "--retries", type=int, default=2, metavar="N", help="how often a worker may be lost (default: 2)"
    )
    parser.add_argument(
        "--backups", type=int, default=0, metavar="N", help="functions to launch beside slow workers (default: 0)"
    )
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="directory, or s3://bucket/prefix, for the newest state of the run"
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with a run that died, see --checkpoint")
    parser.add_argument(
        "--inner", choices=("threads", "processes", "serial"), default="threads", help="kind of inner workers"
    )
    parser.add_argument(
        "--inner-workers", default="auto", metavar="T", help="inner workers in each function (default: its CPUs)"
    )
    parser.add_argument(
        "--redis",
        metavar="URL",
        help="Redis to meet in (default: $BIGLAMBDA_REDIS_URL, or a server of the run's own)",
    )
    _add_where(parser)
    _add_reports(parser)
    parser.add_argument(
        "--save", metavar="FILE", help="write the model to a .npz file, here or as s3://bucket/key.npz"
    )


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lithops",
        action="store_true",
        help="run on the backend of your Lithops configuration instead of this machine",
    )


def _add_reports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--history", type=Path, metavar="FILE", help="append what happens to a file, as lines of JSON"
    )
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log what happens instead of a progress bar; -vv: more"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON; times in seconds, cost in US$"
    )


def _kmeans(options: argparse.Namespace) -> int:
    import numpy as np

    from . import fit_kmeans
    from .runtime.data import store_for
    from .runtime.data.parts import write_part

    run_options = _run_options(options)
    _check_file(options, options.save)
    where, labels = _labels(options), options.labels
    init = options.init
    if init.endswith(".npy"):
        try:
            init = np.load(init, allow_pickle=False)
        except (ValueError, EOFError):
            raise ValueError(f"--init {init} holds no array: allowed is a .npy file of numbers") from None
    result = fit_kmeans(
        options.data,
        options.clusters,
        init=init,
        n_init=options.n_init,
        tol=options.tol,
        seed=options.seed,
        **where,
        **_data_options(options),
        **run_options,
    )
    if isinstance(result.labels, np.ndarray):
        write_part(store_for(labels, options.config), labels, result.labels)
    elif result.labels is not None:
        labels = result.labels.name
    about = {
        "inertia": result.inertia,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "centers": result.centers.tolist(),
        "labels": labels,
    }
    return _report(options, result, about)


def _logreg(options: argparse.Namespace) -> int:
    from . import fit_logistic_regression

    run_options = _run_options(options)
    _check_file(options, options.save)
    result = fit_logistic_regression(
        options.data,
        _column(options.target),
        learning_rate=options.learning_rate,
        tol=options.tol,
        **_data_options(options),
        **run_options,
    )
    about = {
        "loss": result.loss,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "intercept": result.intercept,
        "weights": result.weights.tolist(),
    }
    return _report(options, result, about)


def _make_data(options: argparse.Namespace) -> int:
    return synthetic.run(options, _executor(options), _inner_workers(options), _callbacks(options))


def _demo(options: argparse.Namespace) -> int:
    from .demo import run

    return run(options.output)


def _labels(options: argparse.Namespace) -> dict[str, Any]:
    """What becomes of the labels: a file's come back, for others the fit is told the place."""
    labels = options.labels
    if labels is None:
        return {"labels": None}
    if labels.endswith(".npy"):
        _check_file(options, labels)
        return {"labels": "return"}
    if "://" not in labels and not Path(labels).is_dir():
        raise FileNotFoundError(
            f"cannot write labels to {labels}: there is no such directory, and the name of a file ends in .npy"
        )
    return {"labels": "store", "labels_to": labels}


def _check_file(options: argparse.Namespace, name: str | None) -> None:
    """Refuse a place for results that does not exist before the fit, not after it."""
    from .algorithms.result import object_name
    from .runtime.data import LocalFiles, store_for
    from .runtime.data.store import try_out

    if name is None:
        return
    store, folder = store_for(name, options.config), Path(name).parent
    if not isinstance(store, LocalFiles):
        try_out(store, f"{object_name(name)}.try")
    elif not folder.is_dir():
        raise FileNotFoundError(f"cannot write {name}: the directory {folder} does not exist")


def _column(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _data_options(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "columns": [_column(name) for name in options.columns.split(",")] if options.columns else None,
        "header": {"auto": "auto", "yes": True, "no": False}[options.header],
        "delimiter": {"\\t": "\t", "tab": "\t"}.get(options.delimiter, options.delimiter),
        "dtype": options.dtype,
    }


def _run_options(options: argparse.Namespace) -> dict[str, Any]:
    executor = _executor(options)
    options.config = None if executor is None else executor.config
    return {
        "max_iter": options.max_iter,
        "workers": options.workers,
        "retries": options.retries,
        "backups": options.backups,
        "checkpoint": options.checkpoint,
        "resume": options.resume,
        "inner": options.inner,
        "inner_workers": _inner_workers(options),
        "redis": options.redis,
        "executor": executor,
        "callbacks": _callbacks(options),
    }


def _inner_workers(options: argparse.Namespace) -> int | str:
    count: str = options.inner_workers
    return int(count) if count.isdecimal() else count


def _executor(options: argparse.Namespace) -> Any:
    if not options.lithops:
        return None
    import lithops

    return lithops.FunctionExecutor()


def _callbacks(options: argparse.Namespace) -> list[Any]:
    from . import EventLog, JsonLines, ProgressBar

    kept = [JsonLines(options.history)] if options.history else []
    if not options.verbose:
        return [ProgressBar(), *kept]
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("biglambda").setLevel(logging.DEBUG if options.verbose > 1 else logging.INFO)
    return [EventLog(), *kept]


def _report(options: argparse.Namespace, result: Any, about: dict[str, Any]) -> int:
    saved = str(result.save(options.save, options.config)) if options.save else None
    if options.json:
        cost = {"gb_seconds": result.cost.gb_seconds, "usd": result.cost.usd, "memory_mb": result.cost.memory_mb}
        seconds = {"total": result.trace.seconds, **result.trace.breakdown()}
        print(json.dumps({**about, "seconds": seconds, "cost": cost, "saved": saved}))
        return 0
    print(result)
    print(result.trace)
    print(result.cost)
    if about.get("labels"):
        print(f"labels in {about['labels']}")
    if saved:
        print(f"saved to {saved}")
    return 0
