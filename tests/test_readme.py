"""The README's examples run, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_there_are_three_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for part in range(3):
        rows = generator.standard_normal((2_000, 4))
        late = (rows[:, :1] > 0).astype(float)
        header = "a,b,c,late"
        table = np.hstack([rows[:, :3], late])
        np.savetxt(tmp_path / f"part-{part}.csv", table, delimiter=",", header=header, comments="")
    (tmp_path / "example.py").write_text(example)
    # A user's shell has no Lithops session that this process's executors belong to.
    inherited = ("BIGLAMBDA_REDIS_URL", "__LITHOPS_SESSION_ID", "__LITHOPS_TOTAL_EXECUTORS")
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
