"""CSV files: every row is read exactly once, whatever the file looks like and wherever it is cut."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from data_helpers import check_workers, read_workers, small
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.runtime.data import csv_lines, describe
from biglambda.runtime.data.csv_lines import CsvFile, count_lines, count_rows, cut_rows
from biglambda.runtime.data.store import LocalFiles
from biglambda.runtime.errors import DataError


@dataclass
class Drawn:
    """Files, as bytes, and what is in them."""

    files: list[bytes]
    X: np.ndarray
    header: bool
    delimiter: str
    text_column: bool


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-9, 9).map(float),
    st.just(float("nan")),
)


@st.composite
def csv_files(draw: st.DrawFn) -> Drawn:
    width = draw(st.integers(1, 4))
    missing = ["nan", '""', "" if width > 1 else "NaN"]  # an empty field alone would be a blank line
    header = draw(st.booleans())
    delimiter = draw(st.sampled_from(",;\t|"))
    text_column = draw(st.booleans())
    files, values = [], []
    for _ in range(draw(st.integers(1, 3))):
        end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
        lines = []
        if header:
            lines.append(delimiter.join([f"x{i}" for i in range(width)] + ["text"] * text_column))
        for _ in range(draw(st.integers(1, 12))):
            row = draw(st.lists(NUMBERS, min_size=width, max_size=width))
            values.append(row)
            fields = []
            for value in row:
                field = repr(value) if value == value else draw(st.sampled_from(missing))
                how = draw(st.sampled_from(["plain", "plain", "plain", "quoted", "spaces", "long"]))
                if how == "quoted" and not field.startswith('"'):
                    field = f'"{field}"'
                elif how == "spaces" and field and delimiter != "\t":
                    field = f" {field}\t" if not field.startswith('"') else field
                elif how == "long" and field[:1].isdigit():
                    field = "0" * draw(st.integers(1, 150)) + field
                fields.append(field)
            if text_column:
                fields.append(draw(st.sampled_from(["", "a", f'"b{delimiter}""c"""', "é", '5" pipe', "x" * 60])))
            lines.append(delimiter.join(fields))
            lines.extend([""] * draw(st.sampled_from([0, 0, 0, 1, 3])))
        text = end.join(lines) + draw(st.sampled_from(["", end, end * 3]))
        if draw(st.booleans()):
            text = draw(st.sampled_from([end, "\ufeff", "\ufeff" + end])) + text
        files.append(text.encode())
    return Drawn(files, np.array(values), header, delimiter, text_column)


