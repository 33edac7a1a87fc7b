"""Data sets made by real functions, here and on a real S3 server: the same bytes whoever writes them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_lithops import MARK, functions, localhost, marked, parent_of, wait_until

from benchmarks.s3_server import BUCKET, STRANGER, S3Server
from biglambda import DataError, RunError, fit_kmeans, fit_logistic_regression, make_data
from biglambda.runtime.events import Event, PartsWritten, RunEnded, WorkerLeft, WorkerLost
from biglambda.synthetic import formats
from biglambda.synthetic.kinds import Blobs
from biglambda.synthetic.place import Place
from biglambda.synthetic.plan import Job, Plan, write_parts

FORMATS = ("npy", "csv", "parquet")
SMALL: dict[str, Any] = {"n_rows": 5_000, "n_features": 3, "part_rows": 1_024}
MANY: dict[str, Any] = {"n_rows": 60 * 1_024, "n_features": 40, "part_rows": 1_024, "format": "csv"}


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def hashes_on_s3(s3: S3Server, prefix: str) -> dict[str, str]:
    found = s3.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    keys = sorted(item["Key"] for item in found)
    bodies = [s3.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys]
    names = [key.removeprefix(prefix) for key in keys]
    return {name: hashlib.sha256(body).hexdigest() for name, body in zip(names, bodies, strict=True)}


# The same bytes


@pytest.mark.parametrize("format", FORMATS)
def test_all_workers_and_threads_write_the_same_bytes_here_and_on_s3(
    format: str, tmp_path: Path, s3: S3Server
) -> None:
    def made(place: str, **options: Any) -> dict[str, str]:
        on_s3 = place.startswith("s3")
        make_data("logistic", place if on_s3 else tmp_path / place, format=format, **SMALL, **options)
        return hashes_on_s3(s3, f"{place.removeprefix(f's3://{BUCKET}/')}/") if on_s3 else hashes(tmp_path / place)

    alone = made("alone", inner_workers=1)
    assert list(alone) == [*(f"part-{part:05d}.{format}" for part in range(5)), "truth.npz"]
    assert len(set(alone.values())) == 6
    assert made("threads", inner_workers=7) == alone
    assert made(f"s3://{BUCKET}/made/{format}") == alone
    assert made("functions", workers=2, inner_workers=2) == alone
    assert made(f"s3://{BUCKET}/made/by-functions/{format}", workers=3, inner_workers=1) == alone


def test_a_remote_backend_writes_to_s3_and_a_local_place_is_refused(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with localhost(2) as executor:
        monkeypatch.setattr(executor, "backend", "somewhere")  # real functions, as if on other machines
        with pytest.raises(DataError, match=r"'somewhere' backend do not see .* allowed is s3://bucket/prefix"):
            make_data("blobs", tmp_path / "data", executor=executor, **SMALL)
        assert not (tmp_path / "data").exists()
        make_data("blobs", f"s3://{BUCKET}/made/remote", executor=executor, workers=2, **SMALL)
    make_data("blobs", tmp_path / "data", **SMALL)
    assert hashes_on_s3(s3, "made/remote/") == hashes(tmp_path / "data")


# What fits find


@pytest.mark.parametrize("format", FORMATS)
def test_kmeans_finds_the_true_centers(format: str, tmp_path: Path) -> None:
    made = make_data("blobs", tmp_path, 20_000, 5, format=format, n_clusters=6, seed=5, part_rows=4_096)
    assert (made.n_parts, made.target) == (5, None)
    assert made.size == sum(path.stat().st_size for path in tmp_path.glob("part*"))
    assert made.command == f"biglambda kmeans '{tmp_path}/part-*.{format}' --clusters 6"
    result = fit_kmeans(made.data, 6, n_init=3, seed=1)
    truth = np.load(made.truth_file)["centers"]
    np.testing.assert_array_equal(truth, made.truth["centers"])
    assert len(result.labels) == 20_000
    distances = np.sqrt(((result.centers[:, None] - truth) ** 2).sum(axis=2))
    assert sorted(distances.argmin(axis=0)) == list(range(6))
    assert distances.min(axis=0).max() < 5 * np.sqrt(5 * 6 / 20_000)


@pytest.mark.parametrize("format", FORMATS)
def test_logistic_regression_finds_the_true_weights(format: str, tmp_path: Path) -> None:
    made = make_data("logistic", tmp_path, 30_000, 4, format=format, dtype="float32", seed=2)
    assert made.target == (4 if format == "npy" else "y")
    assert made.command == f"biglambda logreg '{tmp_path}/part-*.{format}' --target {made.target}"
    fit = fit_logistic_regression(made.data, made.target, max_iter=1_000, tol=1e-6)
    truth = np.load(made.truth_file)
    found = np.append(fit.weights, fit.intercept)
    expected = np.append(truth["weights"], truth["intercept"])
    # The information of 30,000 rows bounds the error of a fit: p (1 - p) is 0.13 on average, and less far out.
    assert abs(found - expected).max() < 5 / np.sqrt(30_000 * 0.08)


@pytest.mark.parametrize(
    ("rows", "part_rows", "sizes"),
    [(1, 1_024, [1]), (1_024, 1_024, [1_024]), (2_049, 1_024, [1_024, 1_024, 1]), (700, None, [700])],
)
def test_parts_have_the_rows_that_were_asked_for(
    rows: int, part_rows: int | None, sizes: list[int], tmp_path: Path
) -> None:
    made = make_data("blobs", tmp_path, rows, 2, part_rows=part_rows, n_clusters=1)
    assert [len(np.load(path)) for path in sorted(tmp_path.glob("part-*"))] == sizes
    assert made.n_parts == len(sizes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_part_has_about_100_mb(format: str, dtype: str) -> None:
    for columns in (1, 16, 1_000):
        step = formats.rows_within(formats.PART_BYTES, formats.row_bytes(columns, dtype, format))
        assert step % 1_024 == 0
        size = len(formats.encode(Blobs(0, columns, 8, 1.0), 0, 2_048, dtype, format)) * step / 2_048
        assert 90e6 < size < 110e6


# Losses


@pytest.mark.parametrize("stall_timeout", [60.0, 2.0])
def test_a_killed_worker_is_replaced_and_the_bytes_are_unchanged(
    stall_timeout: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its handler, too, so that Lithops has nothing to report, where others have 2 s to write a part."""
    make_data("blobs", tmp_path / "alone", **MANY)
    mark = f"make-data-{stall_timeout}"
    monkeypatch.setenv(MARK, mark)
    place, events = tmp_path / "killed", []

    def kill() -> bool:
        with contextlib.suppress(OSError, IndexError):  # of processes that end meanwhile
            function = functions(mark)[0]
            victims = [function] if stall_timeout > 10 else [parent_of(function), function]
            assert os.getpid() not in victims
            for process in victims:
                os.kill(process, signal.SIGKILL)
            return True
        return False

    def kill_when_they_write() -> None:
        wait_until(lambda: any(place.glob("part-*.csv")), 30)
        wait_until(kill, 5)

    killer = threading.Thread(target=kill_when_they_write)
    killer.start()
    follow: dict[str, Any] = {"stall_timeout": stall_timeout, "callbacks": [events.append]}
    make_data("blobs", place, workers=2, inner_workers=1, **follow, **MANY)
    killer.join()
    lost = [event for event in events if isinstance(event, WorkerLost)]
    assert lost
    assert ("SIGKILL" if stall_timeout > 10 else "no part was written for 2 s") in lost[0].why
    assert hashes(place) == hashes(tmp_path / "alone")
    wait_until(lambda: not marked(mark), 10)


