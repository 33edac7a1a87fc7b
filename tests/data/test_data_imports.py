"""What loading data imports: cold starts pay for every module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def imported(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_describing_imports_neither_arrow_nor_lithops(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,\n")
    code = f"import biglambda.runtime.data as data\nsource = data.describe({str(tmp_path / 'a.csv')!r})"
    assert not imported(code) & {"pyarrow", "lithops", "pandas", "numba", "boto3", "botocore", "urllib3"}


def test_reading_csv_does_not_import_pandas(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,\n")
    code = f"import biglambda.runtime.data as data\ndata.describe({str(tmp_path / 'a.csv')!r}).read(0, 1, 2)"
    assert "pyarrow" in imported(code)
    assert not imported(code) & {"lithops", "pandas", "numba", "boto3", "botocore", "urllib3"}
