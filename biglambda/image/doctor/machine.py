"""The machine, or function, that this runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .finding import Finding, Step

LOAD_SECONDS = 30.0
"""To import Numba and to load the kernels on a machine that is busy: this waits for nobody else."""


def steps() -> list[Step]:
    """What to look at."""
    return [Step("machine", _machine, limit=LOAD_SECONDS), Step("kernels", _kernels, limit=LOAD_SECONDS)]


def _machine() -> Iterator[Finding]:
    from ...algorithms.pipeline import own_kernels, own_target
    from ...runtime.info import info

    its = info(own_target(), own_kernels())
    memory = "" if its.memory_mb is None else f" and {its.memory_mb:,} MB"
    yield Finding(
        "ok", "machine", f"biglambda {its.biglambda}, Python {its.python}, {its.cpus} vCPUs of {its.cpu}{memory}"
    )
    found = f"{its.target.name} ({its.target.family})"
    if its.target.family == "fma":
        yield Finding("ok", "CPU target", found)
    else:
        yield Finding(
            "warning",
            "CPU target",
            found,
            "Results differ in the last bits from those of CPUs with fused multiply-add: run on one kind only",
        )


def _kernels() -> Iterator[Finding]:
    from ...kernels.cache import COMPILE_VARIABLE, NEVER, NotBakedError
    from ...kernels.registry import specialisations, warm

    before = os.environ.get(COMPILE_VARIABLE)
    os.environ[COMPILE_VARIABLE] = NEVER
    try:
        warm()
    except NotBakedError:
        yield Finding("ok", "kernels", "not all are compiled; a fit compiles those that it uses, once")
    else:
        yield Finding("ok", "kernels", f"all {specialisations()} are compiled")
    finally:
        if before is None:
            del os.environ[COMPILE_VARIABLE]
        else:
            os.environ[COMPILE_VARIABLE] = before
