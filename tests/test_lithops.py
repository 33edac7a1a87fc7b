"""Runs on real Lithops functions, and what they leave behind: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lithops
import numpy as np
import pytest
import redis as redis_client
from own_server import OwnServer

from biglambda import KMeansResult, RunError, fit_kmeans, fit_logistic_regression
from biglambda.runtime.channel.server import find_binary, start_server
from biglambda.runtime.engine import stragglers
from biglambda.runtime.events import (
    BackupLaunched,
    Event,
    IterationDone,
    RunEnded,
    RunStarted,
    WorkerLeft,
    WorkerLost,
    WorkersJoined,
)

Blobs = Callable[..., tuple[np.ndarray, np.ndarray]]
MARK = "BIGLAMBDA_TEST_MARK"


def localhost(workers: int, **limits: Any) -> lithops.FunctionExecutor:
    base = {"mode": "localhost", "backend": "localhost", "storage": "localhost", "data_cleaner": False}
    config = {
        "lithops": {**base, **limits},
        "localhost": {"version": 1, "runtime": sys.executable, "worker_processes": workers},
    }
    return lithops.FunctionExecutor(config=config, log_level=None)


@pytest.fixture
def executor() -> Iterator[lithops.FunctionExecutor]:
    with localhost(3) as made:
        yield made


def marked(mark: str) -> list[int]:
    """Processes that inherited a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until the condition held; fails after the bound."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "not within the bound"
        time.sleep(0.05)
    return time.monotonic() - start


def keys_without_ttl(url: str) -> list[bytes]:
    with redis_client.Redis.from_url(url) as client:
        return [key for key in client.scan_iter("biglambda:*") if client.ttl(key) < 0]


def test_a_users_executor_runs_files(executor: Any, blobs: Blobs, tmp_path: Path, redis_url: str) -> None:
    x, centers = blobs(6_000, 4, 5)
    np.savetxt(tmp_path / "a.csv", x[:2_500], delimiter=",", fmt="%.17g")
    np.savetxt(tmp_path / "b.csv", x[2_500:], delimiter=",", fmt="%.17g")
    result = fit_kmeans(
        str(tmp_path / "*.csv"), 5, init=centers, workers=3, executor=executor, redis=redis_url, inner_workers=2
    )
    alone = fit_kmeans(x, 5, init=centers)
    assert result.centers.tobytes() == alone.centers.tobytes()
    np.testing.assert_array_equal(result.labels, alone.labels)
    assert keys_without_ttl(redis_url) == []
    again = fit_kmeans(x, 5, init=centers, workers=2, executor=executor, redis=redis_url)  # it can be used again
    assert again.centers.tobytes() == alone.centers.tobytes()


def test_no_executor_and_no_redis_start_their_own(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "own")
    monkeypatch.delenv("BIGLAMBDA_REDIS_URL", raising=False)
    x, centers = blobs(6_000, 4, 5)
    events: list[Event] = []
    result = fit_kmeans(x, 5, init=centers, workers=3, inner_workers=1, callbacks=[events.append])
    assert result.centers.tobytes() == fit_kmeans(x, 5, init=centers).centers.tobytes()
    assert marked("own") == []

    assert isinstance(events[0], RunStarted)
    assert events[-1] == RunEnded(events[0].run, None)
    assert WorkersJoined(3, 3) in events
    assert any(isinstance(event, IterationDone) for event in events)
    assert len(result.trace.workers) == 3
    assert sum(one.rows for one in result.trace.workers) == 6_000
    assert result.cost.seconds > 0


def test_success_and_failure_leave_no_process_and_no_file(tmp_path: Path) -> None:
    code = """
import numpy as np
from biglambda import DataError, fit_kmeans
if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((6_000, 4))
    fit_kmeans(x, 5, workers=2)
    np.savetxt("rows.csv", x, delimiter=",")
    try:
        fit_kmeans("rows.csv", 6_001, workers=2)
    except DataError as error:
        print(error)
"""
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    environment = {**os.environ, MARK: "tidy", "TMPDIR": str(scratch)}
    environment.pop("BIGLAMBDA_REDIS_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "6000 rows, but n_clusters=6001" in done.stdout, done.stderr
    assert done.stderr == ""
    wait_until(lambda: not marked("tidy"), 5)
    assert [path.name for path in scratch.rglob("*biglambda*")] == []
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]
    assert [str(path) for path in Path.home().glob(".lithops/**/*biglambda*")] == []


