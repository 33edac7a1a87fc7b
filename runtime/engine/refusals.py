"""Functions that a backend refuses to start: Lithops invokes them in threads of its own and tells nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_LENGTH = 500
"""Characters of a reason; a backend may repeat what it was sent."""


class Refusals:
    """What was refused, and why.

    Without it, a function that does not exist would be waited for until the arrival time-out, and Lithops'
    ``get_result`` would wait for ever.
    """

    def __init__(self) -> None:
        self._reasons: dict[tuple[str, str, str], str] = {}

    def add(self, payload: dict[str, Any], error: Exception) -> None:
        """Keep why the calls of a payload were refused."""
        for call in payload["call_ids"]:
            self._reasons[payload["executor_id"], payload["job_id"], call] = shortened(error)

    def of(self, future: Any) -> str | None:
        """Why the call of a future was refused; None if it was not."""
        if not self._reasons:  # the futures of other executors than Lithops' own may have no such numbers
            return None
        return self._reasons.get((future.executor_id, future.job_id, future.call_id))


@contextmanager
def refusals_of(executor: Any) -> Iterator[Refusals]:
    """Listen to what the backend of a Lithops executor says to each invocation."""
    refusals, handler = Refusals(), getattr(executor, "compute_handler", None)
    if handler is None:
        yield refusals
        return
    invoke = handler.invoke

    def listen(payload: dict[str, Any]) -> Any:
        try:
            return invoke(payload)
        except Exception as error:
            refusals.add(payload, error)
            raise

    handler.invoke = listen
    try:
        yield refusals
    finally:
        handler.invoke = invoke


def shortened(error: Exception) -> str:
    """What an error says, and no more of it than anybody reads."""
    said = str(error)
    return f"{type(error).__name__}: {said if len(said) <= MAX_LENGTH else f'{said[:MAX_LENGTH]}...'}"
