"""What a function of Lithops finds out about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...runtime.data.s3 import S3Objects
from .. import name
from . import machine, redis, s3
from .finding import Finding, Step, examine


@dataclass(frozen=True)
class Probe:
    """What a function is told to look at.

    Attributes
    ----------
    client : Origin
        What the client has.
    redis : str or Path, optional
        URL, or on the client's machine the private file that holds it.
    data : tuple of (str, S3Objects)
        Places on S3, and how to reach them.
    attempt : int
        As all jobs have one.
    """

    client: name.Origin
    redis: str | Path | None = None
    data: tuple[tuple[str, S3Objects], ...] = ()
    attempt: int = 1

    def __repr__(self) -> str:
        return "Probe()"


def look(probe: Probe) -> list[Finding]:
    """What there is to be found where this runs."""
    steps = [*machine.steps(), Step("sources", partial(_sources, probe.client))]
    found = list(examine(steps))
    if probe.redis is not None:
        url = probe.redis.read_text() if isinstance(probe.redis, Path) else probe.redis
        found += examine(redis.from_here(url))
    for place, store in probe.data:
        found += examine(s3.steps(store, place))
    return [replace(one, subject=f"function: {one.subject}") for one in found]


def _sources(client: name.Origin) -> Iterator[Finding]:
    differences = name.of_installed().differences(client)
    if differences:
        advice = "Run `biglambda runtime deploy`, and set runtime to the image that it names"
        yield Finding("wrong", "sources", f"the function has {', '.join(differences)}", advice)
    else:
        yield Finding("ok", "sources", f"those of this client ({client.code})")
