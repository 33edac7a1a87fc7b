"""What a worker needs is known before anything is launched, and what it took afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv, parquet
from remote_backend import remote_backend

from biglambda import RunError, fit_kmeans, fit_logistic_regression
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.data import describe
from biglambda.runtime.engine.memory_plan import MAX_WORKERS, MemoryPlan, plan_functions, plan_memory
from biglambda.runtime.resources import MB

ROWS, FEATURES = 400_000, 24


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((ROWS, FEATURES))
    some = rows[:2_000]
    fit_kmeans(some, 4, init="random", seed=0, max_iter=2)  # to compile a kernel takes memory of its own
    fit_logistic_regression(some, (some[:, 0] > 0).astype(float), max_iter=2)
    return rows


@pytest.fixture(scope="module")
def files(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("plan")
    table = pyarrow.table({f"x{i}": rows[:, i] for i in range(FEATURES)})
    np.save(folder / "rows.npy", rows)
    csv.write_csv(table, folder / "rows.csv")
    parquet.write_table(table, folder / "rows.parquet", row_group_size=100_000)
    return {kind: str(folder / f"rows.{kind}") for kind in ("npy", "csv", "parquet")}


@pytest.mark.parametrize("kind", ["npy", "csv", "parquet"])
def test_the_measured_peak_is_near_the_projection(kind: str, files: dict[str, str]) -> None:
    fit = fit_kmeans(files[kind], 4, init="random", seed=0, max_iter=2, workers=2, inner_workers=2)
    assert fit.trace is not None
    assert fit.trace.projected == pytest.approx(fit.trace.peak, rel=0.15)
    assert f"{fit.trace.projected / MB:,.0f} projected" in repr(fit.trace)


def test_arrays_and_logistic_regression_have_a_projection_as_well(rows: np.ndarray) -> None:
    y = (rows[:, 0] > 0).astype(float)
    fit = fit_logistic_regression(rows, y, max_iter=2, workers=2, inner_workers=2)
    assert fit.trace is not None
    assert fit.trace.projected == pytest.approx(fit.trace.peak, rel=0.15)


def test_the_rows_of_a_csv_file_are_estimated_where_lines_grow(tmp_path: Path) -> None:
    path = tmp_path / "growing.csv"
    path.write_text("".join(f"{10 ** (row // 20_000)}.5,1\n" for row in range(200_000)))
    assert describe(str(path)).footprint(1, 1).rows == pytest.approx(200_000, rel=0.05)
    path.write_text("1,2\n")
    assert describe(str(path)).footprint(1, 1).rows < 2_000


def test_functions_that_are_too_small_are_refused_before_anything_is_launched(
    redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        about = {"descr": "<f8", "fortran_order": False, "shape": (50_000_000, 16)}
        np.lib.format.write_array_header_1_0(file, about)
        file.truncate(file.tell() + 8 * 50_000_000 * 16)  # 6.4 GB, which take no space
    with remote_backend(memory_mb=2048) as executor:

        def launched(*args: Any, **more: Any) -> None:
            raise AssertionError("functions were launched")

        executor.map = launched
        with pytest.raises(RunError) as caught:
            fit_kmeans(str(path), 8, workers=3, executor=executor, redis=redis_url)
    said = str(caught.value)
    assert "workers=3 in functions of 2,048 MB" in said
    assert "16,666,752, needs about 2,455 MB" in said
    assert "take workers=5 or more, or functions of 2,752 MB (runtime_memory) or more" in said


def test_a_function_that_fits_alone_on_its_data_is_told_so(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
    with pytest.raises(RunError, match=r"in functions of 256 MB: .* take .*functions of [\d,]+ MB"):
        fit_kmeans(files["npy"], 4)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "10240")
    assert fit_kmeans(files["npy"], 4, init="random", seed=0, max_iter=1).n_iter == 1


@given(
    n=st.integers(1, 10**9),
    d=st.integers(1, 2_000),
    workers=st.integers(1, MAX_WORKERS),
    memory_mb=st.integers(128, 10_240),
    k=st.integers(1, 1_000),
)
def test_what_is_proposed_fits_and_less_does_not(n: int, d: int, workers: int, memory_mb: int, k: int) -> None:
    source = describe(np.broadcast_to(np.zeros(1), (n, d)))
    algorithm = kmeans_algorithm(source, k, "random", 1, 10, 1e-4, 0)

    def plan(workers: int, memory_mb: int | None) -> MemoryPlan:
        return plan_memory(source, algorithm, workers, 2, memory_mb)

    try:
        assert plan_functions(plan, workers, memory_mb).fits
    except RunError as error:
        words = str(error).replace(",", "").split("take ")[1].split()
        proposed = {word.split("=")[0]: int(word.split("=")[1]) for word in words if word.startswith("workers=")}
        if "workers" in proposed:
            assert plan(proposed["workers"], memory_mb).fits
            assert not plan(proposed["workers"] - 1, memory_mb).fits
        if "functions" in words and "MB" in words:
            size = int(words[words.index("MB") - 1])
            assert plan(workers, size).fits
            assert size - 64 < memory_mb or not plan(workers, size - 64).fits
