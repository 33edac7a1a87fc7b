"""What happens in a run, kept in a file or a log."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from biglambda import DataError, EventLog, JsonLines, fit_kmeans
from biglambda.runtime import events
from biglambda.runtime.target import Target

X = np.random.default_rng(0).standard_normal((3_000, 3))


def test_a_history_has_a_line_for_every_event_that_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    read: list[dict] = []

    def look(event: events.Event) -> None:
        read.append(json.loads(path.read_text().splitlines()[-1]))

    result = fit_kmeans(X, 3, seed=0, callbacks=[JsonLines(path), look])
    assert [line["event"] for line in read[:2]] == ["RunStarted", "WorkersJoined"]
    assert read[0]["total_iterations"] > 300
    assert read[-1] == {"time": read[-1]["time"], "event": "RunEnded", "run": read[0]["run"], "error": None}
    steps = [line for line in read if line["event"] == "IterationDone"]
    assert [line["iteration"] for line in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["metrics"]["inertia"] == result.inertia
    with pytest.raises(DataError):
        fit_kmeans(np.array([[1.0], [np.nan]]), 1, callbacks=[JsonLines(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert "NaN" in lines[-1]["error"] or "nan" in lines[-1]["error"]
    assert len(lines) > len(read)


def test_what_json_has_no_word_for_is_written_all_the_same(tmp_path: Path) -> None:
    write = JsonLines(tmp_path / "lines")
    write(events.IterationDone(1, {"shift": float("inf"), "pass": "lloyd"}))
    write(events.TargetsMixed({Target("x86-64-v3", "fma"): (0, 2)}, "differ"))
    first, second = map(json.loads, (tmp_path / "lines").read_text().splitlines())
    assert first["metrics"] == {"shift": None, "pass": "lloyd"}
    assert second["targets"] == {"x86-64-v3": [0, 2]}


def test_a_full_disk_ends_the_history_and_not_the_run() -> None:
    with pytest.warns(UserWarning, match=r"/dev/full: No space left on device; the history ends here"):
        result = fit_kmeans(X, 3, seed=0, callbacks=[JsonLines("/dev/full")])
    assert result.n_iter > 1


def test_a_history_that_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        JsonLines(tmp_path / "no" / "history")


def test_a_log_warns_of_losses_and_tells_why_a_run_failed(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    with caplog.at_level(logging.DEBUG, "biglambda"):
        fit_kmeans(X, 3, seed=0, callbacks=[log])
        log(events.WorkerLost(3, 1, "killed", replaced=True))
        log(events.RunEnded("kmeans-1", "RunError: lost"))
    levels = [record.levelname for record in caplog.records]
    assert {"INFO", "DEBUG"} <= set(levels[:-2])
    assert levels[-2:] == ["WARNING", "ERROR"]
    assert "worker=3" in caplog.text
    assert "RunError: lost" in caplog.text