@settings(max_examples=250, deadline=None)
@given(csv_files(), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]), st.sampled_from([8, 32, 1 << 22]))
def test_every_row_is_with_exactly_one_worker_in_order(drawn: Drawn, workers: int, chunk: int, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, small(chunk, block):
        paths = []
        for number, raw in enumerate(drawn.files):
            path = Path(folder, f"{number}.csv")
            path.write_bytes(raw)
            paths.append(path)
        width = drawn.X.shape[1]
        columns = list(range(width)) if drawn.text_column else None
        source = describe(paths, header=drawn.header, delimiter=drawn.delimiter, columns=columns)
        assert source.n_rows is None
        assert not source.in_memory
        assert source.feature_names == (tuple(f"x{i}" for i in range(width)) if drawn.header else None)
        check_workers(source, workers, drawn.X)


@settings(max_examples=60, deadline=None)
@given(csv_files(), st.integers(1, 5))
def test_a_target_column_is_cut_where_the_features_are(drawn: Drawn, workers: int) -> None:
    width = drawn.X.shape[1]
    if width == 1:
        return
    with tempfile.TemporaryDirectory() as folder, small(2, 16):
        for number, raw in enumerate(drawn.files):
            Path(folder, f"{number}.csv").write_bytes(raw)
        columns = [width - 1, *range(1, width - 1)]
        source = describe(
            f"{folder}/*.csv", 0, header=drawn.header, delimiter=drawn.delimiter, columns=columns, dtype=np.float32
        )
        with np.errstate(over="ignore"):
            X, y = drawn.X[:, columns].astype(np.float32), drawn.X[:, 0].astype(np.float32)
        parts = read_workers(source, workers)
        # Arrow rounds once, from the text; NumPy here a second time, from float64.
        np.testing.assert_allclose(np.concatenate([part[0] for part in parts]), X, rtol=2e-7, atol=2e-45)
        np.testing.assert_allclose(np.concatenate([part[1] for part in parts]), y, rtol=2e-7, atol=2e-45)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_a_large_file_with_real_chunks_is_read_as_numpy_reads_it(tmp_path: Path, workers: int) -> None:
    X = np.random.default_rng(0).standard_normal((5000, 3))
    np.savetxt(tmp_path / "a.csv", X, fmt="%.17g", delimiter=",", header="a,b,c", comments="")
    check_workers(describe(tmp_path / "a.csv"), workers, X)
    check_workers(describe(tmp_path / "a.csv", "b"), workers, X[:, [0, 2]], X[:, 1])


def test_numbers_are_rounded_correctly(tmp_path: Path) -> None:
    texts = [
        "0.1",
        "16777217.0000001",
        "1.7976931348623157e308",
        "5e-324",
        "+2.5",
        ".5",
        "5.",
        "1E+5",
        "-Infinity",
    ]
    (tmp_path / "a.csv").write_text("\n".join(texts))
    ((X, _, _),) = read_workers(describe(tmp_path / "a.csv"), 1)
    assert X[:, 0].tolist() == [float(text) for text in texts]
    ((X, _, _),) = read_workers(describe(tmp_path / "a.csv", dtype="float32"), 1)
    assert X[1, 0] == np.float32(16777218)  # by way of float64 it would be 16777216


def test_a_wide_file_and_one_row(tmp_path: Path) -> None:
    X = np.arange(3000.0)[None, :]
    np.savetxt(tmp_path / "a.csv", X, fmt="%d", delimiter=",")
    check_workers(describe(tmp_path / "a.csv"), 4, X)


def test_a_byte_order_mark_in_the_middle_belongs_to_a_field_wherever_blocks_are_cut(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,1\n\ufeffb,2\nc,3\n")
    (tmp_path / "b.csv").write_text("1\n\ufeff2\n3\n")
    for block in (1, 4, 1 << 20):
        with small(4, block):
            source = describe(tmp_path / "a.csv", header=False, columns=[1])
            check_workers(source, 2, np.array([[1.0], [2.0], [3.0]]))
            with pytest.raises(DataError, match=r"line 2, column 0: '\\ufeff2' is not a number"):
                describe(tmp_path / "b.csv").read(0, 1, 1)


LINES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r"]), max_size=20).map(b"".join)


@given(LINES, st.integers(1, 9), st.integers(1, 9))
def test_lines_are_counted_alike_however_they_are_read(raw: bytes, scan: int, read: int) -> None:
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    rows = sum(map(bool, lines))
    with mock.patch.object(csv_lines, "SCAN_BYTES", scan), mock.patch.object(csv_lines, "READ_BYTES", read):
        assert count_rows(raw) == rows
        for first in range(1, rows + 1):
            assert count_rows(cut_rows(raw, first)) == first
        with tempfile.NamedTemporaryFile() as file:
            file.write(raw)
            file.flush()
            assert count_lines(CsvFile(LocalFiles().find(file.name), 0), len(raw)) == len(lines) - 1


def test_tabs_separate_tsv_files_and_suffixes_may_be_upper_case(tmp_path: Path) -> None:
    (tmp_path / "a.TSV").write_text("1\t2\n3\t4\n")
    (tmp_path / "b.TXT").write_text("1 2\n3 4\n")
    check_workers(describe(tmp_path / "a.TSV"), 1, np.array([[1.0, 2.0], [3.0, 4.0]]))
    check_workers(describe(tmp_path / "b.TXT", delimiter=" "), 1, np.array([[1.0, 2.0], [3.0, 4.0]]))


def test_several_files_keep_the_given_order_and_globs_are_sorted(tmp_path: Path) -> None:
    for name, value in (("b", 2), ("a", 1), ("c", 3)):
        (tmp_path / f"{name}.csv").write_text(f"x\n{value}\n")
    check_workers(describe(str(tmp_path / "*.csv")), 2, np.array([[1.0], [2.0], [3.0]]))
    check_workers(describe([tmp_path / "c.csv", str(tmp_path / "[ab].csv")]), 2, np.array([[3.0], [1.0], [2.0]]))


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "[1].csv").write_text("1\n")
    (tmp_path / "1.csv").write_text("2\n")
    check_workers(describe(tmp_path / "[1].csv"), 1, np.array([[1.0]]))


def test_columns_are_chosen_by_name_and_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a, b ,c,d\n1,2,3,x\n4,5,6,y\n")
    source = describe(tmp_path / "a.csv", "b", columns=["c", 0])
    assert source.feature_names == ("c", "a")
    assert (source.n_features, source.has_target, source.dtype) == (2, True, np.float64)
    check_workers(source, 2, np.array([[3.0, 1.0], [6.0, 4.0]]), np.array([2.0, 5.0]))
    source = describe(tmp_path / "a.csv", -2, columns=["a"])
    check_workers(source, 1, np.array([[1.0], [4.0]]), np.array([3.0, 6.0]))
