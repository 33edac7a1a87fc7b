"""One result on a mixed fleet: what each instruction set makes of every kernel."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cross_compile
import exercise
import pytest

from biglambda.kernels import Target, target
from biglambda.kernels.bake import environment

HERE = Path(__file__).parent
FLAGS = {"x86-64-v2": {"sse4_2"}, "x86-64-v3": {"avx2", "fma"}, "x86-64-v4": {"avx512vl", "fma"}, "native": set()}
MAY_CALL = {"numba_frexp", "memset", "memcpy"}  # exact, the same on every CPU


def cpu_flags() -> set[str]:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())


def python(*arguments: str, **environment: str) -> str:
    """The output of a new interpreter."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU_")}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=inherited | environment, cwd=HERE, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def compiled_for(name: str) -> dict[str, str]:
    """The environment of a process whose kernels are for that target."""
    return {} if name == "native" else environment(name)


@pytest.fixture(scope="module")
def runs(baked: Path) -> Iterator[dict[str, Future]]:
    """What the scripts beside this file will have printed: `exercise` for each target, and `cross_compile`."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        started = {"aarch64": pool.submit(python, "cross_compile.py", **cross_compile.FOR_128_BITS)}
        for name, needed in FLAGS.items():
            if needed <= cpu_flags():
                folder = {} if name == "native" else {"NUMBA_CACHE_DIR": str(baked)}
                started[name] = pool.submit(python, "exercise.py", **compiled_for(name), **folder)
        yield started


@pytest.fixture(scope="module")
def ran(runs: dict[str, Future]) -> dict[str, dict]:
    """What `exercise` said, for each target that this CPU runs."""
    return {name: json.loads(run.result()) for name, run in runs.items() if name in FLAGS}


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not FLAGS[name] <= cpu_flags(), reason=f"this CPU cannot run {name}")


def test_the_exercises_run_every_kernel_with_every_dtype(ran: dict[str, dict]) -> None:
    for result in ran.values():
        exercised = {kernel for name in result["hashes"] for kernel in name.partition(":")[0].split()}
        missing = set(result["existing"]) - exercised
        assert not missing, f"{sorted(missing)} are compared nowhere: add a function to EXERCISES in exercise.py"


@needs("x86-64-v3")
@pytest.mark.parametrize("other", [pytest.param("x86-64-v4", marks=needs("x86-64-v4")), "native"])
def test_targets_with_fma_give_the_same_bits(ran: dict[str, dict], other: str) -> None:
    assert ran["x86-64-v3"]["target"]["family"] == ran[other]["target"]["family"] == "fma"
    wanted, got = ran["x86-64-v3"]["hashes"], ran[other]["hashes"]
    assert got.keys() == wanted.keys()
    different = [name for name in wanted if got[name] != wanted[name]]
    assert not different, f"{len(different)} of {len(wanted)} cases differ, the first: {different[:5]}"


@needs("x86-64-v4")
def test_the_widths_that_are_compared_differ(ran: dict[str, dict]) -> None:
    widths = {name: ran[name]["target"]["register_bytes"] for name in ("x86-64-v2", "x86-64-v3", "x86-64-v4")}
    assert widths == {"x86-64-v2": 16, "x86-64-v3": 32, "x86-64-v4": 64}


@needs("x86-64-v2")
def test_a_target_without_fma_is_of_another_family_for_it_rounds_twice(ran: dict[str, dict]) -> None:
    assert ran["x86-64-v2"]["target"]["family"] == "no fma"
    assert ran["x86-64-v2"]["hashes"] != ran["x86-64-v3"]["hashes"]


@needs("x86-64-v2")
def test_a_target_without_fma_agrees_with_numpy(baked: Path) -> None:
    """The tests of each kernel against its oracle, once more."""
    others = [path.name for path in sorted(HERE.glob("test_*.py")) if path != Path(__file__)]
    chosen = ["-p", "no:cacheprovider", "-k", "agree or accurate or finds or columns"]
    python("-m", "pytest", "-q", "-x", *chosen, *others, **compiled_for("x86-64-v2"), NUMBA_CACHE_DIR=str(baked))


def test_every_kernel_compiles_for_aarch64_to_fused_vector_instructions(runs: dict[str, Future]) -> None:
    made = json.loads(runs["aarch64"].result())
    assert set(made) == exercise.existing()
    for kernel, found in made.items():
        assert found["fused"] >= found["asked"], (kernel, found)
        assert set(found["calls"]) <= MAY_CALL, (kernel, found)
    assert sum(found["asked"] > 0 for found in made.values()) > len(made) / 2


def test_the_target_is_what_is_compiled_for() -> None:
    code = "from biglambda.kernels import target; print(repr(target()))"
    own = python("-c", code).strip()
    assert own == repr(target()) or "NUMBA_CPU_NAME" in os.environ
    for name, size, fma in (("x86-64-v2", 16, False), ("x86-64-v3", 32, True), ("haswell", 32, True)):
        if target().architecture == "x86_64":
            said = python("-c", code, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="").strip()
            assert said == repr(Target(name, "x86_64", size, fma))


@needs("x86-64-v3")
def test_a_feature_that_is_switched_off_shows_in_the_target() -> None:
    """What counts is the instructions, not the name of the CPU."""
    code = "from biglambda.kernels import target; print(target().family)"
    assert python("-c", code, NUMBA_CPU_NAME="x86-64-v3", NUMBA_CPU_FEATURES="-fma").strip() == "no fma"
