"""Workers tell what they compute on, and a run that mixes what rounds differently says so."""

from __future__ import annotations

import pickle
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import run_workers
from other_target import work_on

from biglambda import fit_kmeans, fit_logistic_regression, kernels
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.data import describe
from biglambda.runtime.engine.functions import Functions
from biglambda.runtime.events import Event, TargetsMixed
from biglambda.runtime.target import MixedTargetsWarning, Target, grouped, mixture
from biglambda.runtime.trace import Trace

V2, V3 = Target("x86-64-v2", "no fma"), Target("x86-64-v3", "fma")
OWN = Target(kernels.target().name, kernels.target().family)
on_x86_with_fma = pytest.mark.skipif(
    platform.machine() != "x86_64" or not kernels.target().fma, reason="needs an x86 CPU with FMA"
)


def launch_on(monkeypatch: pytest.MonkeyPatch, *cpus: str | None) -> None:
    """Have the next run's workers compile for these CPUs."""

    def launch(functions: Functions, jobs: list[Any]) -> tuple[Any, list[Any]]:
        told = [(cpu, pickle.dumps(job)) for cpu, job in zip(cpus, jobs, strict=True)]
        return functions.executor, functions.executor.map(work_on, told, include_modules=None)

    monkeypatch.setattr(Functions, "launch", launch)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@on_x86_with_fma
def test_a_run_that_mixes_fma_with_no_fma_warns_and_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((6_000, 5))
    events: list[Event] = []
    launch_on(monkeypatch, "x86-64-v3", "x86-64-v2", "x86-64-v3")
    which = r"x86-64-v3 \(fma\): workers 0, 2; x86-64-v2 \(no fma\): worker 1"
    with pytest.warns(MixedTargetsWarning, match=which):
        result = fit_kmeans(x, 4, init=x[:4], max_iter=5, workers=3, callbacks=[events.append])
    (said,) = [event for event in events if isinstance(event, TargetsMixed)]
    assert result.trace.targets == said.targets == {V3: (0, 2), V2: (1,)}
    assert "another run may differ" in said.message
    assert "x86-64-v3 and x86-64-v2" in repr(result.trace)
    alone = fit_kmeans(x, 4, init=x[:4], max_iter=5)
    np.testing.assert_allclose(result.centers, alone.centers, rtol=1e-12)


@on_x86_with_fma
def test_workers_with_fma_on_different_cpus_give_the_bits_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((6_000, 9)).astype(np.float32)
    y = (x[:, 0] > 0.3).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MixedTargetsWarning)
        launch_on(monkeypatch, "x86-64-v3", None)
        events: list[Event] = []
        means = fit_kmeans(x, 4, init=x[:4], workers=2, callbacks=[events.append])
        fit = fit_logistic_regression(x, y, max_iter=20, workers=2)
    assert not [event for event in events if isinstance(event, TargetsMixed)]
    assert means.trace.targets == fit.trace.targets == {V3: (0,), OWN: (1,)}
    alone = fit_kmeans(x, 4, init=x[:4])
    assert means.centers.tobytes() == alone.centers.tobytes()
    assert means.inertia == alone.inertia
    fit_alone = fit_logistic_regression(x, y, max_iter=20)
    assert fit.weights.tobytes() == fit_alone.weights.tobytes()
    assert fit.loss == fit_alone.loss


def test_a_run_in_this_process_tells_its_target_too() -> None:
    result = fit_kmeans(np.eye(4), 2, seed=1)
    assert result.trace.targets == {OWN: (0,)}
    assert f"1 workers on {OWN.name}" in repr(result.trace)


def test_workers_tell_their_target_when_they_join(redis_url: str) -> None:
    x = np.random.default_rng(0).standard_normal((5_000, 3))
    source = describe(x)
    _, _, reports = run_workers(source, kmeans_algorithm(source, 2, x[:2], 1, 3, 0.0, 0), 2, redis_url)
    assert [report.info.target for report in reports] == [OWN, OWN]


def test_the_client_sees_the_targets_of_all_attempts_that_joined(redis_url: str) -> None:
    control = RunControl(redis_url, "targets", 3)
    control.create({})
    assert control.targets() == {}

    def join(worker: int, target: Target | None) -> None:
        channel = RedisChannel(redis_url, "targets", worker, 3, trace=Trace(), target=target)
        channel.join()
        channel.join()  # a repeated command
        channel.close()

    join(2, V3)
    join(0, None)
    assert control.targets() == {V3: (2,)}
    join(1, V3)
    join(1, V2)  # replaces the worker before, whose partials may count already
    assert control.targets() == {V3: (1, 2), V2: (1,)}
    control.close()


def test_only_targets_of_different_families_are_worth_a_word() -> None:
    assert mixture({}) is None
    assert mixture({V3: (0,), Target("neoverse-n1", "fma"): (1, 2)}) is None
    said = mixture(grouped((V2 if worker == 12 else V3, worker) for worker in range(20)))
    assert said is not None
    assert "(fma): workers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 9 more; x86-64-v2 (no fma): worker 12." in said


@pytest.mark.parametrize("target", [V2, V3, Target("a/b", "fma"), Target("", "")])
def test_a_target_survives_the_way_through_redis(target: Target) -> None:
    assert Target.unpack(target.pack()) == target
