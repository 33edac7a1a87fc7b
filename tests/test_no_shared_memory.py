"""Inner workers where there is no /dev/shm, as on AWS Lambda."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A /dev of its own with four devices and nothing else, for one process tree.
WITHOUT_SHM = """
set -e
mount -t tmpfs tmpfs "$1"
for name in null zero random urandom; do touch "$1/$name"; mount --bind "/dev/$name" "$1/$name"; done
mount --rbind "$1" /dev
exec "$2" -c "$3"
"""

CODE = """
import multiprocessing
import numpy
from biglambda import fit_kmeans
try:
    multiprocessing.get_context("fork").Lock()
except OSError:
    print("no locks")
x = numpy.random.default_rng(0).standard_normal((5_000, 3))
threads, processes = (fit_kmeans(x, 4, seed=1, inner=kind, inner_workers=2) for kind in ("threads", "processes"))
print(threads.centers.tobytes() == processes.centers.tobytes())
"""


def without_shm(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--mount", "sh", "-c", WITHOUT_SHM, "sh", str(folder), sys.executable, code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_threads_and_processes_work_without_dev_shm(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    trial = without_shm(tmp_path / "dev", "print('made')")
    if trial.stdout != "made\n":
        pytest.skip(f"this machine lets us make no mount namespace: {trial.stderr.strip()}")
    done = without_shm(tmp_path / "dev", CODE)
    assert done.stdout.splitlines() == ["no locks", "True"], done.stderr
