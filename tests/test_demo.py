"""The demo: real flights, both libraries, one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biglambda import demo


def test_flights_are_read_and_rows_with_missing_values_are_counted() -> None:
    flights = demo.load_flights()
    assert len(flights.values["distance"]) + flights.dropped == 336_776
    assert flights.dropped == 9_430
    x = flights.standardised(demo.CLUSTERED)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-9)


def test_the_demo_agrees_with_scikit_learn_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "336,776 flights, 9,430 with missing values dropped" in printed
    assert "agree" in printed
    for word in ("launch", "load", "compute", "push", "wait", "inertia", "iterations", "accuracy"):
        assert word in printed
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
