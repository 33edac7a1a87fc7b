"""CSV files that cannot be used: what is said, and that the client says what it can know."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from data_helpers import small

from biglambda.runtime.data import describe
from biglambda.runtime.errors import DataError

KNOWN_TO_THE_CLIENT = {
    "empty": (b"", {}, "is empty"),
    "blank lines only": (b"\n\r\n\n", {}, "has only blank lines"),
    "header only": (b"a,b\n\n", {}, "has a header, but no rows"),
    "unknown name": (b"a,b\n1,2\n", {"target": "c"}, "has no column 'c'; its columns are 'a', 'b'"),
    "unknown number": (b"a,b\n1,2\n", {"columns": [2]}, "has no column 2; it has 2, numbered from 0 to 1"),
    "name without header": (b"1,2\n", {"target": "a"}, "has no column names: give column 'a' as a number, 0 to 1"),
    "duplicate names": (b"a,b,a\n1,2,3\n", {}, "line 1: the header has 'a' more than once"),
    "first line ragged": (b"a,b\n1,2,3\n", {}, "line 2: expected 2 fields, found 3: '1,2,3'"),
    "delimiter of others": (b"a;b\n1;2\n", {}, "'1;2' is not a number (fields are separated by ',')"),
    "first line not a number": (b"a,b\n1,x\n", {}, "line 2, column 'b' (number 1): 'x' is not a number"),
    "no header": (b"a,b\n1,2\n", {"header": False}, "line 1, column 0: 'a' is not a number"),
    "quote in the header": (b'a,"b\nc"\n1,2\n', {}, "line 1: a quoted field does not end in its line"),
    "target is the only column": (b"a\n1\n", {"target": "a"}, "no features are left"),
    "target is a feature": (b"a,b\n1,2\n", {"target": "a", "columns": ["a"]}, "cannot be a feature as well"),
    "feature twice": (b"a,b\n1,2\n", {"columns": ["a", 0]}, "a column is there twice"),
    "columns is text": (b"a,b\n1,2\n", {"columns": "a"}, "give a list of column names or numbers"),
    "no columns": (b"a,b\n1,2\n", {"columns": []}, "no features are left"),
    "column is no name": (b"a,b\n1,2\n", {"columns": [1.5]}, "a column is a name or a number, not 1.5"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), {}, "is UTF-16 text; allowed is UTF-8"),
    "Latin-1 header": (b"\xe9,b\n1,2\n", {}, "is not UTF-8 text"),
    "delimiter": (b"a,b\n1,2\n", {"delimiter": ",,"}, "delimiter=',,': one ASCII character is allowed"),
    "header": (b"a,b\n1,2\n", {"header": "yes"}, "header='yes': \"auto\", True and False are allowed"),
    "array target": (b"a,b\n1,2\n", {"target": np.ones(1)}, "target is a ndarray; for CSV files"),
    "dtype": (b"a,b\n1,2\n", {"dtype": np.int32}, "dtype=int32: float32, float64 and None are allowed"),
    "dtype no dtype": (b"a,b\n1,2\n", {"dtype": "real"}, "dtype='real': float32, float64 and None are allowed"),
}


@pytest.mark.parametrize("case", KNOWN_TO_THE_CLIENT)
def test_describe_refuses(tmp_path: Path, case: str) -> None:
    raw, options, message = KNOWN_TO_THE_CLIENT[case]
    path = tmp_path / "data.csv"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        describe(path, **options)
    assert str(path) in str(caught.value) or options.keys() & {"delimiter", "header", "target", "columns", "dtype"}


def test_describe_refuses_files_that_are_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}/a.csv does not exist on this machine")):
        describe(os.path.relpath(tmp_path / "a.csv"))
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder").mkdir()
    for name in ("folder.csv", "folder"):
        with pytest.raises(DataError, match=re.escape(f"{tmp_path}/{name} is a directory; give its files")):
            describe(tmp_path / name)
    with pytest.raises(DataError, match=re.escape(f"no file matches {tmp_path}/*.npy")):
        describe(f"{tmp_path}/*.npy")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe.csv is not a regular file"):
        describe(tmp_path / "pipe.csv")


def test_describe_refuses_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1\n")
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(DataError, match="permission denied"):
            describe(path)
        return
    child = os.fork()
    if child == 0:  # root may read anything: become somebody else, in a process of its own
        code = 1
        try:
            os.setuid(65534)
            describe(path)
        except DataError as error:
            code = 0 if "permission denied" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_files_of_one_data_set_must_agree(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("\na,c\n1,2\n")
    with pytest.raises(DataError, match=r"b.csv, line 2: its header is 'a', 'c', but that of .*a.csv is 'a', 'b'"):
        describe(f"{tmp_path}/*.csv")
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(DataError, match=r"b.csv is empty"):
        describe(f"{tmp_path}/*.csv")
    (tmp_path / "b.csv").write_text("1,2,3\n")
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=r"b.csv, line 1: expected 2 fields, found 3"):
        describe(f"{tmp_path}/*.csv")
    np.save(tmp_path / "c.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match=r"must have one format; these have .csv, .npy"):
        describe([tmp_path / "a.csv", tmp_path / "c.npy"])


@pytest.mark.parametrize("name", ["a.arrow", "a.csv.gz", "a"])
def test_formats_that_are_not_supported_are_listed_with_those_that_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"are not supported; supported are .csv, .npy, .parquet, .pq, .tsv, .txt"):
        describe(tmp_path / name)


@pytest.mark.parametrize("data", ["gs://bucket/a.csv", ["https://host/a.npy"]])
def test_other_schemes_are_refused(data: object) -> None:
    with pytest.raises(DataError, match=r"/a\..*: allowed are paths on this machine and s3://bucket/key"):
        describe(data)


@pytest.mark.parametrize("data", [[], "", "a\0.csv", b"a.csv"])
def test_what_is_no_path_is_refused(data: object) -> None:
    with pytest.raises(DataError):
        describe(data)


LATER = {
    "ragged": ("1,2,3", "expected 2 fields, found 3: '1,2,3'"),
    "short": ("1", "expected 2 fields, found 1: '1'"),
    "text": ("1,x", "column 'b' (number 1): 'x' is not a number"),
    "long text": ("1," + "x" * 99, f"'{'x' * 40}'... (99 characters) is not a number"),
    "blank field": ("1, ", "column 'b' (number 1): ' ' is not a number"),
    "NA": ("NA,1", "column 'a' (number 0): 'NA' is not a number"),
    "open quote": ('1,"2', "a quoted field does not end in its line: '1,\"2'"),
    "line break in quotes": ('1,"2\n3"', "a quoted field does not end in its line: '1,\"2'"),
    "not UTF-8": (b"1,\xff", "is not a number"),
    "NUL": ("1,2\0", "'2\\x00' is not a number"),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("case", LATER)
def test_a_worker_names_file_and_line(tmp_path: Path, case: str, end: str) -> None:
    line, message = LATER[case]
    raw = line if isinstance(line, bytes) else line.encode()
    good = f"1,2{end}".encode()
    path = tmp_path / "data.csv"
    path.write_bytes(f"a,b{end}{end}".encode() + good * 300 + end.encode() + raw + end.encode() + good * 300)
    for block in (64, 1 << 22):
        with small(4, block):
            source = describe(path)
            with pytest.raises(DataError, match=re.escape(message)) as caught:
                source.read(0, 1, 2)
            assert f"{path}, line 304" in str(caught.value)
            with pytest.raises(DataError, match=re.escape(f"{path}, line 304")):
                source.read(1, 3, 2)


def test_the_first_of_several_faults_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,2\n" * 50 + "1,2,3\n" + "1,2\n" * 50 + "1,x\n" + "1,2\n" * 50)
    with small(4, 16), pytest.raises(DataError, match="line 51: expected 2 fields"):
        describe(path).read(0, 1, 2)


def test_a_line_break_in_quotes_is_refused_in_a_column_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('a,b\nx,1\n"y\nz",2\nx,3\n')
    with pytest.raises(DataError, match="line 3: a quoted field does not end in its line"):
        describe(path, columns=["b"]).read(0, 1, 1)


def test_a_file_that_changed_or_vanished_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,2\n3,4\n")
    source = describe(path)
    path.write_text("1,2\n")
    with pytest.raises(DataError, match="has 4 bytes, but had 8 when the run was described"):
        source.read(0, 1, 1)
    path.write_text("1,2\n5,6\n")
    os.utime(path, ns=(1, 1))  # the clock of a file system ticks slowly
    with pytest.raises(DataError, match=r"data.csv was written since the run was described"):
        source.read(0, 1, 1)
    path.unlink()
    with pytest.raises(DataError, match="does not exist on this machine"):
        source.read(0, 1, 1)


def test_counts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,2\n3,4\n")
    partition = describe(path).read(1, 2, 1)
    for counts in (None, [1], [1, 7]):
        with pytest.raises(ValueError, match="worker 1 has 1 rows"):
            partition.align(counts)
    first = describe(path).read(0, 2, 1)
    with pytest.raises(DataError, match=r"data.csv ended 499 rows before the counts say that it does"):
        first.align([1, 500])
    with pytest.raises(ValueError, match="worker 2 of 2: workers are numbered from 0 to 1"):
        describe(path).read(2, 2, 1)
