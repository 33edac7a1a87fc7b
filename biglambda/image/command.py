"""``biglambda runtime``: the kernels of the runtime image."""

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
