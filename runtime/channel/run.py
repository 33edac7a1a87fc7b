"""What both ends of a run have in common: its keys, and how it is ended."""

from __future__ import annotations

import re

from ..algorithm import State
from ..errors import RunError
from . import codec
from .link import Link
from .reason import Reason

_ABORT_PATIENCE = 6.0


def run_keys(run: str) -> tuple[str, ...]:
    """The keys of a run, in the order in which every script takes them; see ``lua/prelude.lua``.

    Raises
    ------
    ValueError
        ``run`` is not made of 1 to 64 letters, digits, ``_``, ``.`` and ``-``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", run):
        raise ValueError(f"a run's name is 1 to 64 letters, digits, '_', '.' or '-', not {run!r}")
    return tuple(f"biglambda:{{{run}}}:{key}" for key in "maslce")


def abort_run(link: Link, keys: tuple[str, ...], error: BaseException, worker: int | None, token: str) -> None:
    """End a run for everybody, with the reason. Never raises; ``worker`` is None for the client."""
    reason = Reason.of(error, worker)
    reason = Reason(reason.error, link.scrub(reason.message), worker)
    try:
        who = "" if worker is None else worker
        link.script("abort", keys, reason.pack(), who, token, patience=_ABORT_PATIENCE)
    except RunError:
        # The caller is about to raise what really went wrong. If Redis is lost, all others find that out too.
        return


def decode_state(data: bytes, run: str, link: Link) -> State:
    """The state that these bytes from Redis are, or a RunError."""
    try:
        return codec.decode(data)
    except ValueError as error:
        raise RunError(
            f"the state of run {run} that Redis at {link.address} gave is unreadable: {error}. Client and workers "
            "must have the same version of biglambda"
        ) from error


def milliseconds(seconds: float) -> int:
    """As the scripts take it: a positive integer."""
    return max(1, round(seconds * 1000))