def test_jobs_and_results_are_private_and_those_of_another_process_are_not_taken(tmp_path: Path) -> None:
    """Two processes of one Lithops session have executors with the same ids, and must not meet in storage."""
    code = """
import os, pathlib, sys
import numpy as np
from biglambda import fit_kmeans
from biglambda.runtime.events import WorkersJoined
def look(event):
    if isinstance(event, WorkersJoined) and event.joined == 2:
        private = [e for e in os.scandir(os.environ["TMPDIR"]) if e.name.startswith("biglambda-")]
        inside = [path.name for path in pathlib.Path(private[0]).rglob("lithops.jobs")]
        print([oct(e.stat().st_mode & 0o777) for e in private], "lithops.jobs" in inside)
if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((int(sys.argv[1]), 2))
    result = fit_kmeans(x, 2, workers=2, callbacks=[look])
    print(len(result.labels))
"""
    environment = {**os.environ, "__LITHOPS_SESSION_ID": "abcdef", "__LITHOPS_TOTAL_EXECUTORS": "7"}
    environment.update(TMPDIR=str(tmp_path))
    environment.pop("BIGLAMBDA_REDIS_URL", None)
    for rows in (3_000, 5_000):
        done = subprocess.run(
            [sys.executable, "-c", code, str(rows)], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.split("\n") == ["['0o700'] True", str(rows), ""], done.stderr


def test_inside_a_lithops_job_a_fit_uses_the_functions_cpus(executor: Any, blobs: Blobs) -> None:
    x, centers = blobs(3_000, 3, 4)

    def job(seed: int) -> tuple[bytes, int]:
        from biglambda import fit_kmeans

        result = fit_kmeans(x, 4, init=centers)
        return result.centers.tobytes(), result.trace.workers[0].inner_workers

    futures = executor.map(job, [0, 1])
    expected = fit_kmeans(x, 4, init=centers).centers.tobytes()
    assert executor.get_result(futures, show_progressbar=False) == [(expected, len(os.sched_getaffinity(0)))] * 2


def test_processes_inside_of_functions_give_the_same_bits(blobs: Blobs, redis_url: str) -> None:
    x, _ = blobs(6_000, 4, 5)
    y = (x[:, 0] > 0).astype(float)
    fits = [
        fit_logistic_regression(x, y, max_iter=5, workers=2, inner=inner, inner_workers=2, redis=redis_url)
        for inner in ("threads", "processes")
    ]
    assert fits[0].weights.tobytes() == fits[1].weights.tobytes()


CLIENT = """
import os, sys, threading, signal
import numpy as np
from biglambda import fit_kmeans
from biglambda.runtime.events import IterationDone, WorkersJoined
def note(event):
    if isinstance(event, WorkersJoined) and event.joined == event.workers:
        print("joined", flush=True)
    if isinstance(event, IterationDone) and event.metrics["pass"] == "lloyd":
        print("iterating", flush=True)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may have been started with it ignored
    x = np.random.default_rng(0).standard_normal((200_000, 8))
    fit_kmeans(x, 200, max_iter=100_000, tol=0.0, seed=1, init="random", workers=2, inner_workers=1,
               retries=int(sys.argv[2]), redis=sys.argv[1] or None, callbacks=[note])
"""


def start_client(mark: str, url: str, scratch: Path, retries: int = 2) -> subprocess.Popen[str]:
    environment = {**os.environ, MARK: mark, "TMPDIR": str(scratch)}
    environment.pop("BIGLAMBDA_REDIS_URL", None)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, url, str(retries)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert client.stdout is not None
    for line in client.stdout:
        if line.strip() == "iterating":
            return client
    raise AssertionError(client.communicate()[1])


@pytest.mark.parametrize("own_server", [True, False])
def test_ctrl_c_ends_everything(own_server: bool, tmp_path: Path, redis_url: str) -> None:
    mark = f"ctrl-c-{own_server}"
    with redis_client.Redis.from_url(redis_url) as redis:
        others = set(redis.keys("biglambda:*:m"))  # of runs that other tests left to expire
        client = start_client(mark, "" if own_server else redis_url, tmp_path)
        client.send_signal(signal.SIGINT)
        if not own_server:
            (run,) = set(redis.keys("biglambda:*:m")) - others
            wait_until(lambda: redis.hget(run, "word") == b"abort", 1)
    _, errors = client.communicate(timeout=15)
    assert "KeyboardInterrupt" in errors
    wait_until(lambda: not marked(mark), 5)
    assert not any("biglambda" in path.name for path in tmp_path.iterdir())
    assert keys_without_ttl(redis_url) == []


@pytest.mark.parametrize("own_server", [True, False])
def test_a_killed_client_leaves_no_process_behind(own_server: bool, tmp_path: Path, redis_url: str) -> None:
    mark = f"killed-{own_server}"
    client = start_client(mark, "" if own_server else redis_url, tmp_path)
    client.kill()
    client.communicate(timeout=15)
    wait_until(lambda: not marked(mark), 30)
    assert keys_without_ttl(redis_url) == []
    # A guardian removes what the client cannot any more.
    assert not any("biglambda" in path.name for path in tmp_path.iterdir())


def test_a_killed_worker_is_launched_again_and_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "replaced")
    lost: list[WorkerLost] = []
    iterations: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, WorkerLost):
            lost.append(event)
            iterations.clear()
        if isinstance(event, IterationDone) and event.metrics["pass"] == "lloyd":
            iterations.append(event.iteration)
            if len(iterations) == 1 and len(lost) < 2:
                os.kill(functions("replaced")[-1], signal.SIGKILL)

    result = fit_kmeans(Slow.x, 300, workers=3, inner_workers=1, callbacks=[kill], **Slow.options)
    assert len(lost) == 2
    assert all(event.replaced and "SIGKILL" in event.why for event in lost)
    Slow.assert_undisturbed(result)
    assert marked("replaced") == []


