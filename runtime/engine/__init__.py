"""Where a run runs: in this process, or on the functions of a Lithops executor."""

from __future__ import annotations

from ..algorithm import Algorithm
from ..data import Source
from .options import RunOptions, check_place
from .outcome import Outcome, RunTrace

__all__ = ["Outcome", "RunOptions", "RunTrace", "check_place", "run"]


def run(source: Source, algorithm: Algorithm, outputs: tuple[str, ...], options: RunOptions) -> Outcome:
    """Run an algorithm over a source.

    Parameters
    ----------
    source : Source
        The data set.
    algorithm : Algorithm
        What to compute.
    outputs : tuple of str
        Which of the algorithm's values for each row come back, in the order of the rows, or are stored.
    options : RunOptions
        Where and how to run.

    Raises
    ------
    DataError
        If the data, or a parameter that must fit them, cannot be used.
    RunError
        If a worker failed or did not arrive, or Redis was lost.
    """
    if options.in_process:
        from . import local

        return local.run(source, algorithm, outputs, options)
    from . import lithops

    return lithops.run(source, algorithm, outputs, options)
