"""Runs whose client or Redis died go on where they were, and end with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.s3_server import S3Server
from biglambda import DataError, RunError, fit_kmeans, fit_logistic_regression
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.data import describe
from biglambda.runtime.data.store import LocalFiles
from biglambda.runtime.engine import RunOptions, run
from biglambda.runtime.engine.checkpoint import SUFFIX
from biglambda.runtime.events import Event, IterationDone

X = np.random.default_rng(0).standard_normal((20_000, 6))
OPTIONS = {"init": X[:40], "max_iter": 60, "tol": 0.0}


class Stop(Exception):
    pass


def interrupted(place: Path | str, workers: int, redis: str | None, at: int = 9) -> None:
    """A run that fails in the middle, and leaves a checkpoint."""

    def stop(event: Event) -> None:
        if isinstance(event, IterationDone) and event.iteration >= at:
            raise Stop

    source = describe(X)
    algorithm = kmeans_algorithm(source, 40, X[:40], 1, 60, 0.0, 0)
    with pytest.raises(Stop):
        run(
            source, algorithm, ("labels",),
            RunOptions(
                workers, inner_workers=1, redis=redis, checkpoint=place, checkpoint_interval=1e-9,
                callbacks=[stop],
            ),
        )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_goes_on_from_its_checkpoint_with_as_many_workers_as_one_likes(
    workers: int, tmp_path: Path, redis_url: str
) -> None:
    interrupted(tmp_path, workers, redis_url)
    (kept,) = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    done: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, IterationDone):
            done.append(event.iteration)

    result = fit_kmeans(
        X, 40, workers=3 - workers, redis=redis_url, checkpoint=tmp_path, resume=kept.name.removesuffix(SUFFIX),
        callbacks=[count], **OPTIONS,
    )  # fmt: skip
    alone = fit_kmeans(X, 40, **OPTIONS)
    assert result.centers.tobytes() == alone.centers.tobytes()
    assert result.labels.tobytes() == alone.labels.tobytes()
    assert result.n_iter == alone.n_iter
    if workers == 2:  # then the second part is in this process, and no iteration is missed
        assert len(done) < alone.n_iter


CLIENT = """
import sys
import numpy as np
from biglambda import fit_kmeans
from biglambda.runtime.events import IterationDone, RunStarted
def tell(event):
    if isinstance(event, RunStarted):
        print(event.run, flush=True)
    if isinstance(event, IterationDone) and event.iteration > 5:
        print("iterating", flush=True)
if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((20_000, 6))
    x = np.tile(x, (20, 1))
    fit_kmeans(x, 300, init=x[:300], max_iter=400, tol=0.0, workers=2, redis=sys.argv[1], callbacks=[tell])
"""


def test_a_run_whose_client_was_killed_goes_on_from_redis(redis_url: str) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, redis_url], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert client.stdout is not None
    name = client.stdout.readline().strip()
    assert client.stdout.readline().strip() == "iterating"
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    x = np.tile(X, (20, 1))
    options = {"init": x[:300], "max_iter": 400, "tol": 0.0}
    result = fit_kmeans(x, 300, redis=redis_url, resume=name, **options)
    alone = fit_kmeans(x, 300, **options)
    assert result.centers.tobytes() == alone.centers.tobytes()
    assert result.labels.tobytes() == alone.labels.tobytes()
    client.stdout.close()


def test_checkpoints_may_be_on_s3(s3: S3Server) -> None:
    place = "s3://data/checkpoints/of/tests"

    def kept() -> list[str]:
        found = s3.client.list_objects_v2(Bucket="data", Prefix="checkpoints")
        return [item["Key"] for item in found.get("Contents", ())]

    interrupted(place, 1, None)
    (key,) = kept()
    name = key.removeprefix("checkpoints/of/tests/").removesuffix(SUFFIX)
    result = fit_kmeans(X, 40, checkpoint=f"{place}/", resume=name, **OPTIONS)
    alone = fit_kmeans(X, 40, **OPTIONS)
    assert result.centers.tobytes() == alone.centers.tobytes()
    assert result.n_iter == alone.n_iter
    assert kept() == [key]
    with pytest.raises(DataError, match=r"^s3://absent/.*: there is no such bucket"):
        fit_kmeans(X, 3, checkpoint="s3://absent/checkpoints")
    s3.client.delete_object(Bucket="data", Key=key)


def test_a_result_leaves_no_checkpoint(tmp_path: Path) -> None:
    fit_kmeans(X, 3, max_iter=3, checkpoint=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_place_that_takes_no_checkpoint_is_said_before_the_run_and_warned_of_later(
    workers: int, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    options = {"checkpoint": tmp_path, "workers": workers, "redis": redis_url, "inner_workers": 1}

    def refuse(store: LocalFiles, name: str, data: bytes) -> None:
        raise DataError(f"{name} cannot be written: no room")

    def fill(event: Event) -> None:
        monkeypatch.setattr(LocalFiles, "write", refuse)

    with monkeypatch.context() as full:
        full.setattr(LocalFiles, "write", refuse)
        with pytest.raises(DataError, match="cannot be written: no room"):
            fit_kmeans(X, 3, **options, callbacks=[events.append])
    assert events == []
    source = describe(X)
    algorithm = kmeans_algorithm(source, 3, X[:3], 1, 60, 0.0, 0)
    often = RunOptions(**options, checkpoint_interval=1e-9, callbacks=[fill])
    with pytest.warns(UserWarning, match=r"no checkpoint of iteration \d+: .*no room"):
        assert run(source, algorithm, (), often).state["n_iter"] > 1


def test_what_cannot_go_on_is_named(tmp_path: Path, redis_url: str) -> None:
    with pytest.raises(RunError, match=r"resume='lost': nothing of this run is in the checkpoints or Redis"):
        fit_kmeans(X, 3, checkpoint=tmp_path, redis=redis_url, resume="lost")
    with pytest.raises(ValueError, match="no such directory"):
        fit_kmeans(X, 3, checkpoint=tmp_path / "absent")
    (tmp_path / f"bad{SUFFIX}").write_bytes(b"\xc1 not msgpack")
    with pytest.raises(RunError, match="is no checkpoint"):
        fit_kmeans(X, 3, checkpoint=tmp_path, resume="bad")
    interrupted(tmp_path, 1, None)
    (name,) = (path.stem for path in tmp_path.iterdir() if path.stem != "bad")
    with pytest.raises(RunError, match=r"'features': 6.*and this is one of .*'features': 5"):
        fit_kmeans(X[:, :5], 3, checkpoint=tmp_path, resume=name)
    with pytest.raises(RunError, match="'logistic'"):
        fit_logistic_regression(X, X[:, 0] > 0, checkpoint=tmp_path, resume=name)
