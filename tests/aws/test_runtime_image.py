"""The runtime image, built by Lithops from docker/Dockerfile: no function ever compiles a kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import lithops
import numpy as np
import pytest
from aws_account import Account
from image_builder import DOCKERFILE, copy_repository
from lambda_jail import UID, jail
from lambda_root import Root
from test_lambda_fits import put

from benchmarks.s3_server import S3Server
from biglambda import fit_kmeans, fit_logistic_regression
from biglambda.kernels.registry import specialisations

HERE = Path(__file__).parent
WORKERS = 4
PROBE = "/tmp/probe.py"
QEMU = shutil.which("qemu-x86_64-static")
FLAGS = {
    "Nehalem": "fpu sse sse2 ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm",
    "Haswell": "fpu sse sse2 ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt xsave avx f16c lahf_lm abm bmi1 avx2 bmi2",
}
"""What /proc/cpuinfo would say on a CPU that qemu imitates; what it says is the machine's own."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as it is, without what is not in the image."""
    folder = tmp_path_factory.mktemp("repository")
    copy_repository(folder)
    return folder


@pytest.fixture(scope="module")
def image(account: Account, prepared: None, context: Path) -> str:
    """The image's name."""
    account.build("biglambda", context / DOCKERFILE, context)
    return "biglambda"


@pytest.fixture(scope="module")
def root(account: Account, image: str) -> Root:
    """The image, unpacked."""
    return account.root_of(account.uri_of(image))


@pytest.fixture(scope="module")
def executor(account: Account, image: str) -> Iterator[lithops.FunctionExecutor]:
    with account.executor(image, runtime_memory=1769, runtime_timeout=60) as executor:
        yield executor


def run(root: Root, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the entry script starts it, in a jail that has the probe."""
    probe = (HERE / "image_probe.py", PROBE)
    with_probe = replace(root, cmd=(), entrypoint=(root.entrypoint[0], *command), over=(*root.over, probe))
    return subprocess.run(
        jail(with_probe), env={**root.env, **environment}, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("inner", ["threads", "processes"])
def test_fits_in_four_functions_have_the_bits_of_a_local_run_and_compile_nothing(
    inner: str,
    executor: Any,
    s3: S3Server,
    redis_on_loopback: str,
    blobs: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> None:
    x, centers = blobs(20_000, 6, 5)
    y = (x[:, 0] > 0).astype(float)
    where = {"workers": WORKERS, "executor": executor, "redis": redis_on_loopback, "inner": inner}
    name, target = put(s3, "image.npy", x), put(s3, "image-y.npy", y)
    clusters = fit_kmeans(name, 5, init=centers, **where)
    classes = fit_logistic_regression(name, target, max_iter=5, **where)
    alone = fit_kmeans(x, 5, init=centers)
    assert clusters.centers.tobytes() == alone.centers.tobytes()
    assert clusters.labels.tobytes() == alone.labels.tobytes()
    assert classes.weights.tobytes() == fit_logistic_regression(x, y, max_iter=5).weights.tobytes()
    for fit in (clusters, classes):
        assert fit.trace.compiled == 0
        for worker in fit.trace.workers:
            assert worker.info.kernels.loaded == specialisations()
            assert worker.info.memory_mb == 1769


def test_a_function_is_not_root_and_has_no_shared_memory(root: Root) -> None:
    said = run(root, "python", PROBE)
    assert said.returncode == 0, said.stderr
    seen = json.loads(said.stdout)
    assert (seen["uid"], seen["shm"], seen["compile"]) == (UID, False, "never")
    assert (seen["loaded"], seen["compiled"]) == (specialisations(), 0)


@pytest.mark.skipif(QEMU is None, reason="qemu-x86_64-static is not installed")
def test_older_cpus_get_their_own_kernels_and_the_same_labels(root: Root, tmp_path: Path) -> None:
    """On a CPU that qemu imitates, an instruction of a newer one ends the process."""

    def on(cpu: str) -> dict[str, Any]:
        said = run(emulated(root, cpu, tmp_path), "/tmp/qemu", "-cpu", cpu, "/opt/venv/bin/python", PROBE)
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)

    with ThreadPoolExecutor() as pool:
        seen = dict(zip(FLAGS, pool.map(on, FLAGS), strict=True))
    here = json.loads(run(root, "python", PROBE).stdout)
    assert {cpu: one["target"] for cpu, one in seen.items()} == {"Nehalem": "x86-64-v2", "Haswell": "x86-64-v3"}
    for one in seen.values():
        assert (one["loaded"], one["compiled"]) == (specialisations(), 0)
        assert one["labels"] == here["labels"]


def emulated(root: Root, cpu: str, folder: Path) -> Root:
    """The image on another CPU."""
    cpuinfo = folder / cpu
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: {cpu}\nflags\t\t: {FLAGS[cpu]}\n")
    assert QEMU is not None
    return replace(root, over=((Path(QEMU), "/tmp/qemu"), (cpuinfo, "/proc/cpuinfo")))


def test_kernels_for_a_newer_cpu_cannot_be_forced(root: Root, tmp_path: Path) -> None:
    old = emulated(root, "Haswell", tmp_path)
    said = run(old, "python", "-c", "print('started')", NUMBA_CPU_NAME="x86-64-v4")
    assert said.returncode == 1
    assert said.stdout == ""
    assert "NUMBA_CPU_NAME=x86-64-v4, but this CPU has x86-64-v3" in said.stderr
    allowed = run(old, "sh", "-c", "echo $NUMBA_CPU_NAME", NUMBA_CPU_NAME="x86-64-v2")
    assert allowed.stdout == "x86-64-v2\n"


def test_a_kernel_that_is_edited_after_baking_fails_the_build(
    account: Account, image: str, context: Path, tmp_path: Path
) -> None:
    bake = "RUN biglambda runtime bake\n"
    text = (context / DOCKERFILE).read_text()
    assert text.count(bake) == 1
    edit = "RUN echo '# an edit' >> $(python -c 'import biglambda.kernels.exact as one; print(one.__file__)')\n"
    edited = tmp_path / "Dockerfile"
    edited.write_text(text.replace(bake, bake + edit))
    with pytest.raises(RuntimeError, match="refusing to compile the kernel"):
        account.build("edited", edited, context)


def test_a_stale_cache_keeps_a_function_from_starting_and_the_caller_learns_which_kernel(
    account: Account, image: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM localhost/{image}\nUSER 0\nRUN rm /opt/kernels/biglambda/sparse_softmax-float32-*\nUSER {UID}\n"
    )
    account.build("stale", tmp_path / "Dockerfile", tmp_path)
    with (
        account.executor("stale", runtime_memory=1769, runtime_timeout=30) as executor,
        pytest.raises(Exception, match="refusing to compile the kernel sparse_softmax-float32"),
    ):
        executor.get_result(executor.call_async(str, (1,), include_modules=None), timeout=30)


def test_the_image_has_the_python_of_its_client(root: Root) -> None:
    said = run(root, "python", "-c", "import sys; print(*sys.version_info[:2])")
    assert said.stdout.split() == [str(part) for part in sys.version_info[:2]]
