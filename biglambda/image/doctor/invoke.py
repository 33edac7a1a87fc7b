"""One function, launched by Lithops as a run does it, that looks at its own surroundings.

`python -m biglambda.image.doctor.invoke` reads what to look at and prints the findings, both as JSON. It is a
process of its own because that can be ended: Lithops tries for ever to reach a backend that does not answer, in
threads that outlive their executor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

from ...runtime.errors import RunError
from .finding import Finding, Step

SECONDS = 120.0
"""For a function to start from an image that no host has yet, and to look around."""

POLL = 0.1  # seconds between looks at the function; Lithops has nothing to wait on but its own polling


def steps(redis: str | None, data: Sequence[str]) -> list[Step]:
    """Have a function of the Lithops configuration look at itself, at a Redis, and at places on S3."""
    return [Step("function", partial(_in_a_process, {"redis": redis, "data": list(data)}), limit=SECONDS + 10)]


def _in_a_process(wanted: dict[str, Any]) -> Iterator[Finding]:
    # By standard input, as a URL may hold a password and the arguments of a process are everybody's.
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        advice = "Its log says whether it was started: CloudWatch, /aws/lambda/ and the function's name"
        yield Finding("wrong", "function", f"no answer in {SECONDS:.0f} s", advice)
        return
    try:
        found = [Finding(**one) for one in json.loads(done.stdout.splitlines()[-1])]
    except (ValueError, IndexError, TypeError):
        raise RunError(f"the process that launches it failed: {done.stderr[-500:]}") from None
    yield from found


def launch(redis: str | None, data: Sequence[str]) -> list[Finding]:
    """What a function of the Lithops configuration finds.

    Raises
    ------
    RunError
        It cannot be launched, or fails.
    """
    import lithops

    from ...runtime.engine.functions import Functions, is_local
    from ...runtime.private import PrivateDirectory
    from .. import name
    from .probe import Probe, look
    from .s3 import store_of

    with ExitStack() as stack:
        executor = stack.enter_context(lithops.FunctionExecutor(log_level=None))
        private = stack.enter_context(PrivateDirectory().guard()).directory if is_local(executor) else None
        functions = Functions(executor, 1, private, stack)
        places = tuple((place, store_of(place, executor.config)) for place in data)
        probe = Probe(name.of_installed(), redis and functions.address(redis), places)
        executor, (future,) = functions.launch([probe], look)
        return _result(executor, future)


def _result(executor: Any, future: Any) -> list[Finding]:
    from lithops.wait import ALWAYS

    deadline = time.monotonic() + SECONDS
    while not (future.error or future.done or future.success):
        if time.monotonic() > deadline:
            raise RunError(f"no answer in {SECONDS:.0f} s")
        executor.wait([future], throw_except=False, return_when=ALWAYS, show_progressbar=False)
        time.sleep(POLL)
    found: list[Finding] = future.result(throw_except=True)
    return found


def main() -> None:
    """Read what to look at, and print what was found."""
    try:
        found = launch(**json.load(sys.stdin))
    except Exception as error:  # of whatever the function has met
        found = [Finding("wrong", "function", f"{type(error).__name__}: {str(error)[:500]}")]
    print(json.dumps([asdict(one) for one in found]))


if __name__ == "__main__":
    main()
