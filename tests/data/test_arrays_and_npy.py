"""Arrays and .npy files: the same rows whatever the layout, without a copy where none is needed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_helpers import check_workers, read_workers, small
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.runtime.data import ArraySource, NpySource, describe
from biglambda.runtime.errors import DataError

DTYPES = ["<f8", ">f8", "<f4", ">f4", "f2", "i1", "u8", ">i4", "bool"]
WORKING = {"f8": np.float64, "f4": np.float32, "f2": np.float32}


def working(dtype: str) -> np.dtype:
    return np.dtype(WORKING.get(np.dtype(dtype).str[1:], np.float64))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_row_is_with_exactly_one_worker_in_order(data: st.DataObject) -> None:
    draw = data.draw
    width = draw(st.integers(1, 5))
    dtype = draw(st.sampled_from(DTYPES))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 40))
        part = np.random.default_rng(rows).integers(0, 100, (rows, width)).astype(dtype)
        parts.append(np.asfortranarray(part) if draw(st.booleans()) else part)
    whole = np.concatenate(parts)
    X, y = whole.astype(working(dtype)), None
    target: object = None
    columns = None
    kind = draw(st.sampled_from(["none", "array", "path", "column"]))
    if kind == "column" and width > 1:
        target = draw(st.integers(-width, width - 1))
        y, X = X[:, target], np.delete(X, target, axis=1)
    elif kind != "none":
        target = np.arange(len(X))
        y = target.astype(X.dtype)
    elif draw(st.booleans()):
        columns = draw(st.permutations(range(width)))[: draw(st.integers(1, width))]
        X = X[:, columns]
    wanted = draw(st.sampled_from([None, np.float32, np.float64]))
    workers = draw(st.integers(1, 9))
    with small(draw(st.sampled_from([1, 4, 16]))), tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, part in enumerate(parts):
            paths.append(f"{folder}/{number}.npy")
            np.save(paths[-1], part)
        source = describe(whole, target, columns=columns, dtype=wanted)
        assert isinstance(source, ArraySource)
        assert source.dtype == (wanted or working(dtype))
        check_workers(source, workers, X, y)
        if kind == "path" and target is not None:
            np.save(f"{folder}/y.NPY.npy", target)
            target = f"{folder}/y.NPY.npy"
        source = describe(paths, target, columns=columns, dtype=wanted)
        assert isinstance(source, NpySource)
        assert source.in_memory == isinstance(target, np.ndarray)
        assert source.dtype == (wanted or working(dtype))
        check_workers(source, workers, X, y)


def memory_map(array: np.ndarray | None) -> np.memmap | None:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base if isinstance(array.base, np.ndarray) else None
    return array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_native_file_is_mapped_and_not_copied(tmp_path: Path, dtype: type) -> None:
    X = np.random.default_rng(0).standard_normal((5000, 3)).astype(dtype)
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "y.npy", X[:, 0])
    source = describe(tmp_path / "a.npy", tmp_path / "y.npy")
    for worker in range(3):
        part, y, _ = source.read(worker, 3, 1).align(None)
        assert type(part) is np.ndarray
        assert type(y) is np.ndarray
        assert memory_map(part) is not None
        assert memory_map(y) is not None
        assert not part.flags.writeable
    check_workers(source, 3, X, X[:, 0])


def test_a_range_within_one_of_several_files_is_mapped(tmp_path: Path) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((2048, 3)))
    parts = read_workers(describe(str(tmp_path / "?.npy")), 2)
    assert all(memory_map(X) is not None for X, _, _ in parts)


def test_other_layouts_are_copied(tmp_path: Path) -> None:
    X = np.arange(60.0).reshape(20, 3)
    for array in (np.asfortranarray(X), X.astype(">f8"), X.astype(int)):
        np.save(tmp_path / "a.npy", array)
        ((part, _, _),) = read_workers(describe(tmp_path / "a.npy"), 1)
        assert memory_map(part) is None
        np.testing.assert_array_equal(part, X)


def test_an_array_in_memory_is_not_copied() -> None:
    X, y = np.ones((5000, 3)), np.ones(5000)
    for worker in range(2):
        part, target, _ = describe(X, y).read(worker, 2, 1).align(None)
        assert np.shares_memory(part, X)
        assert np.shares_memory(target, y)


def test_nested_lists_and_data_frames_are_arrays() -> None:
    check_workers(describe([[1, 2], [3, 4]], [0, 1]), 2, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, 1.0]))
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    check_workers(describe(frame[["b"]], frame["a"]), 1, np.array([[0.5], [1.5]]), np.array([1.0, 2.0]))


@pytest.mark.parametrize("npy", [False, True])
def test_explicit_bounds_skew_the_partitions(tmp_path: Path, npy: bool) -> None:
    X = np.arange(20.0)[:, None]
    np.save(tmp_path / "a.npy", X)
    source = describe(tmp_path / "a.npy" if npy else X)
    assert isinstance(source, ArraySource | NpySource)
    with small(4):
        skewed = replace(source, bounds=(0, 16, 16, 20))
        assert [len(part[0]) for part in read_workers(skewed, 3)] == [16, 0, 4]
        check_workers(skewed, 3, X)
        for bounds, message in {
            (0, 20): "3 workers need 4 of them",
            (0, 4, 8, 16): "end with the number of rows, 20",
            (4, 8, 12, 20): "start with 0",
            (0, 8, 4, 20): "must not descend",
            (0, 4, 6, 20): "must be multiples of 4",
        }.items():
            with pytest.raises(DataError, match=message):
                replace(source, bounds=bounds).read(0, 3, 1)


BAD_ARRAYS: dict[str, tuple[Callable[[], object], str]] = {
    "1-D": (lambda: np.ones(3), "has shape (3,); features are two-dimensional, (n, d): use reshape(-1, 1)"),
    "3-D": (lambda: np.ones((2, 2, 2)), "has shape (2, 2, 2); features are two-dimensional"),
    "0-D": (lambda: np.float64(1), "has shape (); features are two-dimensional"),
    "no rows": (lambda: np.ones((0, 2)), "no rows; at least one is needed"),
    "no columns": (lambda: np.ones((2, 0)), "no columns; at least one is needed"),
    "complex": (lambda: np.ones((2, 2), complex), "has dtype complex128; allowed are float32, float64"),
    "object": (lambda: np.array([[1, None]], dtype=object), "object"),
    "text": (lambda: np.array([["a"]]), "has dtype <U1; allowed are float32"),
    "dates": (lambda: np.array([["2020-01-01"]], "M8[D]"), "has dtype datetime64[D]; allowed are float32"),
    "structured": (lambda: np.zeros((2, 2), "i4,f4"), "allowed are float32, float64"),
    "long double": (lambda: np.ones((2, 2), np.longdouble), "allowed are float32, float64"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused_in_memory_and_in_files(tmp_path: Path, case: str) -> None:
    make, message = BAD_ARRAYS[case]
    if case == "object":
        with pytest.raises(DataError, match="data has dtype object; allowed are float32"):
            describe(make())
    else:
        with pytest.raises(DataError, match=re.escape(message)):
            describe(make())
    np.save(tmp_path / "a.npy", make())
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        describe(tmp_path / "a.npy")
    assert str(tmp_path / "a.npy") in str(caught.value)


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        ([[1, 2], [3]], None, "data cannot become an array"),
        (object(), None, "data is a object; allowed are arrays, and paths to files"),
        (None, None, "data is a NoneType"),
        (np.ma.masked_array([[1.0]], [[True]]), None, "masked values"),
        (np.ones((2, 2)), np.ones(3), "target has 3 values, but there are 2 rows"),
        (np.ones((2, 2)), np.ones((2, 1)), "a target is one-dimensional, (2,); use ravel()"),
        (np.ones((2, 2)), ["a", "b"], "target has dtype <U1"),
        (np.ones((2, 2)), "a", "for an array the target is a column number or an array"),
        (np.ones((2, 2)), 2, "has no column 2; it has 2"),
        (np.ones((2, 2)), True, "target=True: a column is a name or a number"),
        (np.ones((2, 1)), 0, "no features are left"),
    ],
)
def test_bad_arguments_are_refused(data: object, target: object, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        describe(data, target)


def test_bad_npy_files_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.npy"
    np.save(good, np.ones((100, 2)))
    raw = good.read_bytes()
    np.savez(tmp_path / "archive.npz", np.ones(2))
    cases = {
        "empty": (b"", "is empty"),
        "cut": (raw[:-1], "is damaged, cut short, or no .npy file"),
        "header cut": (raw[:50], "is damaged, cut short, or no .npy file"),
        "text": (b"1,2\n3,4\n", "is no .npy file"),
        "archive": ((tmp_path / "archive.npz").read_bytes(), "is an .npz archive"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.npy"
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(message)) as caught:
            describe([good, path])
        assert str(path) in str(caught.value)
    with pytest.raises(DataError, match=r"none.npy does not exist"):
        describe(tmp_path / "none.npy")
    np.save(tmp_path / "wide.npy", np.ones((2, 3)))
    with pytest.raises(DataError, match=r"wide.npy has 3 columns, but .*good.npy has 2"):
        describe([good, tmp_path / "wide.npy"])
    for target, message in {
        good: "has shape (100, 2); a target is one-dimensional, (100,)",
        tmp_path / "y.csv": "for .npy files the target is a column number, an array, or the path",
        tmp_path / "y.npy": "does not exist",
    }.items():
        with pytest.raises(DataError, match=re.escape(message)):
            describe(good, target)


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((10, 2)))
    source = describe(path)
    np.save(path, np.ones((9, 2)))
    with pytest.raises(DataError, match=r"has 272 bytes, but had 288 when the run was described"):
        source.read(0, 1, 1)
    path.unlink()
    with pytest.raises(DataError, match="does not exist on this machine"):
        source.read(0, 1, 1)


def test_files_of_float32_and_float64_become_float64(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((2, 2), np.float64))
    assert describe(str(tmp_path / "*.npy")).dtype == np.float64
