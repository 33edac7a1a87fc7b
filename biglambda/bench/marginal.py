"""The cost of one more iteration of a fit, without what a fit does only once."""

from __future__ import annotations

import time
from collections.abc import Callable

from .case import NotHere
from .timing import Timer

SHORT = 2  # iterations of the shorter fit
MOST, FEWEST = 30, 3  # iterations that the longer one has more
OUTWEIGHS = 2.0  # times the shorter fit
LONG_ENOUGH = 0.3  # seconds that these should take


def marginal(fit: Callable[[int], int]) -> Timer:
    """A timer of iterations: the time of a long fit less that of a short one, shared out.

    Parameters
    ----------
    fit : callable
        Fits with so many iterations at most, and returns how many there were.

    Raises
    ------
    NotHere
        By the timer, if the fit converges so early that there is no difference to take.
    """
    more = 0

    def seconds(iterations: int) -> float:
        start = time.perf_counter()
        done = fit(iterations)
        elapsed = time.perf_counter() - start
        if done != iterations:
            raise NotHere(f"converged after {done} of {iterations} iterations")
        return elapsed

    def timer() -> float:
        nonlocal more
        if not more:
            seconds(SHORT)
            once = seconds(SHORT)
            each = (seconds(SHORT + FEWEST) - once) / FEWEST
            # What a fit does once varies from fit to fit (it copies the rows): what is measured must outweigh it.
            enough = max(LONG_ENOUGH, OUTWEIGHS * once)
            more = min(MOST, max(FEWEST, round(enough / max(each, 1e-6))))
            more = min(more, fit(SHORT + more) - SHORT)
            if more < FEWEST:
                raise NotHere(f"converges after {SHORT + more} iterations")
        fit(SHORT)  # after a pause the first fit is slow, and would make the difference small
        short = seconds(SHORT)
        return (seconds(SHORT + more) - short) / more

    return timer
