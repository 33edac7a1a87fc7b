"""``biglambda runtime doctor``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from ...runtime.channel.address import parse, scrub
from ...runtime.channel.server import find_binary
from ...runtime.engine.lithops import REDIS_VARIABLE, given_redis
from ...runtime.engine.options import MAX_WORKERS
from ...runtime.errors import DataError, RunError
from .. import aws
from . import functions, invoke, machine, redis, s3
from .finding import Finding, examine


def run(options: argparse.Namespace) -> int:
    """Print what is found; 1 if something is wrong."""
    if not 1 <= options.workers <= MAX_WORKERS:
        raise ValueError(f"--workers {options.workers}: allowed are 1 to {MAX_WORKERS:,}")
    found = []
    with_lithops = options.lithops or options.invoke
    for one in look(options.redis, options.data, with_lithops, options.workers, options.invoke):
        found.append(one)
        if not options.json:
            print(one, flush=True)
    wrong, warnings = (sum(one.verdict == verdict for one in found) for verdict in ("wrong", "warning"))
    if options.json:
        print(json.dumps({"wrong": wrong, "warnings": warnings, "findings": [asdict(one) for one in found]}))
    else:
        print(f"{wrong} wrong, {warnings} {'warning' if warnings == 1 else 'warnings'}")
    return int(wrong > 0)


def look(
    url: str | None,
    data: Sequence[str] = (),
    with_lithops: bool = False,
    workers: int = 1,
    with_function: bool = False,
) -> Iterator[Finding]:
    """All findings on a set-up, without secrets.

    Parameters
    ----------
    url : str or None
        Of the Redis; without one, what a run would find.
    data : sequence of str
        Places on S3.
    with_lithops : bool
        Whether to look at the Lithops configuration; else runs are on this machine.
    workers : int
        How many a run is to have.
    with_function : bool
        Whether to launch a function that looks around, if nothing was wrong before.
    """
    settings, refusal = _settings() if with_lithops else (None, None)
    config = settings.values if settings else None
    url = given_redis(url, config)
    secrets = [*(settings.secrets if settings else ()), *(_passwords(url) if url else ())]
    is_good = True
    for one in _look(settings, refusal, url, data, workers):
        is_good &= one.verdict != "wrong"
        yield _without(secrets, one)
    if with_function and is_good:
        for one in examine(invoke.steps(url, data)):
            yield _without(secrets, one)
    elif with_function:
        yield Finding("warning", "function", "none was launched", "Correct first what is wrong")


def _settings() -> tuple[aws.Configuration | None, Finding | None]:
    """The Lithops configuration, or what is wrong with it."""
    try:
        return aws.configuration(), None
    except RunError as error:
        return None, Finding("wrong", "Lithops configuration", str(error))


def _look(
    settings: aws.Configuration | None,
    refusal: Finding | None,
    url: str | None,
    data: Sequence[str],
    workers: int,
) -> Iterator[Finding]:
    yield from examine(machine.steps())
    elsewhere = settings is not None and settings.backend != "localhost"
    if url is None:
        yield from _without_redis(elsewhere)
    else:
        yield from examine(redis.steps(url, workers, elsewhere))
    for place in data:
        try:
            store = s3.store_of(place, settings.values if settings else None)
        except DataError as error:
            yield Finding("wrong", "S3", str(error))
        else:
            yield from examine(s3.steps(store, place))
    if refusal is not None:
        yield refusal
    if settings is not None:
        yield from examine(functions.steps(settings, workers, url))


def _without(secrets: Sequence[str], one: Finding) -> Finding:
    return replace(one, found=scrub(one.found, secrets), advice=scrub(one.advice, secrets))


def _passwords(url: str) -> tuple[str, ...]:
    try:
        return parse(url).secrets
    except ValueError:
        return ()  # the check of the address says so


def _without_redis(elsewhere: bool) -> Iterator[Finding]:
    if elsewhere:
        advice = f"Give --redis URL, set {REDIS_VARIABLE}, or add a redis section to the Lithops configuration"
        yield Finding(
            "wrong", "Redis", "none is given, and functions elsewhere need one that they can reach", advice
        )
        return
    try:
        yield Finding("ok", "Redis", f"none is given; runs of several workers here start {find_binary()}")
    except RunError as error:
        yield Finding("warning", "Redis", f"none is given, and runs of several workers need one: {error}")
