"""``biglambda bench``: what it measures is right, and said in words. Nothing here depends on how fast it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import kernels as benchmark
from biglambda.bench import assembly, case, cases, kmeans, machine, marginal, measure, plot, report, roofs, timing
from biglambda.kernels import KERNELS
from biglambda.runtime.inner import make_inner

SMALL = case.Shape(3_000, 5, 4)


def small(name: str) -> case.Shape:
    return cases.CASES[name].with_k(SMALL, None)


def command(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "biglambda", "bench", "kernels", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env={**timing.clean_environment(), **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases.CASES)
def test_every_contender_computes_what_our_kernel_does_on_one_thread_and_two(name: str, dtype: str) -> None:
    ready = cases.CASES[name](small(name), dtype)
    for threads in (1, 2):
        with make_inner("threads", threads) as inner:
            ours = ready.operation(inner)
        compared = 0
        for make in ready.rivals.values():
            try:
                rival = make(ready, threads)
                answer = rival.answer()
            except (ImportError, case.NotHere):
                continue
            ready.check(ours, answer)
            compared += 1
        assert compared >= 1
    assert ready.flops > 0
    assert ready.bytes >= ready.x.nbytes


@pytest.mark.parametrize("name", cases.CASES)
def test_a_wrong_result_is_noticed(name: str) -> None:
    ready = cases.CASES[name](small(name), "float32")
    with make_inner("serial") as inner:
        ours = ready.operation(inner)
    if name == "lloyd":
        far = kmeans.Clusters(ours.moved + 3.0, ours.labels, ours.of)
        other = kmeans.Clusters(ours.moved, (ours.labels + 1) % SMALL.k, ours.of)
        wrong: list = [far, other]
    elif name == "assign":
        wrong = [np.roll(ours, 1)]
    else:
        wrong = [ours + 0.1 * np.abs(ours).max()]
    for answer in wrong:
        with pytest.raises(case.WrongResult):
            ready.check(ours, answer)


def test_a_measurement_stops_at_a_wrong_rival_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    liar = lambda ready, threads: case.Contender.of(lambda: np.zeros((2, SMALL.d)))
    monkeypatch.setattr(cases.CASES["summarize"], "rivals", {"liar": liar})
    with pytest.raises(case.WrongResult, match=r"summarize of 3000 x 5 float32: liar's extremes differ by"):
        measure.measure(cases.CASES["summarize"](small("summarize"), "float32"), 1, 1)


def test_rivals_that_cannot_take_part_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(ready: case.Case, threads: int) -> case.Contender:
        raise ModuleNotFoundError("no such library")

    def unable(ready: case.Case, threads: int) -> case.Contender:
        raise case.NotHere("float32 only")

    monkeypatch.setattr(cases.CASES["summarize"], "rivals", {"gone": missing, "narrow": unable})
    one = measure.measure(cases.CASES["summarize"](small("summarize"), "float64"), 1, 2)
    assert list(one.seconds) == [measure.OURS]
    assert len(one.seconds[measure.OURS]) == 2
    text = report.details(one)
    assert "gone: not installed: pip install 'biglambda[bench]'" in text
    assert "narrow: float32 only" in text


def test_a_pinned_section_keeps_all_threads_on_its_cpus_and_gives_the_others_back() -> None:
    before = os.sched_getaffinity(0)
    with timing.pinned(1) as cpus, make_inner("threads", 2):
        assert len(cpus) == 1
        tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        assert {frozenset(os.sched_getaffinity(task)) for task in tasks} == {frozenset(cpus)}
    assert os.sched_getaffinity(0) == before


def test_an_iteration_costs_what_a_longer_fit_takes_more() -> None:
    asked: list[int] = []

    def fit(iterations: int) -> int:
        asked.append(iterations)
        time.sleep(0.05 + 0.01 * iterations)
        return iterations

    assert marginal.marginal(fit)() == pytest.approx(0.01, rel=0.5)
    assert min(asked) == marginal.SHORT
    assert max(asked) > marginal.SHORT + marginal.FEWEST


def test_a_fit_that_converges_early_is_not_measured() -> None:
    with pytest.raises(case.NotHere, match="converged after 3 of 5 iterations"):
        marginal.marginal(lambda iterations: min(iterations, 3))()


def test_a_ratio_from_rounds_that_disagree_is_marked() -> None:
    seconds = {"biglambda": [1.0, 1.0, 1.1], "calm": [2.0, 2.0, 2.1], "wild": [1.0, 2.0, 9.0]}
    one = measure.Measurement("summarize", SMALL, "float32", 1, 1e9, 1e8, seconds, {})
    assert [report.ratio_text(one, name) for name in ("calm", "wild", "absent")] == ["2.00", "~2.00", "-"]
    assert report.smallest_ratio([one]).startswith("smallest ratio 2.00: calm")


def test_the_ratio_is_the_median_over_the_rounds() -> None:
    seconds = {"a": [1.0, 1.0, 2.0], "b": [3.0, 9.0, 6.0]}
    assert timing.median_ratio(seconds, "a", "b") == 3.0
    assert timing.quartiles([4.0, 1.0, 2.0, 3.0, 5.0]) == (2.0, 3.0, 4.0)
    assert timing.quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_memory_is_the_smaller_of_the_machines_and_the_control_groups(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    assert machine.available_bytes(tmp_path) is None
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4000 kB\nMemAvailable:    2000 kB\n")
    assert machine.available_bytes(tmp_path) == 2_048_000
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("1500000\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("500000\n")
    assert machine.available_bytes(tmp_path) == 1_000_000
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert machine.available_bytes(tmp_path) == 2_048_000


def test_work_of_this_process_is_not_work_elsewhere() -> None:
    elsewhere = machine.Elsewhere()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    assert 0.0 <= elsewhere.cpus() <= len(os.sched_getaffinity(0))
    assert "CPUs busy meanwhile" in str(elsewhere)


def test_work_of_another_process_is_work_elsewhere() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.3)  # it has started
            elsewhere = machine.Elsewhere()
            time.sleep(0.5)
            busy = elsewhere.cpus()
        finally:
            other.kill()
    assert busy > 0.3


def test_the_hot_loop_is_the_innermost_with_the_most_multiply_adds() -> None:
    text = """
