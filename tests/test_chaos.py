"""Workers that die at any moment change no bit; ``biglambda chaos`` runs longer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from biglambda.chaos import Plan, run


@pytest.mark.parametrize(("algorithm", "climb"), [("kmeans", False), ("logreg", False), ("kmeans", True)])
def test_killed_doubled_and_cut_off_workers_change_no_bit(algorithm: str, climb: bool) -> None:
    plan = Plan(workers=7, iterations=15, kills=15, twice=3, cuts=0.03, seed=1, climb=climb)
    report = run(algorithm, plan)
    assert report.same
    assert report.kills.total() == 15
    assert report.attempts == report.planned
    assert report.eternal == []
    assert report.cuts > 0
    assert report.lost >= 15 - 3  # of a function that was started twice one may die without a loss
    assert any(point.startswith("after put" if climb else "after push") for point in report.kills)
    assert any(point.endswith("finish") for point in report.kills)


def test_the_command_says_what_happened() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "biglambda", "chaos", "--kills", "2", "--workers", "2", "--iterations", "3"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kmeans, logreg = done.stdout.splitlines()
    assert kmeans.startswith("kmeans, seed 0: same bits, ")
    assert logreg.startswith("logreg, seed 0: same bits, ")


@pytest.mark.parametrize(
    ("wrong", "message"), [({"workers": 0}, "workers=0"), ({"kills": -1}, "kills=-1"), ({"cuts": 0.7}, "cuts=0.7")]
)
def test_a_wrong_plan_is_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**wrong)
