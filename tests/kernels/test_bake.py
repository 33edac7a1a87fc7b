"""Kernels that are compiled ahead of time, as in the runtime image."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from biglambda import kernels
from biglambda.cli import main
from biglambda.kernels.bake import FEATURES, TARGETS, bake, environment, own_targets
from biglambda.kernels.registry import specialisations

DOCKER = Path(__file__).parents[2] / "docker"
NEWEST = own_targets()[-1]


@pytest.fixture
def copied(baked: Path, tmp_path: Path) -> Path:
    """A copy of what was baked, to spoil."""
    return Path(shutil.copytree(baked, tmp_path / "cache", copy_function=os.link))


def test_every_kernel_is_loaded_for_every_target(baked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runtime", "check", "--cache", str(baked)]) == 0
    for name, line in zip(own_targets(), capsys.readouterr().out.splitlines(), strict=True):
        assert line.startswith(f"{name}: {specialisations()} kernels loaded, 0 compiled")


def test_a_kernel_that_is_missing_is_named_and_not_compiled(
    copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kernel = "sparse_logistic-float32"
    for name in (victims := list(copied.rglob(f"{kernel}-*.kernel"))):
        name.unlink()
    assert len(victims) == len(own_targets())
    assert main(["runtime", "check", "--cache", str(copied), "--target", NEWEST]) == 1
    said = capfd.readouterr().err
    assert f"refusing to compile the kernel sparse_logistic-float32 for {NEWEST}" in said
    assert "biglambda runtime bake" in said
    assert not list(copied.rglob("sparse_logistic-float32-*.kernel"))


def test_a_cache_that_is_cut_short_is_as_good_as_none(copied: Path) -> None:
    for entry in copied.rglob("exponential_race-float64-*.kernel"):
        data = entry.read_bytes()
        entry.unlink()
        entry.write_bytes(data[: len(data) // 2])
    (found,) = bake(copied, [NEWEST], compile=False)
    assert "exponential_race-float64" in str(found.missing)


def test_an_edited_kernel_is_not_found_in_what_was_baked_before(baked: Path, tmp_path: Path) -> None:
    package = tmp_path / "biglambda"
    shutil.copytree(Path(kernels.__file__).parent, package / "kernels")
    (package / "__init__.py").touch()

    def check() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "biglambda.kernels.bake"],
            env={
                **os.environ, **environment(NEWEST),
                "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(baked), "BIGLAMBDA_COMPILE": "never",
            },
            capture_output=True, text=True, timeout=60, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f'"loaded": {specialisations()}' in check()  # wherever the same sources are
    with (package / "kernels" / "exact.py").open("a") as source:
        source.write("\n# an edit\n")
    assert "refusing to compile" in check()


def test_info_says_what_this_process_has(baked: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from biglambda.cli import main; main(['runtime', 'info'])"],
        env={**os.environ, **environment(NEWEST), "NUMBA_CACHE_DIR": str(baked)},
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert f"kernels for {NEWEST}: {specialisations()} loaded, 0 compiled" in done.stdout
    assert f"all {specialisations()} kernels are there" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--target", "x86-64-v9"], ["--target", "cray"]], ids=["newer than all", "another machine"]
)
def test_a_target_that_is_none_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runtime", "bake", "--cache", "nowhere", *arguments]) == 1
    assert f"allowed on this machine are {', '.join(own_targets())}" in capsys.readouterr().err
    assert not Path("nowhere").exists()


def test_the_entry_script_names_the_targets_that_are_baked() -> None:
    script = (DOCKER / "entry.sh").read_text()
    assert set(re.findall(r"x86-64-v[2-4]\b", script)) == set(TARGETS["x86_64"])
    assert all(name in script for name in TARGETS["aarch64"])
    for name, features in FEATURES.items():
        assert f'if [ "$wanted" = {name} ]; then NUMBA_CPU_FEATURES={features}; fi' in script
