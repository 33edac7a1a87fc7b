"""Inner workers of every kind behave alike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.runtime import resources
from biglambda.runtime.errors import RunError
from biglambda.runtime.inner import KINDS, make_inner
from biglambda.runtime.inner.quiet import one_library_thread
from biglambda.runtime.inner.threads import PIECES
from biglambda.runtime.resources import _cgroup_quota, lambda_cpus, usable_cpus
from biglambda.runtime.rows import CHUNK, Rows, cut_chunks


def make_rows(n: int) -> Rows:
    return Rows(np.arange(2.0 * n).reshape(n, 2), memory={"labels": np.zeros(n, np.int64)})


def sum_and_mark(rows: Rows) -> np.ndarray:
    rows.memory["labels"][:] = rows.first + np.arange(len(rows))
    return rows.X.sum(axis=0)


@given(rows=st.integers(0, 20 * CHUNK), parts=st.integers(1, 40))
def test_cuts_are_at_chunks_and_hold_each_row_once(rows: int, parts: int) -> None:
    bounds = cut_chunks(rows, parts)
    assert bounds[0] == 0
    assert bounds[-1] == rows
    assert all(bound % CHUNK == 0 for bound in bounds[:-1])
    sizes = np.diff(bounds)
    assert len(sizes) <= parts
    if rows:
        assert (sizes > 0).all()
        chunks = -(-sizes // CHUNK)
        assert chunks.max() - chunks.min() <= 1
    else:
        assert sizes.tolist() == [0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, CHUNK, 5 * CHUNK + 3])
def test_results_come_in_row_order_and_memory_is_written(kind: str, workers: int, n: int) -> None:
    rows = make_rows(n)
    with make_inner(kind, workers) as inner:
        for _ in range(3):
            rows.memory["labels"][:] = -1
            results = inner.map(sum_and_mark, rows, ("labels",))
            np.testing.assert_array_equal(sum(results), rows.X.sum(axis=0))
            assert rows.memory["labels"].tolist() == list(range(n))
    assert 1 <= len(results) <= max(1, -(-n // CHUNK))


def test_a_thread_that_is_slow_leaves_pieces_to_the_others() -> None:
    """One thread does not get on before all other pieces are done: with a fixed share each, this would not end."""
    rows = make_rows(1000 * CHUNK)
    done, others = threading.Event(), []

    def task(part: Rows) -> np.ndarray:
        if part.first == 0:
            assert done.wait(30)
        else:
            others.append(len(part))
            if sum(others) + first == len(rows):
                done.set()
        return sum_and_mark(part)

    with make_inner("threads", 2) as inner:
        first = len(rows.cut(2 * PIECES)[0])
        results = inner.map(task, rows, ("labels",))
    assert len(results) == 2 * PIECES
    assert rows.memory["labels"].tolist() == list(range(len(rows)))


@pytest.mark.parametrize("chunks", [2, 5, 100])
def test_little_work_stays_on_the_calling_thread(chunks: int) -> None:
    rows, names = Rows(np.zeros((chunks * CHUNK, 1))), set()

    def task(part: Rows) -> np.ndarray:
        names.add(threading.current_thread().name)
        return np.zeros(1)

    with make_inner("threads", 3) as inner:
        for _ in range(20):  # now and then the first chunk takes long, because another process had the CPU
            names.clear()
            inner.map(task, rows, ())
            if names == {threading.current_thread().name}:
                return
    pytest.fail(f"threads were woken each time: {names}")


def test_work_that_takes_long_wakes_all_threads() -> None:
    meet, names = threading.Barrier(3), set()

    def task(part: Rows) -> np.ndarray:
        if part.first == 0:  # the calling thread's chunk
            threading.Event().wait(0.001)
        else:
            names.add(threading.current_thread().name)
            meet.wait(30)
        return np.zeros(1)

    with make_inner("threads", 3) as inner:
        inner.map(task, Rows(np.zeros((4 * CHUNK, 1))), ())
    assert names == {threading.current_thread().name, "biglambda-inner-1", "biglambda-inner-2"}


def test_library_threads_are_limited_while_runs_overlap_and_restored_after() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas_threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2):
        if blas_threads() != {2}:
            pytest.skip("NumPy's BLAS here has no threads to limit")
        first, second = one_library_thread(), one_library_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_only_what_a_pass_writes_goes_through_the_pipe() -> None:
    rows = make_rows(2 * CHUNK)
    with make_inner("processes", 2) as inner:
        inner.map(sum_and_mark, rows, ())
    assert not rows.memory["labels"].any()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_one_inner_worker_is_raised_and_the_pool_lives_on(kind: str) -> None:
    rows = make_rows(3 * CHUNK)

    def fail_in_the_second(part: Rows) -> np.ndarray:
        if part.first or len(part) == len(rows):
            raise ValueError(f"no good: {part.first}")
        return sum_and_mark(part)

    with make_inner(kind, 3) as inner:
        with pytest.raises((ValueError, RunError), match="no good"):
            inner.map(fail_in_the_second, rows, ())
        np.testing.assert_array_equal(sum(inner.map(sum_and_mark, rows, ())), rows.X.sum(axis=0))


def test_a_killed_child_is_named_with_its_signal() -> None:
    rows = make_rows(2 * CHUNK)

    def die(part: Rows) -> np.ndarray:
        if part.first:
            os.kill(os.getpid(), signal.SIGKILL)
        return sum_and_mark(part)

    with make_inner("processes", 2) as inner, pytest.raises(RunError, match=r"inner worker 1 .* SIGKILL"):
        inner.map(die, rows, ("labels",))


def test_a_child_killed_in_the_middle_of_its_message_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Connection, message: object) -> None:
        os.write(self.fileno(), b"\0\0\x10\0half")  # says 4,096 bytes, and sends four
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Connection, "send", half)
    with make_inner("processes", 2) as inner, pytest.raises(RunError, match=r"inner worker 0 .* SIGKILL"):
        inner.map(sum_and_mark, make_rows(2 * CHUNK), ())


def test_a_fork_that_fails_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = os.fork, []

    def fork() -> int:
        if started:
            raise BlockingIOError("no more processes")
        started.append(pid := real())
        return pid

    monkeypatch.setattr(os, "fork", fork)
    with make_inner("processes", 2) as inner, pytest.raises(BlockingIOError):
        inner.map(lambda rows: np.zeros(threading.Event().wait(60)), make_rows(2 * CHUNK), ())
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_children_end_when_their_worker_is_killed() -> None:
    """They have more to send than a pipe holds, and nobody to read it."""
    code = """
