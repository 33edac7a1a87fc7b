"""Labels that workers write to a store themselves: those that would come back, in parts, all or none."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lithops
import numpy as np
import pytest

from benchmarks.s3_server import BUCKET, OWNER, STRANGER, S3Server
from biglambda import DataError, KMeansResult, RunError, fit_kmeans, fit_logistic_regression, load_labels
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.chaos import Executor, Plan, fork
from biglambda.runtime.data import MissingError, S3Objects, StoredArray, describe, store_for
from biglambda.runtime.data.joined import Joined
from biglambda.runtime.engine import RunOptions, outputs
from biglambda.runtime.engine import run as run_engine
from biglambda.runtime.events import Event, IterationDone, RunEnded, WorkerLost

X = np.random.default_rng(0).standard_normal((5_000, 4))
FIT: dict[str, Any] = {"init": X[:5], "max_iter": 5, "tol": 0.0}
LABELS = fit_kmeans(X, 5, **FIT).labels


@pytest.fixture(params=["here", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "here":
        return str(tmp_path)
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def files(place: str, request: pytest.FixtureRequest) -> Callable[[], list[str]]:
    """The names of what is at the place."""

    def listed() -> list[str]:
        if not place.startswith("s3:"):
            return sorted(str(path.relative_to(place)) for path in Path(place).rglob("*") if path.is_file())
        prefix = place.removeprefix(f"s3://{BUCKET}/") + "/"
        found = request.getfixturevalue("s3").client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"].removeprefix(prefix) for item in found.get("Contents", ())]

    return listed


@pytest.fixture
def functions() -> Iterator[Executor]:
    """Functions in processes of their own, forked: they have what a test changes."""
    with Executor(Plan(kills=0, twice=0)) as executor:
        yield executor


def store(place: str, **options: Any) -> KMeansResult:
    return fit_kmeans(X, 5, labels="store", labels_to=place, **FIT, **options)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_stored_labels_are_those_that_come_back(
    place: str, workers: int, functions: Any, redis_url: str, files: Callable[[], list[str]]
) -> None:
    """With 7 workers two have no rows: there are 5 chunks."""
    result = store(f"{place}/", workers=workers, executor=functions, redis=redis_url, inner_workers=1)
    assert isinstance(result.labels, StoredArray)
    assert np.asarray(result.labels).tobytes() == LABELS.tobytes()
    run = os.path.basename(os.path.dirname(result.labels.name))
    written = [f"{run}/labels-{number:05d}.npy" for number in range(workers)]
    assert files() == [*written, f"{run}/labels.json"]
    for name in (result.labels.name, f"{place}/{run}", f"{place}/{run}/"):
        assert load_labels(name)[1_000:4_000:7].tobytes() == LABELS[1_000:4_000:7].tobytes()
    if not place.startswith("s3:"):
        names = [Path(place, name) for name in written]
        assert np.concatenate([np.load(name) for name in names]).tobytes() == LABELS.tobytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_runs_in_this_process_and_on_lithops_store_as_well(place: str, workers: int, redis_url: str) -> None:
    result = store(place, workers=workers, redis=redis_url)
    assert np.asarray(result.labels).tobytes() == LABELS.tobytes()
    assert result.trace is not None
    assert [one.parts for one in result.trace.workers] == [{}] * workers


def test_credentials_of_lithops_reach_the_place(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    config = {
        "lithops": {"mode": "localhost", "backend": "localhost", "storage": "localhost", "data_cleaner": False},
        "localhost": {"version": 1, "runtime": sys.executable, "worker_processes": 2},
        "aws_s3": {"endpoint": s3.endpoint, "region": "us-east-1", **OWNER},
    }
    with lithops.FunctionExecutor(config=config, log_level=None) as executor:
        result = store(f"s3://{BUCKET}/given", workers=2, executor=executor)
        assert np.asarray(result.labels).tobytes() == LABELS.tobytes()
        assert OWNER["secret_access_key"] not in repr(result.labels)
        saved = result.save(f"s3://{BUCKET}/given/model", config=executor.config)
        again = KMeansResult.load(saved, config=executor.config)
        assert np.asarray(again.labels).tobytes() == LABELS.tobytes()
    with pytest.raises(DataError, match=r"no usable credentials|region"):
        KMeansResult.load(saved)


# What can go wrong


def test_a_worker_that_is_killed_while_it_writes_is_replaced_and_changes_no_label(
    place: str, functions: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch, files: Callable[[], list[str]]
) -> None:
    """Killed before its file takes its name, or while it sends it to S3."""
    client, left, lost = os.getpid(), fork.Value("i", 2), []
    fsync, readinto = os.fsync, Joined.readinto

    def die() -> None:
        if os.getpid() != client:
            with left.get_lock():
                left.value -= 1
                dies = left.value >= 0
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)

    def dying_fsync(descriptor: int) -> None:
        die()
        fsync(descriptor)

    def dying_readinto(body: Any, buffer: Any) -> int:
        body.passes = getattr(body, "passes", 0) + (body.tell() == 0)
        if body.passes > 1 and body.tell() > 0:  # it was read to be signed, and its first bytes are on their way
            die()
        return readinto(body, buffer)

    def note(event: Event) -> None:
        if isinstance(event, WorkerLost):
            lost.append(event.replaced)

    monkeypatch.setattr(os, "fsync", dying_fsync)
    monkeypatch.setattr(Joined, "readinto", dying_readinto)
    result = store(place, workers=3, executor=functions, redis=redis_url, callbacks=[note])
    assert lost == [True, True]
    assert np.asarray(result.labels).tobytes() == LABELS.tobytes()
    run = result.trace.run
    assert files() == [*(f"{run}/labels-{number:05d}.npy" for number in range(3)), f"{run}/labels.json"]


def test_a_run_that_fails_leaves_no_part(
    place: str, functions: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch, files: Callable[[], list[str]]
) -> None:
    def refuse(of: Any, name: str, *rest: Any) -> Any:
        raise DataError(f"{name} cannot be written: no room")

    def fail(event: Event) -> None:
        ended.append(event)
        if isinstance(event, IterationDone) and event.iteration > 2:
            raise KeyboardInterrupt

    def refuse_one(of: Any, name: str, *rest: Any) -> Any:
        return (refuse if "00001" in name else write_part)(of, name, *rest)

    write_part = outputs.write_part
    ended: list[Event] = []
    run = {"executor": functions, "redis": redis_url, "inner_workers": 1}
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_part", refuse_one)
        with pytest.raises(RunError, match=r"worker 1 was lost: 2 times.*no room"):
            store(place, workers=3, retries=1, **run)
    assert files() == []
    for workers in (1, 2):
        options = {} if workers == 1 else run
        with pytest.raises(KeyboardInterrupt):
            store(place, workers=workers, callbacks=[fail], **options)
        assert files() == []
        with monkeypatch.context() as patch:
            patch.setattr(outputs, "write_manifest", refuse)
            with pytest.raises(DataError, match=r"labels.json cannot be written"):
                store(place, workers=workers, callbacks=[ended.append], **options)
        assert files() == []
        assert isinstance(ended[-1], RunEnded)
        assert "labels.json cannot be written" in str(ended[-1].error)
    if not place.startswith("s3:"):
        assert list(Path(place).iterdir()) == []


def test_parts_that_cannot_be_removed_are_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any) -> Any:
        raise DataError("denied")

    monkeypatch.setattr(S3Objects, "delete_folder", refuse)
    monkeypatch.setattr(outputs, "write_manifest", refuse)
    place = f"s3://{BUCKET}/{tmp_path.name}"
    with (
        pytest.warns(UserWarning, match=f"parts may be left in {place}/kmeans-[0-9a-f]+: denied"),
        pytest.raises(DataError),
    ):
        store(place)


class Elsewhere:
    """What a run looks at before it launches anything."""

    backend = "aws_lambda"
    config: dict[str, Any] = {"aws_lambda": {}}  # noqa: RUF012 - as Lithops has it

    def map(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing may be launched")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_launched(
    s3: S3Server, workers: int, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []

    def refused(place: Any, words: str, error: type[Exception] = DataError, **options: Any) -> None:
        with pytest.raises(error, match=words):
            store(place, workers=workers, callbacks=[events.append], redis=redis_url, **options)
        assert events == []

    refused(tmp_path / "absent", "labels_to=.*/absent': there is no such directory", ValueError)
    refused("s3://", "labels_to='s3://': no bucket is named; allowed is s3://bucket/prefix", ValueError)
    refused(5, "labels_to is a int: allowed are a directory and s3://bucket/prefix", TypeError)
    refused("ftp://host/x", "allowed are paths on this machine and s3://")
    refused("/proc", r"/proc/kmeans-.* cannot be written")
    refused("s3://absent/labels", "s3://absent/labels/kmeans-.*: there is no such bucket")
    refused(str(tmp_path), "functions elsewhere do not see: allowed is s3://", executor=Elsewhere())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", STRANGER["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STRANGER["secret_access_key"])
    refused(f"s3://{BUCKET}/labels", "access is denied.* s3:PutObject")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        (True, None),
        (False, None),
        ("yes", None),
        (1, None),
        ("store", None),
        ("return", "."),
        (None, "."),
        (X, None),
    ],
)
def test_other_words_are_refused(labels: Any, place: str | None) -> None:
    with pytest.raises(ValueError, match="allowed are 'return', 'store' together with labels_to, and None"):
        fit_kmeans(X, 5, labels=labels, labels_to=place)


def test_a_folder_without_labels_is_refused(place: str) -> None:
    with pytest.raises(DataError, match=f"there are no labels: {place}/run/labels.json.*PLACE/RUN"):
        load_labels(f"{place}/run")


def test_a_run_that_goes_on_stores_all_labels(place: str, files: Callable[[], list[str]], tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()

    def stop(event: Event) -> None:
        if isinstance(event, IterationDone) and event.iteration == 3:
            raise KeyboardInterrupt

    source = describe(X)
    options = RunOptions(checkpoint=str(checkpoints), checkpoint_interval=1e-9, outputs_to=place, callbacks=[stop])
    with pytest.raises(KeyboardInterrupt):
        run_engine(source, kmeans_algorithm(source, 5, X[:5], 1, 5, 0.0, 0), ("labels",), options)
    (kept,) = checkpoints.iterdir()
    result = store(place, checkpoint=checkpoints, resume=kept.stem)
    assert np.asarray(result.labels).tobytes() == LABELS.tobytes()


# Models


@pytest.mark.parametrize("suffix", ["", ".npz"])
def test_a_model_on_s3_comes_back(s3: S3Server, suffix: str) -> None:
    result = fit_kmeans(X, 5, **FIT)
    logistic = fit_logistic_regression(X, X[:, 0] > 0, max_iter=3)
    for model in (result, logistic):
        name = f"s3://{BUCKET}/models/{type(model).__name__}{suffix}"
        assert model.save(name) == f"s3://{BUCKET}/models/{type(model).__name__}.npz"
        again = type(model).load(name)
        assert repr(again) == repr(model)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert KMeansResult.load(f"s3://{BUCKET}/models/KMeansResult").labels.tobytes() == LABELS.tobytes()
    with pytest.raises(DataError, match=r"KMeansResult.npz holds a KMeansResult: load it with KMeansResult.load"):
        type(logistic).load(f"s3://{BUCKET}/models/KMeansResult.npz")


def test_what_is_no_model_on_s3_is_named(s3: S3Server) -> None:
    result = fit_kmeans(X, 5, **FIT)
    for name in (f"s3://{BUCKET}", f"s3://{BUCKET}/", f"s3://{BUCKET}/models/", "s3://"):
        with pytest.raises(DataError, match=f"'{name}' names no object; allowed is s3://bucket/key.npz"):
            result.save(name)
    with pytest.raises(DataError, match=r"^s3://absent/x.npz: there is no such bucket"):
        result.save("s3://absent/x")
    for name in ("absent", "absent.npz"):
        with pytest.raises(MissingError, match=r"^s3://data/absent.npz: there is no such object"):
            KMeansResult.load(f"s3://{BUCKET}/{name}")
    with pytest.raises(DataError, match=r"^s3://data/bad.npz holds no saved KMeansResult"):
        KMeansResult.load(s3.put("bad.npz", b"nonsense"))
    evil = io.BytesIO()
    np.savez(evil, about=np.array(object()), allow_pickle=True)
    with pytest.raises(DataError, match=r"evil.npz holds no saved KMeansResult: Object arrays cannot be loaded"):
        KMeansResult.load(s3.put("evil.npz", evil.getvalue()))


def test_a_model_keeps_the_name_of_stored_labels_and_opens_them_when_they_are_used(
    place: str, tmp_path: Path
) -> None:
    result = store(place)
    saved = result.save(f"{place}/model" if place.startswith("s3:") else tmp_path / "model")
    again = KMeansResult.load(saved)
    assert isinstance(again.labels, StoredArray)
    assert again.labels.name == result.labels.name
    assert np.asarray(again.labels).tobytes() == LABELS.tobytes()
    store_for(place).delete_folder(result.labels.name.rpartition("/")[0])
    again = KMeansResult.load(saved)
    np.testing.assert_array_equal(again.predict(X), LABELS)
    with pytest.raises(MissingError, match=f"{again.labels.name}"):
        len(again.labels)


@pytest.mark.parametrize(
    "told", [{"stored": 5}, {"stored": "/etc/passwd"}, {"stored": "a.json", "b": 1}, {}, {"a": 1}]
)
def test_a_model_whose_labels_are_no_manifest_is_refused(tmp_path: Path, told: dict[str, Any]) -> None:
    about = {"model": "KMeansResult", "inertia": 1.0, "n_iter": 1, "converged": True, "labels": told}
    np.savez(tmp_path / "m.npz", about=np.array(json.dumps(about)), centers=X[:2], history=X[0])
    with pytest.raises(DataError, match=r"m.npz holds no saved KMeansResult"):
        KMeansResult.load(tmp_path / "m.npz")
