"""What a check found, and checks that end in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

LIMIT = 5.0
"""Seconds that a check may take."""

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    verdict : {"ok", "warning", "wrong"}
        A run will not work with what is wrong; what there is a warning of may be meant so.
    subject : str
        What was looked at.
    found : str
    advice : str
        What to do; nothing if it is ok.
    """

    verdict: Verdict
    subject: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:7} {self.subject}: {self.found}{f'. {self.advice}' if self.advice else ''}"


Check = Callable[[], Iterator[Finding]]
"""Looks at one thing. What it raises is a finding, too."""


@dataclass(frozen=True)
class Step:
    """A check, as it is called if it fails.

    Attributes
    ----------
    subject : str
    check : Check
    is_needed : bool
        Whether what follows it makes no sense after something wrong.
    limit : float
        Seconds that it may take.
    """

    subject: str
    check: Check
    is_needed: bool = False
    limit: float = LIMIT


def examine(steps: Iterable[Step]) -> Iterator[Finding]:
    """All that is found, step by step, until something is wrong that the rest needs."""
    for step in steps:
        found = _in_time(step)
        yield from found
        if step.is_needed and any(one.verdict == "wrong" for one in found):
            return


def _in_time(step: Step) -> list[Finding]:
    """What a check found within its limit. One that hangs is left behind: its own waits are bounded as well."""
    found: list[Finding] = []

    def run() -> None:
        try:
            for one in step.check():
                found.append(one)
        except Exception as error:
            said = str(error) or type(error).__name__
            found.append(Finding("wrong", step.subject, said))

    thread = threading.Thread(target=run, name=f"biglambda-doctor-{step.subject}", daemon=True)
    thread.start()
    thread.join(step.limit)
    if thread.is_alive():
        hint = "Is there a firewall or security group between?"
        return [*found, Finding("wrong", step.subject, f"no answer in {step.limit:.0f} s", hint)]
    return found