outer:
.LBB0_1:
\tvaddps\t%ymm0, %ymm1, %ymm1
.LBB0_2:
\tvmovups\t(%rax), %ymm2
\tvfmadd231ps\t32(%rax), %ymm2, %ymm3
\tvmovups\t%ymm3, 64(%rsp)
\tvmovups\t%ymm3, (%rcx)
\tjne\t.LBB0_2
\tvmovups\t(%rbx), %ymm4
.LBB0_3:
\tvaddps\t%ymm0, %ymm1, %ymm1
\tvaddps\t%ymm0, %ymm1, %ymm1
\tvaddps\t%ymm0, %ymm1, %ymm1
\tjne\t.LBB0_3
\tjmp\t.LBB0_1
"""
    loop = assembly.hot_loop(text)
    assert loop.lines[0] == ".LBB0_2:"
    assert len(loop.lines) == 6
    assert (loop.vectors, loop.fmas, loop.loads, loop.stores, loop.spills) == (4, 1, 2, 2, 1)
    with pytest.raises(ValueError, match="no loop"):
        assembly.hot_loop("\tret\n")


def test_the_hot_loop_is_found_in_arm64_code_too() -> None:
    text = ".LBB0_2:\n\tldr\tq0, [x1, x2]\n\tfmla\tv1.4s, v0.4s, v2.s[0]\n\tstr\tq1, [sp, #16]\n\tb.ne\t.LBB0_2\n"
    loop = assembly.hot_loop(text)
    assert (loop.fmas, loop.loads, loop.stores, loop.spills) == (1, 1, 1, 1)


def test_the_fma_roof_is_nothing_but_multiply_adds() -> None:
    loop = assembly.hot_loop(assembly.assembly(KERNELS["multiply_adds"], np.dtype(np.float32)))
    assert loop.vectors >= 6
    assert (loop.loads, loop.stores) == (0, 0)
    assert loop.fmas in (0, loop.vectors)  # none on a CPU without them


def test_the_fma_roof_of_two_threads_is_that_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    both_are_there = threading.Barrier(2)

    def run(repeats: int, blocks: np.ndarray) -> int:
        both_are_there.wait(30)
        return 1

    monkeypatch.setattr(roofs, "multiply_adds", {np.dtype(np.float32): run})
    with make_inner("threads", 2) as inner:
        assert roofs.fma_timer(inner, np.dtype(np.float32))() > 0


def test_the_read_roof_reads_all_lines() -> None:
    values = np.arange(64 * 16, dtype=np.float32).reshape(64, 16)
    assert KERNELS["read_lines"][np.float32](values) == -float(values.sum())


def test_a_picture_shows_all_panels_whatever_their_number(tmp_path: Path) -> None:
    measured = [
        measure.Measurement(
            f"kernel{i}", SMALL, dtype, threads, 1e9, 1e8, {"biglambda": [0.1 + i], "NumPy": [1.0]}, {}
        )
        for dtype, threads in [("float32", 1), ("float32", 2), ("float64", 1)]
        for i in range(12)
    ]
    roofs = measure.Roofs({("float32", 1): 1e11, ("float32", 2): 2e11, ("float64", 1): 5e10}, {1: 1e10, 2: 2e10})
    plot.roofline(measured, roofs, tmp_path / "roofs.png", "title")
    assert (tmp_path / "roofs.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_measures_and_writes_json_and_a_picture(tmp_path: Path) -> None:
    done = command(
        "--kernel", "summarize", "--shape", "4000x7", "--dtype", "float32", "float64", "--threads", 1,
        "--rounds", 2, "--rivals", "NumPy", "--json", tmp_path / "all.json", "--plot", tmp_path / "roofs.png",
        OPENBLAS_CORETYPE="Haswell",
    )  # fmt: skip
    assert "OPENBLAS_CORETYPE removed from the environment" in done.stdout
    assert "summarize, 4000 x 7, float64, 1 thread" in done.stdout
    assert done.stderr == ""
    written = json.loads((tmp_path / "all.json").read_text())
    assert [one["dtype"] for one in written["measurements"]] == ["float32", "float64"]
    for one in written["measurements"]:
        assert {name: len(values) for name, values in one["seconds"].items()} == {"biglambda": 2, "NumPy": 2}
        assert min(one["roofs"]["roof: FMA"] + one["roofs"]["roof: read"]) > 0
    assert written["roofs"]["read"][0]["bytes_per_second"] > 0
    assert (tmp_path / "roofs.png").stat().st_size > 10_000


def test_the_command_prints_the_hot_loop_of_a_kernel() -> None:
    done = command("--assembly", "summarize", "--dtype", "float64")
    assert done.stdout.startswith("chunk_sums, float64\n")
    assert "vector instructions" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kernel", "nothing"), "no kernel is called 'nothing': there are lloyd, assign"),
        (("--assembly", "nothing"), "no kernel is called 'nothing': there are lloyd, assign"),
        (("--rivals", "nothing"), "no rival is called 'nothing': there are NumPy, scikit-learn"),
        (("--shape", "12by3"), "shape '12by3': allowed is ROWSxFEATURES"),
        (("--kernel", "lloyd", "--shape", "5x2", "-k", "6"), "at most 5 centres can be had of 5 rows"),
        (("-k", "0"), "-k 0: at least 1 is needed"),
        (("--rounds", "0"), "--rounds 0: at least 1 is needed"),
        (("--threads", "4096"), "--threads 4096: this process may use"),
        (("--kernel", "summarize", "--shape", "1000000000x1000"), "GB are free: take fewer rows"),
        (("--plot", "x.txt"), "allowed are names that end with .png, .svg, .pdf"),
        (("--plot", "/nowhere/x.png"), "the directory /nowhere does not exist"),
    ],
)
def test_the_command_refuses_what_it_cannot_measure_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments, code=1)
    assert message in done.stderr
    assert done.stderr.startswith("biglambda: ")
    assert done.stderr.count("\n") == 1


def test_the_tables_run_and_random_shapes_stay_in_their_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    shapes = benchmark.random_shapes()
    assert len(shapes) == 30
    assert shapes == benchmark.random_shapes()
    assert all(1e7 <= n * d * k <= 1e10 and n <= 2_000_000 and d <= 1000 and k <= 500 for n, d, k in shapes)
    for table in benchmark.TABLES:
        shape = case.Shape(3_000, 5, 4 if table != "logistic" else 0)
        benchmark.run(table, rounds=1, dtypes=["float32"], threads=[1], shapes=[shape])
    printed = capsys.readouterr().out
    assert "3000 x 5, k=4" in printed
    assert "smallest ratio" in printed


def test_a_part_of_a_table_and_the_others_are_the_whole() -> None:
    assert [benchmark.part_of(list(range(7)), (i, 3)) for i in (1, 2, 3)] == [[0, 1], [2, 3], [4, 5, 6]]