class Slow:
    """Rows and options of a fit of some seconds, and the same fit in this process."""

    x = np.random.default_rng(0).standard_normal((200_000, 8))
    options: ClassVar[dict[str, Any]] = {"init": x[:300], "max_iter": 1000, "tol": 0.0}

    @classmethod
    def assert_undisturbed(cls, result: KMeansResult, **others: Any) -> None:
        alone = fit_kmeans(cls.x, 300, **{**cls.options, **others})
        assert result.centers.tobytes() == alone.centers.tobytes()
        assert result.labels.tobytes() == alone.labels.tobytes()


@pytest.mark.parametrize("signals", [(signal.SIGSTOP,), (signal.SIGKILL,)])
def test_a_function_that_is_not_heard_of_any_more_is_replaced(
    signals: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler, too, is stopped or killed, so that Lithops has nothing to report."""
    monkeypatch.setenv(MARK, "silent")
    lost: list[WorkerLost] = []
    hit: list[int] = []

    def stop(event: Event) -> None:
        if isinstance(event, WorkerLost):
            lost.append(event)
        if isinstance(event, IterationDone) and event.metrics["pass"] == "lloyd" and not hit:
            function = functions("silent")[-1]
            hit.extend([parent_of(function), function])
            assert os.getpid() not in hit
            for process in hit:
                os.kill(process, signals[0])

    result = fit_kmeans(
        Slow.x, 300, workers=3, inner_workers=1, silence_timeout=4.0, callbacks=[stop], **Slow.options
    )
    assert [event.why.partition(" for ")[0] for event in lost] == ["not heard of"]
    Slow.assert_undisturbed(result)
    wait_until(lambda: not marked("silent"), 10)


def test_a_backup_takes_the_place_of_a_function_that_all_others_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "straggler")
    monkeypatch.setattr(stragglers, "AT_LEAST", 1.0)
    stopped: list[int] = []
    events: list[Event] = []

    def stop(event: Event) -> None:
        events.append(event)
        if isinstance(event, IterationDone) and event.metrics["pass"] == "lloyd" and not stopped:
            stopped.append(functions("straggler")[-1])
            os.kill(stopped[0], signal.SIGSTOP)

    result = fit_kmeans(
        Slow.x, 300, workers=3, inner_workers=1, silence_timeout=60.0, backups=2, callbacks=[stop], **Slow.options
    )
    backups = [event for event in events if isinstance(event, BackupLaunched)]
    assert [event.attempt for event in backups][:1] == [2]
    assert not any(isinstance(event, WorkerLost) for event in events)
    Slow.assert_undisturbed(result)
    wait_until(lambda: not marked("straggler"), 10)


def test_functions_whose_time_is_up_make_room_for_others() -> None:
    events: list[Event] = []
    with localhost(2, execution_timeout=14) as executor:
        result = fit_kmeans(
            Slow.x, 300, workers=2, inner_workers=1, executor=executor, retries=0, callbacks=[events.append],
            **{**Slow.options, "max_iter": 2000},
        )  # fmt: skip
    assert {event.worker for event in events if isinstance(event, WorkerLeft)} == {0, 1}
    assert not any(isinstance(event, WorkerLost) for event in events)
    Slow.assert_undisturbed(result, max_iter=2000)


def test_too_little_time_for_an_iteration_is_said() -> None:
    with (
        localhost(2, execution_timeout=10) as executor,
        pytest.raises(RunError, match=r"worker \d had 10 s, .* longer runtime_timeout"),
    ):
        fit_kmeans(Slow.x, 300, workers=2, executor=executor)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def functions(mark: str) -> list[int]:
    """The functions of a client: the leaves of the tree of its processes, deep enough to be Lithops' functions."""
    found = {pid: parent_of(pid) for pid in marked(mark)}
    leaves = found.keys() - found.values()
    # The client starts a runner, which forks a worker for each function, which forks the function.
    return [
        pid
        for pid in sorted(leaves)
        if found.get(found[pid]) in found and "python" in os.readlink(f"/proc/{pid}/exe")
    ]


def test_a_killed_worker_ends_the_run_with_its_number(tmp_path: Path, redis_url: str) -> None:
    client = start_client("worker-killed", redis_url, tmp_path, retries=0)
    leaves = functions("worker-killed")
    assert len(leaves) == 2
    os.kill(leaves[0], signal.SIGKILL)
    _, errors = client.communicate(timeout=30)
    assert "RunError: worker" in errors
    assert "SIGKILL" in errors
    wait_until(lambda: not marked("worker-killed"), 10)


def test_clients_that_start_together_do_not_break_each_other(tmp_path: Path) -> None:
    """Each copies Lithops to the same place while it launches; see `_interpreter`."""
    code = """
import numpy as np
from biglambda import fit_kmeans
if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((3_000, 2))
    for _ in range(3):
        print(fit_kmeans(x, 3, seed=1, workers=2, arrival_timeout=30).inertia)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    for name in ("BIGLAMBDA_REDIS_URL", "__LITHOPS_SESSION_ID", "__LITHOPS_TOTAL_EXECUTORS"):
        environment.pop(name, None)
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [client.communicate(timeout=150) for client in clients]
    assert {line for out, _ in answers for line in out.split()} == {answers[0][0].split()[0]}, answers
    assert [len(out.split()) for out, _ in answers] == [3] * 4, answers


def test_workers_that_do_not_arrive_are_counted(redis_url: str) -> None:
    x = np.random.default_rng(0).standard_normal((4_096, 2))
    with localhost(4) as executor:
        executor.config["localhost"]["worker_processes"] = 2  # what the jobs are told

        class Claims:
            """Claims to run more at a time than it does, as a cloud with a concurrency limit would."""

            backend = "localhost"
            config = {**executor.config, "localhost": {"worker_processes": 4}}  # noqa: RUF012
            map, wait = staticmethod(executor.map), staticmethod(executor.wait)

        start = time.monotonic()
        with pytest.raises(RunError, match=r"2 of 4 workers arrived in \d+ s; did a process die"):
            fit_kmeans(x, 2, workers=4, executor=Claims(), redis=redis_url, arrival_timeout=6.0)
        assert time.monotonic() - start < 20
    assert keys_without_ttl(redis_url) == []


@pytest.mark.parametrize("retries", [1, 0])
def test_a_run_whose_server_was_restarted_without_its_data_goes_on_if_it_may(tmp_path: Path, retries: int) -> None:
    server = OwnServer(tmp_path, find_binary())
    runs: list[str] = []
    steps: list[int] = []

    def restart(event: Event) -> None:
        if isinstance(event, RunStarted):
            runs.append(event.run)
        if isinstance(event, IterationDone) and event.metrics["pass"] == "lloyd":
            steps.append(event.iteration)
            if len(steps) == 3:
                server.restart()

    options = {**Slow.options, "max_iter": 200}
    try:
        start = time.monotonic()
        fit = partial(
            fit_kmeans, Slow.x, 300, workers=2, inner_workers=1, redis=server.url, retries=retries,
            callbacks=[restart], **options,
        )  # fmt: skip
        if retries == 0:
            with pytest.raises(RunError, match="lost"):
                fit()
            assert time.monotonic() - start < 30
            return
        result = fit()
        assert runs == [runs[0], f"{runs[0]}-2"]
        Slow.assert_undisturbed(result, max_iter=200)
        assert keys_without_ttl(server.url) == []
    finally:
        server.stop()


def test_a_lost_redis_ends_the_run_with_a_reason() -> None:
    x = np.random.default_rng(0).standard_normal((100_000, 4))
    with start_server() as server:

        def stop(event: Event) -> None:
            if isinstance(event, IterationDone) and event.metrics["pass"] == "lloyd":
                server.stop()

        start = time.monotonic()
        with pytest.raises(RunError, match="Redis"):
            fit_kmeans(
                x, 150, init="random", tol=0.0, max_iter=100_000, workers=2, redis=server.url, callbacks=[stop]
            )
        assert time.monotonic() - start < 60
