import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numba import types

import biglambda.kernels as kernels
from biglambda.kernels import KERNELS, cache, registry, warm
from biglambda.kernels.registry import IN, OUT, REAL, Kernel

FOLDER = Path(kernels.__file__).parent


def python(code, **environment):
    """The output of a new interpreter."""
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def scaled(x, factor, out):
    for i in range(x.size):
        out[i] = x[i] * factor


def new_kernel():
    return Kernel(scaled, (IN(REAL, 1), types.float64, OUT(REAL, 1)), types.void, registry.DTYPES)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_kernel_states_nogil_and_fastmath_and_is_cached(name):
    for dtype in KERNELS[name].signatures:
        dispatcher = KERNELS[name][dtype]
        assert dispatcher.targetoptions["nogil"] is True
        assert dispatcher.targetoptions["fastmath"] is False
        assert dispatcher.targetoptions["_nrt"] is False
        assert isinstance(dispatcher._cache, cache.KernelCache)
        assert len(dispatcher.signatures) == 1


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_only_the_registry_compiles_and_only_simd_speaks_llvm(path):
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    if path.name != "registry.py":
        assert not names & {"njit", "jit", "vectorize", "guvectorize", "cfunc"}
    if path.name != "simd.py":
        assert "llvmlite" not in modules
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "njit":
            stated = {keyword.arg for keyword in node.keywords}
            assert stated == {None} or {"nogil", "fastmath", "_nrt"} <= stated


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_every_untyped_function_is_compiled(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.returns is None and path.name != "simd.py":
            decorators = {
                getattr(d, "id", getattr(getattr(d, "func", None), "id", "")) for d in node.decorator_list
            }
            assert decorators & {"inline", "kernel", "overload"}, node.name


def test_reads_only_arguments_are_declared_so():
    signature = KERNELS["lloyd_general"].signatures[np.dtype(np.float32)]
    assert not signature.args[0].mutable
    assert not signature.args[2].mutable


def test_importing_compiles_and_loads_nothing():
    assert python("import biglambda.kernels as k; print([n for n in k.KERNELS.values() if n._ready])") == "[]"


def test_warm_compiles_once_and_then_loads(tmp_path):
    code = "from biglambda.kernels import warm; print(warm('chunk_sums', dtypes=('float32',)))"
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert python(code, **environment) == "1"
    assert python(code, **environment) == "0"


def test_warm_refuses_an_unknown_name():
    with pytest.raises(KeyError, match=r"no kernel is called 'loyd'; there are .*lloyd_general"):
        warm("loyd")


def test_a_kernel_refuses_another_dtype():
    with pytest.raises(TypeError, match="scaled got rows of dtype int64; allowed is float32 or float64"):
        new_kernel()[np.int64]


def test_the_first_use_is_safe_from_several_threads():
    made, start, results = new_kernel(), threading.Barrier(8), []

    def use():
        out = np.empty(3)
        start.wait()
        made[np.dtype(np.float64)](np.arange(3.0), 2.0, out)
        results.append(out.tolist())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0.0, 2.0, 4.0]] * 8


USE = """
import numpy as np, biglambda.kernels as k
from biglambda.kernels import cache
{prepare}
assert k.race(np.array([0.0, 7.0, 0.0]), 0, 0, 0)[1] == 1
print(sum(k.KERNELS["exponential_race"]["float64"].stats.cache_misses.values()))
"""


def test_a_read_only_cache_is_used_as_it_is(tmp_path):
    baked, spare = tmp_path / "baked", tmp_path / "spare"
    spare.mkdir()
    code = USE.format(prepare="")
    assert python(code, NUMBA_CACHE_DIR=str(baked), TMPDIR=str(spare)) == "1"
    for path in (*baked.rglob("*"), baked):
        path.chmod(0o555)
    assert python(code, NUMBA_CACHE_DIR=str(baked), TMPDIR=str(spare)) == "0"
    assert not list(spare.rglob("*.kernel"))
    moved = tmp_path / "moved"
    baked.chmod(0o755)
    baked.rename(moved)
    assert python(code, NUMBA_CACHE_DIR=str(moved), TMPDIR=str(spare)) == "0"


def test_an_unwritable_folder_falls_back_to_a_private_temporary_one(tmp_path):
    environment = {"NUMBA_CACHE_DIR": "/proc/nowhere", "TMPDIR": str(tmp_path)}
    code = USE.format(prepare="")
    assert python(code, **environment) == "1"
    (folder,) = tmp_path.glob("biglambda-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert python(code, **environment) == "0"


def test_kernels_work_with_no_writable_folder_at_all():
    prepare = "from pathlib import Path; cache.folders = lambda: [Path('/proc/nowhere')]"
    assert python(USE.format(prepare=prepare)) == "1"


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path):
    code = USE.format(prepare="")
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert python(code, **environment) == "1"
    assert python(code, **environment) == "0"
    (tmp_path / "biglambda").chmod(0o777)
    assert python(code, **environment) == "1"
    (private,) = tmp_path.glob("biglambda-*")
    private.chmod(0o777)
    assert python(code, **environment) == "1"


def test_a_truncated_entry_is_compiled_anew(tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert python(USE.format(prepare=""), **environment) == "1"
    (entry,) = tmp_path.rglob("*.kernel")
    entry.write_bytes(b"")
    assert python(USE.format(prepare=""), **environment) == "1"
    assert python(USE.format(prepare=""), **environment) == "0"


def test_a_change_of_any_kernel_source_makes_entries_stale(tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert python(USE.format(prepare=""), **environment) == "1"
    assert python(USE.format(prepare="cache.SOURCE_STAMP = 'other'"), **environment) == "1"


def test_a_numba_without_the_internals_is_refused_by_name():
    code = """
import numba.core.caching as caching
del caching._Cache
try:
    import biglambda.kernels
except ImportError as error:
    print(error)
"""
    message = python(code)
    assert "internals of Numba that version" in message
    assert registry.SUPPORTED_NUMBA in message
