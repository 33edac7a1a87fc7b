"""Bad input gets a clear error: what was received, what is allowed, and where."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda import (
    DataError,
    KMeansResult,
    LogisticRegressionResult,
    RunError,
    fit_kmeans,
    fit_logistic_regression,
)

X = np.random.default_rng(0).standard_normal((50, 3))
Y = (X[:, 0] > 0).astype(float)


class Untouched:
    """An executor that must not be used: the client can know that the input is bad."""

    backend = "aws_lambda"
    config: dict[str, Any] = {}  # noqa: RUF012

    def map(self, *_: Any, **__: Any) -> None:
        raise AssertionError("something was launched")


KMEANS_CASES = [
    ({"n_clusters": 51}, DataError, r"n_clusters=51, but the data have 50 rows: allowed are 1 to 50"),
    ({"n_clusters": 0}, ValueError, r"n_clusters=0: allowed are whole numbers from 1"),
    ({"n_clusters": 2.5}, TypeError, r"n_clusters=2\.5"),
    ({"n_clusters": True}, TypeError, r"n_clusters=True"),
    (
        {"init": "best"},
        ValueError,
        r"init='best': allowed are 'k-means\+\+', 'random' and an array of shape",
    ),
    ({"init": np.zeros((3, 3))}, DataError, r"init has shape \(3, 3\).*must have shape \(2, 3\)"),
    ({"init": np.zeros(3)}, DataError, r"init has shape \(3,\)"),
    ({"init": [[0, 0, np.nan], [1, 1, 1]]}, DataError, r"init\[0, 2\] is nan"),
    ({"init": [["a", "b", "c"]] * 2}, DataError, r"init has dtype <U1: allowed are"),
    ({"init": np.eye(2, 3) * 1j}, DataError, r"init has dtype complex128"),
    ({"init": np.ma.masked_less(np.eye(2, 3), 1)}, DataError, r"init has masked values"),
    ({"init": [[1], [1, 2]]}, DataError, r"init has dtype object"),
    ({"n_init": 0}, ValueError, r"n_init=0"),
    ({"max_iter": 0}, ValueError, r"max_iter=0"),
    ({"tol": -1.0}, ValueError, r"tol=-1\.0: allowed are finite numbers from 0"),
    ({"tol": np.nan}, ValueError, r"tol=nan"),
    ({"seed": -1}, ValueError, r"seed=-1"),
    ({"seed": 1.5}, TypeError, r"seed=1\.5"),
    ({"workers": 0}, ValueError, r"workers=0: allowed are whole numbers from 1"),
    ({"workers": 1.5}, ValueError, r"workers=1\.5"),
    ({"inner": "gpu"}, ValueError, r"inner='gpu': allowed are 'threads', 'processes', 'serial'"),
    ({"inner_workers": 0}, ValueError, r"inner_workers=0"),
    ({"redis": 6379}, TypeError, r"redis is a int"),
    ({"callbacks": [3]}, TypeError, r"3 cannot be called"),
    ({"callbacks": print}, TypeError, r"callbacks is .*: allowed is a list of functions"),
    ({"executor": "aws"}, TypeError, r"executor is a str"),
    ({"arrival_timeout": 0}, ValueError, r"arrival_timeout=0"),
    ({"dtype": "complex64"}, (DataError, TypeError, ValueError), r"complex64"),
]


@pytest.mark.parametrize(("options", "error", "message"), KMEANS_CASES)
def test_wrong_parameters_of_kmeans(options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fit_kmeans(X, **{"n_clusters": 2, "executor": Untouched(), "redis": "redis://127.0.0.1:1", **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": 0.0}, ValueError, r"learning_rate=0\.0: allowed are finite numbers above 0"),
        ({"learning_rate": "fast"}, TypeError, r"learning_rate='fast'"),
        ({"target": None}, TypeError, r"target is None"),
        ({"target": Y[:-1]}, DataError, r"49.*50|50.*49"),
        ({"target": np.stack([Y, Y])}, DataError, r"\(2, 50\)"),
        ({"target": Y + 1}, DataError, r"the target of row \d+ is 2: only 0 and 1 are allowed"),
        ({"target": np.where(Y > 0, np.nan, 0)}, DataError, r"the target of row \d+ is nan"),
        ({"max_iter": -3}, ValueError, r"max_iter=-3"),
    ],
)
def test_wrong_parameters_of_logistic_regression(options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fit_logistic_regression(
            X, **{"target": Y, "executor": Untouched(), "redis": "redis://127.0.0.1:1", **options}
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (17, 1), (49, 2)])
def test_nan_and_infinity_are_found_with_row_and_column(value: float, row: int, column: int) -> None:
    x = X.copy()
    x[row, column] = value
    message = rf"row {row}, column {column} is {value}: only finite numbers are allowed"
    with pytest.raises(DataError, match=message):
        fit_kmeans(x, 2, workers=2, executor=Untouched(), redis="redis://127.0.0.1:1")
    with pytest.raises(DataError, match=message):
        fit_logistic_regression(x, Y)
    with pytest.raises(DataError, match=message):
        KMeansResult(X[:2], None, 0.0, 1, True, np.zeros(1)).predict(x)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_nan_in_a_file_ends_the_run_for_all_workers(
    suffix: str, workers: int, tmp_path: Path, redis_url: str
) -> None:
    x = np.random.default_rng(1).standard_normal((5_000, 3))
    x[4_321, 1] = np.nan
    path = tmp_path / f"x.{suffix}"
    np.save(path, x) if suffix == "npy" else np.savetxt(path, x, delimiter=",")
    with pytest.raises(DataError, match=r"row 4321, column 1 .*is nan"):
        fit_kmeans(path, 2, workers=workers, redis=redis_url if workers > 1 else None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(5), r"\(5,\)"),
        (np.zeros((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.zeros((0, 3)), r"0 rows|no rows|\(0, 3\)"),
        (np.zeros((3, 0)), r"0 columns|no columns|\(3, 0\)|0 features"),
        (np.zeros((3, 2), complex), r"complex128"),
        (np.array([["a", "b"]]), r"<U1|str"),
        (np.array([[{}, {}]], dtype=object), r"object"),
        (None, r"None"),
        (3.0, r"\(\)|float"),
        ({"a": 1}, r"dict|object"),
    ],
)
def test_wrong_data(data: Any, message: str) -> None:
    with pytest.raises((DataError, TypeError), match=message):
        fit_kmeans(data, 1)


def test_magnitudes_whose_squares_overflow_are_refused() -> None:
    with pytest.raises(DataError, match=r"column 1 holds 1e\+20, whose squares would overflow"):
        fit_kmeans(np.array([[0, 1e20], [1, 0]], np.float32), 1)
    with pytest.raises(DataError, match=r"magnitudes up to 1e\+140"):
        fit_kmeans(np.array([[0, 1e200], [1, 0]]), 1)


@pytest.mark.parametrize(("dtype", "value"), [("float32", 1e30), ("float32", 1e39), ("float64", 1e200)])
def test_given_centres_whose_squares_overflow_are_refused(dtype: str, value: float) -> None:
    init = np.array([[0.0, 0.0, 0.0], [0.0, value, 0.0]])
    with pytest.raises(DataError, match=r"init\[1, 1\] is .*whose square would overflow"):
        fit_kmeans(X.astype(dtype), 2, init=init, executor=Untouched(), redis="redis://127.0.0.1:1")


def test_ranges_whose_squares_underflow_are_refused() -> None:
    for dtype, scale in ((np.float32, 1e-20), (np.float64, 1e-200)):
        with pytest.raises(DataError, match="whose square would underflow"):
            fit_kmeans((X * scale).astype(dtype), 2)
    assert fit_kmeans(np.full((10, 2), 1e-200), 2, seed=0).inertia == 0  # constant columns are no such case


def test_more_clusters_than_rows_of_a_csv_end_the_run(tmp_path: Path, redis_url: str) -> None:
    path = tmp_path / "x.csv"
    np.savetxt(path, X, delimiter=",")
    for options in ({}, {"workers": 2, "redis": redis_url}):
        with pytest.raises(DataError, match=r"the data have 50 rows, but n_clusters=51 needs at least 51"):
            fit_kmeans(path, 51, **options)


def test_a_target_in_a_csv_that_is_not_0_or_1_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,late\n1,0\n2,1\n3,2\n")
    with pytest.raises(DataError, match=r"the target of row 2 is 2"):
        fit_logistic_regression(path, "late")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("line", "message"), [("1,2", r"line 2003.*3.*2|line 2003.*2.*3"), ("1,two,3", r"line 2003.*two")]
)
def test_a_ragged_or_non_numeric_row_is_named_by_its_line(
    line: str, message: str, workers: int, tmp_path: Path, redis_url: str
) -> None:
    rows = ["a,b,c"] + ["1,2,3"] * 4_000
    rows[2_002] = line
    path = tmp_path / "x.csv"
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match=message) as caught:
        fit_kmeans(path, 1, workers=workers, redis=redis_url if workers > 1 else None)
    assert "x.csv" in str(caught.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises((DataError, FileNotFoundError), match=r"nowhere\.csv"):
        fit_kmeans(tmp_path / "nowhere.csv", 1, executor=Untouched())
    (tmp_path / "empty.csv").touch()
    (tmp_path / "empty.npy").touch()
    for name in ("empty.csv", "empty.npy"):
        with pytest.raises(DataError, match=name):
            fit_kmeans(tmp_path / name, 1, executor=Untouched())


def test_a_remote_backend_without_redis_is_an_error_before_anything_is_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BIGLAMBDA_REDIS_URL", raising=False)
    with pytest.raises(RunError, match=r"'aws_lambda' backend needs a Redis .* BIGLAMBDA_REDIS_URL"):
        fit_kmeans(X, 2, workers=2, executor=Untouched())


def test_the_redis_section_of_the_lithops_configuration_is_used() -> None:
    executor = Untouched()
    executor.config = {"redis": {"host": "127.0.0.1", "port": 1, "password": "s3cret/?@"}}
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1") as caught:
        fit_kmeans(X, 2, workers=2, executor=executor)
    assert "s3cret" not in str(caught.value)


def test_an_unreachable_redis_is_reported_within_10_s() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and never answers
    with silent:
        for url in ("redis://:geheim@127.0.0.1:1", f"redis://:geheim@127.0.0.1:{silent.getsockname()[1]}"):
            start = time.monotonic()
            with pytest.raises(RunError, match=r"127\.0\.0\.1") as caught:
                fit_kmeans(X, 2, workers=2, redis=url)
            assert time.monotonic() - start < 10
            assert "geheim" not in str(caught.value)


def test_a_localhost_executor_that_runs_too_few_at_a_time_is_refused() -> None:
    executor = SimpleNamespace(backend="localhost", config={"localhost": {"worker_processes": 2}}, map=None)
    with pytest.raises(RunError, match=r"workers=4, .* runs 2 at a time.*worker_processes=4"):
        fit_kmeans(X, 2, workers=4, executor=executor)


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="holds no saved KMeansResult"):
        KMeansResult.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(DataError, match="holds no saved KMeansResult"):
        KMeansResult.load(path)
    saved = fit_logistic_regression(X, Y, max_iter=1).save(path)
    with pytest.raises(DataError, match="holds a LogisticRegressionResult"):
        KMeansResult.load(saved)
    with pytest.raises(FileNotFoundError):
        LogisticRegressionResult.load(tmp_path / "nothing.npz")


def test_predicting_with_another_number_of_features_is_refused() -> None:
    result = fit_kmeans(X, 2, seed=0)
    with pytest.raises(DataError, match="the data have 2 features, but the model was fitted to 3"):
        result.predict(X[:, :2])


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=400))
def test_random_bytes_as_csv_or_npy_are_rows_or_a_data_error(tmp_path_factory: Any, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("x.csv", "x.npy"):
        (folder / name).write_bytes(content)
        with suppress(DataError):
            fit_kmeans(folder / name, 1, max_iter=2)
