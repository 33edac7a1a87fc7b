"""``biglambda runtime``: the image that functions run in, its kernels, and what a run needs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    what = parser.add_subparsers(required=True, metavar="WHAT")
    for name, help_, command in (
        ("bake", "compile every kernel for every CPU that functions may run on", _bake),
        ("check", "see that every kernel is there, from new processes that may not compile", _check),
    ):
        one = what.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.")
        one.add_argument(
            "--cache",
            type=Path,
            default=os.environ.get("NUMBA_CACHE_DIR") or None,
            metavar="DIR",
            help="folder of the compiled kernels (default: $NUMBA_CACHE_DIR)",
        )
        one.add_argument(
            "--target",
            action="append",
            metavar="CPU",
            help="one CPU, as x86-64-v3; may be given again (default: all that the image is for)",
        )
        one.set_defaults(command=command)
    info = what.add_parser(
        "info", help="what this process runs on", description="What this process runs on: CPU, kernels, memory."
    )
    info.add_argument("--json", action="store_true", help="print it as JSON")
    info.set_defaults(command=_info)
    _add_deploy(what)
    _add_doctor(what)


def _add_deploy(what: Any) -> None:
    deploy = what.add_parser(
        "deploy",
        help="build the image, and make a function of AWS Lambda of it",
        description="Build the image and make a function of AWS Lambda of it, by the commands of Lithops.",
    )
    size = deploy.add_mutually_exclusive_group()
    size.add_argument(
        "--inner-workers", type=int, metavar="N", help="vCPUs of the function, 1 to 6: its memory follows"
    )
    size.add_argument(
        "--memory",
        type=int,
        metavar="MB",
        help="memory of the function (default: runtime_memory of the Lithops configuration)",
    )
    deploy.add_argument(
        "--timeout",
        type=int,
        metavar="SECONDS",
        help="time limit of the function (default: runtime_timeout of the Lithops configuration, else 900)",
    )
    deploy.add_argument(
        "--name", default="biglambda", metavar="NAME", help="of the image, without tag (default: %(default)s)"
    )
    deploy.add_argument(
        "--base-image", metavar="IMAGE", help="to build on (default: python:3.X-slim, as this Python)"
    )
    deploy.add_argument(
        "--repository",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="clone of biglambda (default: this directory)",
    )
    deploy.add_argument(
        "--workers", type=int, default=1, metavar="W", help="functions whose price is told (default: 1)"
    )
    deploy.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    deploy.set_defaults(command=_deploy)


def _add_doctor(what: Any) -> None:
    doctor = what.add_parser(
        "doctor",
        help="see whether everything is there that a run needs, and say what to do",
        description="See whether everything is there that a run needs, and say what to do. Changes nothing that "
        "stays, and ends with 1 if something is wrong.",
    )
    doctor.add_argument(
        "--redis", metavar="URL", help="Redis to look at (default: $BIGLAMBDA_REDIS_URL, or that of --lithops)"
    )
    doctor.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="s3://...",
        help="where a run reads or writes; may be repeated",
    )
    doctor.add_argument("--lithops", action="store_true", help="look at your Lithops configuration, too")
    doctor.add_argument(
        "--workers", type=int, default=1, metavar="W", help="functions of the run to come (default: 1)"
    )
    doctor.add_argument(
        "--invoke", action="store_true", help="as --lithops, and have one function look around where it runs"
    )
    doctor.add_argument("--json", action="store_true", help="print all findings as JSON")
    doctor.set_defaults(command=_doctor)


def _bake(options: argparse.Namespace) -> int:
    return _each(options, compile=True, wrong=lambda one: None)


def _check(options: argparse.Namespace) -> int:
    from ..kernels.registry import specialisations

    def wrong(one: Any) -> str | None:
        if one.missing or (one.loaded, one.compiled) != (specialisations(), 0):
            return one.missing or f"{one.loaded} of {specialisations()} kernels were loaded"
        return None

    return _each(options, compile=False, wrong=wrong)


def _each(options: argparse.Namespace, compile: bool, wrong: Callable[[Any], str | None]) -> int:
    from ..kernels.bake import bake, own_targets

    if options.cache is None:
        raise ValueError("no folder for the compiled kernels: give --cache DIR, or set NUMBA_CACHE_DIR")
    allowed = own_targets()
    for name in options.target or ():
        if name not in allowed:
            raise ValueError(f"--target {name}: allowed on this machine are {', '.join(allowed)}")
    failed = False
    for one in bake(options.cache.resolve(), options.target or allowed, compile):
        print(f"{one.target}: {one.loaded} kernels loaded, {one.compiled} compiled, in {one.seconds:.1f} s")
        problem = wrong(one)
        if problem:
            print(f"biglambda: {one.target}: {problem}", file=sys.stderr)
            failed = True
    return int(failed)


def _info(options: argparse.Namespace) -> int:
    from ..algorithms.pipeline import own_kernels, own_target
    from ..kernels.cache import COMPILE_VARIABLE, NEVER, NotBakedError
    from ..kernels.registry import specialisations, warm
    from ..runtime.info import info

    os.environ[COMPILE_VARIABLE] = NEVER
    missing = None
    try:
        warm()
    except NotBakedError as error:
        missing = str(error)
    found = info(own_target(), own_kernels())
    if options.json:
        print(json.dumps({**asdict(found), "missing": missing}))
    else:
        print(found)
        print(missing or f"all {specialisations()} kernels are there")
    return 0


def _deploy(options: argparse.Namespace) -> int:
    from .deploy import Request, carry_out, make_plan

    plan = make_plan(
        Request(
            root=options.repository,
            inner_workers=options.inner_workers,
            memory_mb=options.memory,
            timeout=options.timeout,
            image=options.name,
            base_image=options.base_image,
            workers=options.workers,
        )
    )
    print(plan, flush=True)
    if not options.dry_run:
        carry_out(plan)
    print(f"\nIn the Lithops configuration:\n\n{plan.settings}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor.command import run

    return run(options)
