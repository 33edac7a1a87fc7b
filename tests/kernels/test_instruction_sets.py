import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import hashlib, sys
sys.path.insert(0, {here!r})
import numpy as np
import cases
from test_memory import run
from biglambda.kernels import simd
digest = hashlib.sha256()
for dtype in cases.DTYPES:
    for m, d in ((3000, 2), (2500, 16), (1500, 100)):
        for result in run(cases.gaussian(1, m, d, dtype), np.arange(m).astype(dtype) % 2):
            digest.update(result.tobytes())
print(simd.BLOCK_LINES, digest.hexdigest())
"""


def output(**cpu):
    code = CODE.format(here=str(Path(__file__).parent))
    env = {**os.environ, **cpu}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def cpu_flags():
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())


@pytest.mark.skipif(not {"avx512vl", "fma"} <= cpu_flags(), reason="needs a CPU with AVX-512")
def test_avx2_and_avx512_give_the_same_bits():
    narrow = output(NUMBA_CPU_NAME="x86-64-v3", NUMBA_CPU_FEATURES="")
    wide = output(NUMBA_CPU_NAME="x86-64-v4", NUMBA_CPU_FEATURES="-prefer-256-bit")
    assert narrow[0] == "1"
    assert wide[0] == "4"
    assert narrow[1] == wide[1]
