"""``biglambda bench kernels``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .timing import forget_slow_settings

if TYPE_CHECKING:
    from .case import Case, Shape
    from .measure import Measurement

PICTURES = (".png", ".svg", ".pdf")
DTYPES = ("float32", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--kernel", nargs="+", metavar="NAME", help="kernels to measure (default: all)")
    parser.add_argument(
        "--shape",
        nargs="+",
        metavar="NxD",
        help="rows x features, such as 1000000x16 (default: each kernel's own)",
    )
    parser.add_argument("-k", "--clusters", type=int, metavar="K", help="centres, for kernels that have them")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="of the rows")
    parser.add_argument("--threads", nargs="+", type=int, metavar="T", help="(default: 1, and all CPUs)")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="R", help="in which all contenders take turns (default: 5)"
    )
    parser.add_argument("--rivals", nargs="*", metavar="NAME", help="libraries to compare with (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times, in seconds, and roofs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a roofline picture: .png, .svg or .pdf")
    parser.add_argument("--assembly", metavar="KERNEL", help="print the hot loop of a kernel, and measure nothing")


def run(options: argparse.Namespace) -> int:
    """Measure, and print as it goes."""
    note = forget_slow_settings()
    if note:
        print(note)
    if options.assembly:
        return _print_assembly(options.assembly, options.dtype)

    from .machine import Elsewhere, describe_machine
    from .measure import measure, measure_roofs
    from .report import details

    plan = list(make_plan(options))
    threads = check_threads(options.threads)
    check_files(options.json, options.plot)
    machine, elsewhere = describe_machine(), Elsewhere()
    title = f"{machine['cpu']}, {machine['register_bits']}-bit registers"
    print(f"{title}, {machine['cpus']} CPUs; medians of {options.rounds} rounds")
    roofs = measure_roofs(threads, options.dtype)
    print(roofs, end="\n\n")
    measured: list[Measurement] = []
    with _Bar(len(plan) * len(threads)) as bar:
        for case, shape, dtype in plan:
            bar.start(f"{case.name} {shape} {dtype}")
            ready = case(shape, dtype)
            for count in threads:
                measured.append(measure(ready, count, options.rounds, options.rivals))
                bar.print(details(measured[-1]) + "\n")
    print(elsewhere)
    if options.json:
        about = {"machine": machine, "roofs": roofs.as_dict(), "cpus_busy_elsewhere": elsewhere.cpus()}
        options.json.write_text(
            json.dumps({**about, "measurements": [one.as_dict() for one in measured]}, indent=1)
        )
    if options.plot:
        from .plot import roofline

        roofline(measured, roofs, options.plot, title)
    return 0


def make_plan(options: argparse.Namespace) -> Iterator[tuple[type[Case], Shape, str]]:
    """What is to be measured.

    Raises
    ------
    ValueError
        For an unknown kernel or rival, a bad shape, or one that does not fit into memory.
    """
    from .case import Shape
    from .cases import CASES

    if options.rounds < 1:
        raise ValueError(f"--rounds {options.rounds}: at least 1 is needed")
    if options.clusters is not None and options.clusters < 1:
        raise ValueError(f"-k {options.clusters}: at least 1 is needed")
    shapes = [Shape.parse(text) for text in options.shape or ()]
    for name in options.kernel or CASES:
        if name not in CASES:
            raise ValueError(f"no kernel is called {name!r}: there are {', '.join(CASES)}")
        case = CASES[name]
        for rival in options.rivals or ():
            if not any(rival in one.rivals for one in CASES.values()):
                known = dict.fromkeys(rival for one in CASES.values() for rival in one.rivals)
                raise ValueError(f"no rival is called {rival!r}: there are {', '.join(known)}")
        for shape in shapes or case.quick:
            wanted = case.with_k(shape, options.clusters)
            for dtype in options.dtype:
                case.check_memory(wanted, dtype)
                yield case, wanted, dtype


def check_threads(threads: Sequence[int] | None) -> list[int]:
    """How many threads to measure: by default one, and as many as there are CPUs.

    Raises
    ------
    ValueError
        If there are fewer CPUs.
    """
    from biglambda.runtime.resources import usable_cpus

    cpus = usable_cpus()
    for count in threads or ():
        if not 1 <= count <= cpus:
            raise ValueError(f"--threads {count}: this process may use {cpus} CPUs, so allowed are 1 to {cpus}")
    return list(dict.fromkeys(threads or (1, cpus)))


def check_files(results: Path | None, picture: Path | None) -> None:
    """Refuse, before anything is measured, what could not be written afterwards.

    Raises
    ------
    FileNotFoundError
        If a directory is missing.
    ValueError
        For a picture of another kind, or without matplotlib.
    """
    for file in (results, picture):
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"cannot write {file}: the directory {file.parent} does not exist")
    if picture is None:
        return
    if picture.suffix not in PICTURES:
        raise ValueError(f"--plot {picture}: allowed are names that end with {', '.join(PICTURES)}")
    if find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install 'biglambda[bench]'")


def _print_assembly(name: str, dtypes: Sequence[str]) -> int:
    import numpy as np

    from biglambda.kernels import KERNELS

    from .assembly import assembly, hot_loop
    from .cases import CASES

    names = CASES[name].kernels if name in CASES else (name,)
    if names[0] not in KERNELS:
        raise ValueError(f"no kernel is called {name!r}: there are {', '.join([*CASES, *sorted(KERNELS)])}")
    for kernel in names:
        for dtype in dtypes:
            if np.dtype(dtype) in KERNELS[kernel].signatures:
                print(f"{kernel}, {dtype}\n{hot_loop(assembly(KERNELS[kernel], np.dtype(dtype)))}\n")
    return 0


class _Bar:
    """A progress bar on a terminal, beside what is printed."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        silent = sys.stderr is None or not sys.stderr.isatty()
        self._tqdm = tqdm(total=total, disable=silent, leave=False, dynamic_ncols=True)

    def start(self, what: str) -> None:
        self._tqdm.set_description(what)

    def print(self, text: str) -> None:
        """Print a result, which is a step."""
        self._tqdm.clear()
        print(text, flush=True)
        self._tqdm.update()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._tqdm.close()
