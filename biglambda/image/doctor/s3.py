"""A place on S3, where data are read or results are written."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ...runtime.data import store_for
from ...runtime.data.s3 import SCHEME, S3Objects
from ...runtime.data.store import MissingError, try_out
from ...runtime.errors import DataError
from .finding import Finding, Step

READS = 5


def store_of(place: str, config: Mapping[str, Any] | None) -> S3Objects:
    """The store of ``s3://bucket``, a folder, an object or a pattern.

    Raises
    ------
    DataError
        It is not on S3.
    """
    store = store_for(place, config)
    if not isinstance(store, S3Objects):
        raise DataError(f"--data {place}: allowed is s3://bucket, with a folder, an object or a pattern")
    return store


def impatient(store: S3Objects) -> S3Objects:
    """The same, asked once: a run is patient, and a check is not."""
    return replace(store, attempts=1, connect_timeout=2.0, read_timeout=2.5)


def steps(store: S3Objects, place: str) -> list[Step]:
    """What to look at, where a run is to read or to write."""
    store = impatient(store)
    where = store.endpoint or "Amazon's endpoint"
    return [
        Step("S3 reading", partial(_read, store, place, where), is_needed=True),
        Step("S3 writing", partial(_write, store, folder_of(place))),
    ]


def folder_of(place: str) -> str:
    """The folder that a pattern, object or folder is in, without a slash at its end."""
    bucket, _, key = place.removeprefix(SCHEME).partition("/")
    fixed = key[: next((at for at, one in enumerate(key) if one in "*?["), len(key))]
    return f"{SCHEME}{bucket}/{fixed.rpartition('/')[0]}".rstrip("/")


def _read(store: S3Objects, place: str, where: str) -> Iterator[Finding]:
    try:
        files = store.expand(place)
    except MissingError as error:
        yield Finding("warning", "S3 reading", f"{error}, at {where}", "There is nothing to read yet")
        return
    size = sum(file.size for file in files)
    yield Finding("ok", "S3 listing", f"{place} at {where}: {len(files):,} objects, {size / 1e9:,.3f} GB")
    seconds = []
    for _ in range(READS):
        start = time.perf_counter()
        files[0].read(0, 1)
        seconds.append(time.perf_counter() - start)
    yield Finding("ok", "S3 reading", f"the first byte after {1000 * statistics.median(seconds):.1f} ms")


def _write(store: S3Objects, folder: str) -> Iterator[Finding]:
    try:
        try_out(store, f"{folder}/biglambda-doctor-{secrets.token_hex(8)}.try")
    except DataError as error:
        advice = "To read data does not need it; labels, checkpoints and models do"
        yield Finding("warning", "S3 writing", str(error), advice)
        return
    yield Finding("ok", "S3 writing", f"objects in {folder}/ can be written and deleted")