def test_functions_whose_time_is_up_make_room_for_others(tmp_path: Path) -> None:
    """They have 0.15 s: enough to begin a part, and not for a second one of a million numbers."""
    options: dict[str, Any] = {"n_rows": 50_000, "n_features": 64, "part_rows": 20_480, "format": "csv"}
    events: list[Event] = []
    with localhost(1, execution_timeout=10.15) as executor:
        follow: dict[str, Any] = {"retries": 0, "callbacks": [events.append]}
        make_data("blobs", tmp_path / "made", executor=executor, inner_workers=1, **follow, **options)
    assert [event.attempt for event in events if isinstance(event, WorkerLeft)] == [1, 2]
    make_data("blobs", tmp_path / "alone", **options)
    assert hashes(tmp_path / "made") == hashes(tmp_path / "alone")


def test_too_little_time_for_a_part_is_said(tmp_path: Path) -> None:
    """Of two workers that run one after the other, which is allowed here."""
    with (
        localhost(1, execution_timeout=10) as executor,
        pytest.raises(RunError, match=r"had 10 s, .* longer runtime_timeout"),
    ):
        make_data("blobs", tmp_path, executor=executor, workers=2, **SMALL)


CLIENT = """
import signal, sys
from biglambda import make_data
from biglambda.runtime.events import PartsWritten
def note(event):
    if isinstance(event, PartsWritten) and event.parts:
        print("writing", flush=True)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have been started with it ignored
    make_data("blobs", sys.argv[1], 10_000 * 1_024, 40, part_rows=1_024, format="csv", workers=2, callbacks=[note])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_functions_write_no_more_when_their_client_has_gone(how: signal.Signals, tmp_path: Path) -> None:
    mark, place, scratch = f"make-data-{how.name}", tmp_path / "made", tmp_path / "scratch"
    scratch.mkdir()
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(place)],
        env={**os.environ, MARK: mark, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"writing\n"
    assert len(pythons(mark)) > 1
    client.send_signal(how)
    assert client.wait(20) != 0
    wait_until(lambda: not pythons(mark), 15)
    assert 0 < len(list(place.glob("part-*.csv"))) < 9_000
    assert not (place / "truth.npz").exists()


def pythons(mark: str) -> list[int]:
    """A client and its functions, without the guardian that tidies up after it."""
    found = []
    for process in marked(mark):
        with contextlib.suppress(OSError):  # it has ended
            if "python" in os.readlink(f"/proc/{process}/exe"):
                found.append(process)
    return found


def test_remote_functions_write_no_more_when_their_sign_has_gone(s3: S3Server) -> None:
    place = Place.at(f"s3://{BUCKET}/made/sign")
    plan = Plan(Blobs(0, 3, 4, 1.0), 5_000, "float64", "npy", 1_024, place)
    with place.sign() as sign:
        assert pickle.loads(pickle.dumps(sign)) == sign
        write_parts(Job(plan, [0], 1, sign))
    with pytest.raises(RunError, match="the client has gone"):
        write_parts(Job(plan, [1, 2], 1, sign))
    assert list(hashes_on_s3(s3, "made/sign/")) == ["part-00000.npy"]


# Places


def test_two_data_sets_are_never_mixed(tmp_path: Path) -> None:
    make_data("blobs", tmp_path, **SMALL)
    before = hashes(tmp_path)
    with pytest.raises(DataError, match=r"holds a data set, or a part of one \(part-00000.npy\): .*--overwrite"):
        make_data("blobs", tmp_path, format="csv", **SMALL)
    assert hashes(tmp_path) == before
    (tmp_path / "making-0123456789abcdef").touch()
    (tmp_path / "part-00007.npyabcdefgh.part").touch()  # of a process that was killed
    (tmp_path / "mine.txt").touch()
    make_data("logistic", tmp_path, 2_000, 3, format="csv", overwrite=True)
    assert list(hashes(tmp_path)) == ["mine.txt", "part-00000.csv", "truth.npz"]
    (tmp_path / "part-mine.csv").touch()
    with pytest.raises(DataError, match=r"part-mine.csv would be taken for a part of the data set"):
        make_data("blobs", tmp_path, overwrite=True, **SMALL)


def test_two_data_sets_are_never_mixed_on_s3(s3: S3Server) -> None:
    place = f"s3://{BUCKET}/made/[again]"
    made = make_data("blobs", place, **SMALL)
    with pytest.raises(DataError, match="holds a data set"):
        make_data("blobs", f"{place}/", **SMALL)
    assert len(fit_kmeans(made.data, 2).labels) == 5_000
    make_data("blobs", place, 100, 3, overwrite=True)
    assert list(hashes_on_s3(s3, "made/[again]/")) == ["part-00000.npy", "truth.npz"]


def test_a_set_that_was_not_finished_has_no_truth(tmp_path: Path) -> None:
    events: list[Event] = []

    def stop(event: Event) -> None:
        events.append(event)
        if isinstance(event, PartsWritten) and event.parts == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_data("blobs", tmp_path, inner_workers=1, callbacks=[stop], **SMALL)
    assert not (tmp_path / "truth.npz").exists()
    assert [event.parts for event in events if isinstance(event, PartsWritten)] == [0, 1, 2]
    assert isinstance(events[-1], RunEnded)
    assert (events[-1].error or "").startswith("KeyboardInterrupt")
    with pytest.raises(DataError, match="holds a data set, or a part of one"):
        make_data("blobs", tmp_path, **SMALL)


def test_a_place_that_cannot_be_written_to_is_said_before_anything_is_launched(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="/file/ cannot be made: File exists"):
        make_data("blobs", tmp_path / "file", workers=2, **SMALL)
    with pytest.raises(DataError, match=r"needs about 80,000.00 GB, but only .* GB are free"):
        make_data("blobs", tmp_path / "large", 10**13, 1)
    with pytest.raises(DataError, match="there is no such bucket"):
        make_data("blobs", "s3://none/made", workers=2, **SMALL)
    with pytest.raises(DataError, match="allowed are paths on this machine and s3://"):
        make_data("blobs", "gs://bucket/made", **SMALL)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", STRANGER["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STRANGER["secret_access_key"])
    with pytest.raises(DataError, match="access is denied"):
        make_data("blobs", f"s3://{BUCKET}/made/denied", workers=2, **SMALL)


def test_a_full_disk_is_one_error_and_leaves_no_part_of_a_part(tmp_path: Path) -> None:
    """Files may have 20 kB here, as if the disk had no more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"part-0000\d.npy cannot be written: File too large"):
            make_data("blobs", tmp_path, **SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_a_function_cannot_write_is_said_at_once(tmp_path: Path) -> None:
    events: list[Event] = []

    def remove(event: Event) -> None:
        events.append(event)
        if event == PartsWritten(0, 5, 0):
            (tmp_path / "made").rmdir()

    with pytest.raises(DataError, match=r"made/part-0000\d.npy cannot be written: No such file or directory"):
        make_data("blobs", tmp_path / "made", workers=2, callbacks=[remove], **SMALL)
    assert not any(isinstance(event, WorkerLost) for event in events)


# Parameters


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_rows": 0}, "n_rows=0: allowed are whole numbers from 1"),
        ({"n_rows": 1e6}, "n_rows=1000000.0: allowed are whole numbers"),
        ({"n_rows": True}, "n_rows=True: allowed"),
        ({"n_features": -1}, "n_features=-1: allowed"),
        ({"n_features": 70_000}, "n_features=70000: allowed are whole numbers from 1 to 65,536"),
        ({"format": "xml"}, "format='xml': allowed are 'npy', 'csv', 'parquet'"),
        ({"dtype": "int8"}, "dtype=int8: float32, float64"),
        ({"kind": "moons"}, "kind='moons': allowed are 'blobs', 'logistic'"),
        ({"n_clusters": 5_001}, "n_clusters=5001: allowed are at most as many as rows, 5000"),
        ({"n_clusters": 0}, "n_clusters=0: allowed"),
        ({"kind": "logistic", "n_clusters": 3}, "n_clusters=3: only blobs have it"),
        ({"kind": "logistic", "spread": 3}, "spread=3: only blobs have it"),
        ({"spread": float("nan")}, "spread=nan: allowed are finite numbers from 0"),
        ({"spread": -1}, "spread=-1: allowed are finite numbers from 0"),
        ({"spread": 1e300}, r"spread=1e\+300: allowed are numbers from 0 to 1e\+06"),
        ({"seed": -1}, "seed=-1: allowed"),
        ({"seed": 2**64}, r"allowed are whole numbers below 2\*\*64"),
        ({"part_rows": 1_000}, "part_rows=1000: allowed are whole numbers from 1024"),
        ({"part_rows": 1_500}, "part_rows=1500: allowed are multiples of 1,024"),
        ({"part_rows": 2**30}, "part_rows=1073741824: allowed are multiples of 1,024 up to 1"),
        ({"workers": 0}, "workers=0: allowed"),
        ({"workers": 20_000}, "workers=20000: allowed are whole numbers from 1 to 10,000"),
        ({"inner_workers": 0}, "inner_workers=0: allowed"),
        ({"retries": -1}, "retries=-1: allowed"),
        ({"stall_timeout": 0}, "stall_timeout=0: allowed are finite numbers above 0"),
        ({"out": ""}, "out='': allowed are a directory and s3://bucket/prefix"),
        ({"out": None}, "out is a NoneType: allowed are a directory"),
        ({"executor": 3}, "executor is a int: allowed are None and a lithops.FunctionExecutor"),
    ],
)
def test_bad_parameters_are_refused_and_nothing_is_written(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    options = {"kind": "blobs", "out": tmp_path / "data", **SMALL, **change}
    with pytest.raises((ValueError, TypeError), match=words):
        make_data(**options)
    assert not (tmp_path / "data").exists()
