"""Imports go one way: biglambda -> algorithms -> kernels, and algorithms -> runtime."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import biglambda
from biglambda import kernels
from biglambda.runtime import rows

ROOT = Path(__file__).parent.parent
LAYERS = ("kernels", "runtime", "algorithms")
ALLOWED = {"kernels": set(), "runtime": set(), "algorithms": {"kernels", "runtime"}}
KERNELS_MAY_IMPORT = {"numpy", "numba", "llvmlite"}


def imported(path: Path, package: str) -> Iterator[str]:
    """Absolute names of what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            yield ".".join(filter(None, [base, node.module]))


def files(layer: str) -> list[tuple[Path, str]]:
    found = []
    for path in sorted((ROOT / layer).rglob("*.py")):
        package = ".".join(["biglambda", *path.relative_to(ROOT).parent.parts])
        found.append((path, package))
    assert found
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_the_layers_below_it(layer: str) -> None:
    for path, package in files(layer):
        for name in imported(path, package):
            parts = name.split(".")
            if parts[0] == "biglambda":
                other = parts[1] if len(parts) > 1 else ""
                assert other == layer or other in ALLOWED[layer], f"{path} imports {name}"


def test_kernels_import_only_numpy_numba_and_llvmlite() -> None:
    for path, package in files("kernels"):
        for name in imported(path, package):
            top = name.split(".")[0]
            known = top in KERNELS_MAY_IMPORT or top in sys.stdlib_module_names or top == "biglambda"
            assert known, f"{path} imports {name}"


def test_llvmlite_is_in_one_file_only() -> None:
    using = [
        path.name for path, package in files("kernels") if any("llvmlite" in n for n in imported(path, package))
    ]
    assert using == ["simd.py"]


def test_kernels_and_runtime_mean_the_same_chunk() -> None:
    assert kernels.CHUNK == rows.CHUNK


def test_importing_biglambda_loads_nothing_heavy() -> None:
    heavy = "('numpy', 'numba', 'lithops', 'pyarrow', 'redis')"
    code = f"import sys, biglambda; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_fitting_an_array_loads_no_lithops_redis_or_pyarrow() -> None:
    code = (
        "import sys, numpy, biglambda; biglambda.fit_kmeans(numpy.eye(4), 2, seed=1);"
        "print([m for m in ('lithops', 'pyarrow', 'redis', 'boto3', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "[]"


def test_every_public_name_can_be_imported_and_has_a_docstring() -> None:
    for name in biglambda.__all__:
        assert getattr(biglambda, name).__doc__
