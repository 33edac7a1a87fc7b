"""Classic machine learning on serverless functions with several vCPUs.

`fit_kmeans` and `fit_logistic_regression` run in this process, or on the functions of a Lithops executor;
`make_data` makes data sets for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .algorithms.kmeans import KMeansResult, fit_kmeans
    from .algorithms.labels import load_labels
    from .algorithms.logistic import LogisticRegressionResult, fit_logistic_regression
    from .runtime.callbacks import EventLog, JsonLines
    from .runtime.errors import DataError, RunError
    from .runtime.progress import ProgressBar
    from .synthetic.make import SyntheticData, make_data

__version__ = "0.1.0"

# Names are loaded when they are first used: Numba alone takes a quarter of a second to import.
_HOME = {
    "DataError": "runtime.errors",
    "EventLog": "runtime.callbacks",
    "JsonLines": "runtime.callbacks",
    "KMeansResult": "algorithms.kmeans",
    "LogisticRegressionResult": "algorithms.logistic",
    "ProgressBar": "runtime.progress",
    "RunError": "runtime.errors",
    "SyntheticData": "synthetic.make",
    "fit_kmeans": "algorithms.kmeans",
    "fit_logistic_regression": "algorithms.logistic",
    "load_labels": "algorithms.labels",
    "make_data": "synthetic.make",
}

__all__ = [
    "DataError",
    "EventLog",
    "JsonLines",
    "KMeansResult",
    "LogisticRegressionResult",
    "ProgressBar",
    "RunError",
    "SyntheticData",
    "fit_kmeans",
    "fit_logistic_regression",
    "load_labels",
    "make_data",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'biglambda' has no attribute {name!r}")
    return getattr(import_module(f"biglambda.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
