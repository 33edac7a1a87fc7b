"""A function's start with kernels from the image's cache, and without: ``python -m benchmarks.cold_start``.

Whole processes, as a function starts: Python, NumPy, Numba, and all kernels for this CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import interleaved, median_ratio, table
from biglambda.kernels.bake import bake, environment, own_targets
from biglambda.kernels.cache import COMPILE_VARIABLE, NEVER

BAKED, COMPILED, NUMBA = "kernels from the baked cache", "kernels compiled", "Numba's import alone"
LIMIT = 600.0


def start(code: str, *arguments: str, **variables: str) -> None:
    """A new Python process that runs some code."""
    command = [sys.executable, "-c", code, *arguments]
    subprocess.run(command, env={**os.environ, **variables}, check=True, timeout=LIMIT)


def measure(target: str, kernels: Sequence[str] = (), rounds: int = 5) -> dict[str, list[float]]:
    """Seconds of each way to start in each round, with some kernels or all."""
    warm = "import sys; from biglambda.kernels import warm; warm(*sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        baked = Path(folder) / "baked"
        bake(baked, [target])

        def compiled() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as empty:
                # No kernel may be found elsewhere.
                start(warm, *kernels, **environment(target), NUMBA_CACHE_DIR=empty, TMPDIR=empty)

        found = {"NUMBA_CACHE_DIR": str(baked), COMPILE_VARIABLE: NEVER}
        return interleaved(
            {
                BAKED: lambda: start(warm, *kernels, **environment(target), **found),
                COMPILED: compiled,
                NUMBA: lambda: start("import numba"),
            },
            rounds,
        )


def main() -> None:
    """Print times and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=own_targets(), default=own_targets()[-1])
    parser.add_argument("--kernels", nargs="*", default=[], metavar="NAME", help="(default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = measure(options.target, options.kernels, options.rounds)
    if options.json:
        print(json.dumps(seconds))
        return
    print(table(seconds, "s"))
    print(f"with the cache it takes {1 / median_ratio(seconds, BAKED, COMPILED):.1%} of the time to compile")


if __name__ == "__main__":
    main()