import os, signal, sys, threading
import numpy as np
from biglambda.runtime.inner import make_inner
from biglambda.runtime.rows import CHUNK, Rows
def task(rows):
    os.write(1, b"%d\\n" % os.getpid())  # one write: the children share the pipe
    sys.stdin.read(1)
    return np.zeros(1_000_000)
make_inner("processes", 2).map(task, Rows(np.zeros((2 * CHUNK, 1))), ())
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin
    assert worker.stdout
    children = [int(worker.stdout.readline()) for _ in range(2)]
    worker.kill()
    worker.wait()
    worker.stdin.close()
    assert worker.stdout.read() == ""  # ends when the last child has closed it, which is when it ends
    for child in children:
        assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()


def test_a_pool_that_may_not_be_pinned_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with make_inner("threads", 8) as inner:
        assert len(inner.map(sum_and_mark, make_rows(8 * CHUNK), ())) == 8


def test_threads_end_with_the_pool() -> None:
    before = threading.active_count()
    with make_inner("threads", 4) as inner:
        inner.map(sum_and_mark, make_rows(4 * CHUNK), ())
        assert threading.active_count() == before + 3
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("kind", "workers", "message"),
    [
        ("fibers", 1, "inner='fibers': allowed are 'threads'"),
        ("threads", 0, "inner_workers=0"),
        ("threads", "two", "inner_workers='two'"),
        ("threads", True, "inner_workers=True"),
        ("threads", 1.5, "inner_workers=1.5"),
    ],
)
def test_wrong_options_are_named(kind: str, workers: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_inner(kind, workers)  # type: ignore[arg-type]


@pytest.mark.parametrize(("memory", "cpus"), [(128, 2), (3008, 2), (3009, 3), (7076, 4), (8845, 5), (10240, 6)])
def test_a_function_sees_as_many_cpus_as_its_memory_buys(memory: int, cpus: int) -> None:
    assert lambda_cpus(memory) == cpus


def test_usable_cpus_follow_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});\n"
    code += "from biglambda.runtime.resources import usable_cpus; print(usable_cpus())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "1"


@pytest.mark.parametrize(("memory", "cpus"), [(128, 1), (1769, 1), (3538, 2), (7076, 4), (10240, 6)])
def test_usable_cpus_are_those_that_the_memory_size_pays_for(
    memory: int, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(lambda_cpus(memory))))
    monkeypatch.setattr(resources, "_cgroup_quota", lambda _: None)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", str(memory))
    assert usable_cpus() == cpus


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "garbage"}, None),
        ({}, None),
    ],
)
def test_cgroup_quotas_of_both_versions(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _cgroup_quota(tmp_path) == quota


@settings(deadline=None, max_examples=10)
@given(n=st.integers(0, 4 * CHUNK), workers=st.integers(1, 5))
def test_threads_and_processes_give_the_same_results(n: int, workers: int) -> None:
    outcomes = []
    for kind in ("threads", "processes"):
        rows = make_rows(n)
        with make_inner(kind, workers) as inner:
            results = inner.map(sum_and_mark, rows, ("labels",))
        outcomes.append((np.sum(results, axis=0).tolist(), rows.memory["labels"].tolist()))
    assert outcomes[0] == outcomes[1]
