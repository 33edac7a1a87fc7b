"""Parquet files: every row once and in order, whatever the row groups; and what is wrong with a file, by name."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as arrow
import pytest
from data_helpers import check_workers, read_workers, small
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as format

from biglambda import fit_kmeans, fit_logistic_regression
from biglambda.runtime.data import ParquetSource, describe, parquet
from biglambda.runtime.errors import DataError

DTYPES = ["f8", "f4", "f2", "i8", "i1", "u2", "bool"]
WORKING = {"f8": np.float64, "f4": np.float32, "f2": np.float32}


def write(path: Path | str, columns: dict[str, Any], **options: Any) -> str:
    format.write_table(arrow.table(columns), path, **options)
    return str(path)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_row_is_with_exactly_one_worker_in_order(data: st.DataObject) -> None:
    draw = data.draw
    width = draw(st.integers(1, 5))
    kinds = draw(st.lists(st.sampled_from(DTYPES), min_size=width, max_size=width))
    names = [f"column {number}" for number in range(width)]
    target = draw(st.sampled_from([None, *names])) if width > 1 else None
    columns = draw(st.permutations([name for name in names if name != target]))
    columns = columns[: draw(st.integers(1, len(columns)))]
    wanted = draw(st.sampled_from([None, np.float32, np.float64]))
    tables = []
    with (
        small(draw(st.sampled_from([1, 4, 16]))),
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(parquet, "BATCH_BYTES", draw(st.sampled_from([1, 64, 1 << 20]))),
        mock.patch.object(parquet, "JOB_BYTES", draw(st.sampled_from([1, 200, 1 << 26]))),
        mock.patch.object(parquet, "GAP_BYTES", draw(st.sampled_from([0, 1 << 16]))),
    ):
        paths = []
        for number in range(draw(st.integers(1, 3))):
            rows = draw(st.integers(0 if number else 1, 40))
            generator = np.random.default_rng(rows)
            numbers = generator.integers(0, 100, (width, rows))
            table = {name: column.astype(kind) for name, kind, column in zip(names, kinds, numbers, strict=True)}
            tables.append(table)
            paths.append(
                write(
                    f"{folder}/{number}.parquet",
                    table,
                    row_group_size=draw(st.integers(1, 50)),
                    use_dictionary=draw(st.booleans()),
                    compression=draw(st.sampled_from(["none", "snappy", "zstd"])),
                    data_page_size=draw(st.sampled_from([16, 1 << 20])),
                )
            )
        source = describe(paths, target, columns=columns, dtype=wanted)
        stored = [WORKING.get(kinds[names.index(name)], np.float64) for name in columns]
        dtype = wanted or np.result_type(*stored)
        assert source.dtype == dtype
        assert source.feature_names == tuple(columns)
        X = np.stack([np.concatenate([t[name] for t in tables]).astype(dtype) for name in columns], axis=1)
        y = None if target is None else np.concatenate([t[target] for t in tables]).astype(dtype)
        check_workers(source, draw(st.integers(1, 9)), X, y, draw(st.integers(1, 3)))


def test_only_the_bytes_of_the_columns_and_row_groups_that_are_needed_are_read(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = {name: generator.standard_normal(40_000) for name in "abcd"}
    path = write(tmp_path / "x.parquet", table, row_group_size=10_240, use_dictionary=False, compression="none")
    source = describe(path, columns=["a", "b"])
    assert isinstance(source, ParquetSource)
    read = []
    store = type(source.store)
    plain = store.read

    def counting(self: Any, name: str, offset: int, length: int) -> bytes:
        data = plain(self, name, offset, length)
        read.append(len(data))
        return data

    with mock.patch.object(store, "read", counting):
        X = source.read(0, 4, 2).X
    np.testing.assert_array_equal(X, np.stack([table["a"], table["b"]], axis=1)[: len(X)])
    assert sum(read) < 1.1 * X.nbytes + parquet.FOOTER_BYTES


def test_a_footer_may_be_longer_than_what_is_read_first(tmp_path: Path) -> None:
    table = {f"column {number}": np.array([1.0, number]) for number in range(1_000)}
    path = write(tmp_path / "wide.parquet", table)
    size = int.from_bytes(Path(path).read_bytes()[-8:-4], "little")
    assert size > parquet.FOOTER_BYTES
    check_workers(describe(path), 1, np.stack(list(table.values()), axis=1))


def test_a_fit_has_the_bits_of_the_same_rows_in_memory(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((10_000, 3))
    late = x[:, 0] + generator.standard_normal(10_000) > 0
    path = write(tmp_path / "x.parquet", {"a": x[:, 0], "late": late, "b": x[:, 1], "c": x[:, 2]})
    here = fit_logistic_regression(x, late)
    there = fit_logistic_regression(path, "late", workers=2)
    assert there.weights.tobytes() == here.weights.tobytes()
    clusters = fit_kmeans(path, 4, columns=["a", "b", "c"], seed=1)
    assert clusters.centers.tobytes() == fit_kmeans(x, 4, seed=1).centers.tobytes()


def damaged(path: str, at: int, data: bytes) -> str:
    content = bytearray(Path(path).read_bytes())
    content[at if at >= 0 else len(content) + at :][: len(data)] = b""
    start = at if at >= 0 else len(content) + at
    content[start : start + len(data)] = data
    Path(path).write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has 0 bytes; a Parquet file has at least 12"),
        (b"PAR1" + b"x" * 100, "no Parquet file, or cut short"),
        (b"PAR1" + b"x" * 100 + b"\xff\xff\xff\x7fPAR1", "no Parquet file, or cut short"),
        (b"PAR1" + b"\x15" * 100 + (50).to_bytes(4, "little") + b"PAR1", "has a damaged footer: "),
        (b"PAR1" + b"x" * 100 + b"PARE", "is encrypted"),
    ],
)
def test_what_is_no_parquet_file_is_said(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.parquet.*{says}"):
        describe(str(path))


def test_damaged_pages_name_the_row_group(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.parquet",
        {"a": np.arange(20_000.0)},
        row_group_size=5_000, use_dictionary=False, write_page_checksum=True,
    )  # fmt: skip
    source = describe(path)
    chunk = format.read_metadata(path).row_group(2).column(0)
    damaged(path, chunk.data_page_offset + chunk.total_compressed_size - 50, b"\xff" * 20)
    with pytest.raises(DataError, match=r"x\.parquet, row group 2 is damaged"):
        read_workers(source, 1)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_damage_is_a_data_error_or_read_all_the_same(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(f"{folder}/x.parquet", {"a": np.arange(500.0), "b": np.arange(500)}, row_group_size=200)
        size = Path(path).stat().st_size
        for _ in range(data.draw(st.integers(1, 3))):
            damaged(path, data.draw(st.integers(0, size - 1)), data.draw(st.binary(min_size=1, max_size=4)))
        with suppress(DataError):
            read_workers(describe(path), 2)


def test_a_missing_value_is_named_by_its_row(tmp_path: Path) -> None:
    values: list[float | None] = [float(row) for row in range(3_000)]
    values[2_100] = None
    path = write(tmp_path / "x.parquet", {"a": arrow.array(values)}, row_group_size=1_000)
    with pytest.raises(DataError, match=r"'a' has no value in row 2100 of the data set, row 100 of row group 2"):
        read_workers(describe(path), 2)


def test_columns_that_are_no_numbers_and_targets_that_are_no_columns_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"a": [1.0, 2.0], "b": ["x", "y"], "c": [[1], [2]]})
    with pytest.raises(DataError, match=r"column 'b' has type string; allowed are integers, floats and bool"):
        describe(path)
    with pytest.raises(DataError, match="column 'c' has type list"):
        describe(path, columns=["c"])
    with pytest.raises(DataError, match="no column 'z'; its columns are 'a', 'b', 'c'"):
        describe(path, "z", columns=["a"])
    with pytest.raises(DataError, match="target is a list; for Parquet files it is a column's name or number"):
        describe(path, [1, 2], columns=["a"])
    assert describe(path, columns=["a"]).n_rows == 2


def test_files_without_the_columns_of_the_first_or_without_rows_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "1.parquet", {"a": [1.0], "b": [1.0]})
    with pytest.raises(DataError, match=r"2\.parquet has no column 'b', but .*1\.parquet has"):
        describe([first, write(tmp_path / "2.parquet", {"a": [1.0], "c": [1.0]})])
    with pytest.raises(DataError, match="has no rows"):
        describe(write(tmp_path / "3.parquet", {"a": np.empty(0)}))
    with pytest.raises(DataError, match="one format"):
        describe([first, str(tmp_path / "x.csv")])


def test_a_file_that_changed_since_it_was_described_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"a": np.arange(3_000.0)})
    source = describe(path)
    write(path, {"a": np.arange(4_000.0)})
    with pytest.raises(DataError, match=r"4,000 rows, but had .* 3,000 .*must not change"):
        read_workers(source, 1)
