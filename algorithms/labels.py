"""Where the labels of the rows go: back to the caller, to a store, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from biglambda.runtime.data import LocalFiles, MissingError, StoredArray, store_for
from biglambda.runtime.data.parts import SUFFIX
from biglambda.runtime.engine import check_place
from biglambda.runtime.errors import DataError

ALLOWED = "allowed are 'return', 'store' together with labels_to, and None"


def check_labels(labels: Any, labels_to: Any) -> str | None:
    """The place to which labels are written, or None, if the two parameters fit each other."""
    if labels is not None and (not isinstance(labels, str) or labels not in ("return", "store")):
        raise ValueError(f"labels={labels!r}: {ALLOWED}")
    if (labels == "store") != (labels_to is not None):
        raise ValueError(f"labels={labels!r} with labels_to={labels_to!r}: {ALLOWED}")
    return None if labels_to is None else check_place("labels_to", labels_to)


def load_labels(place: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> StoredArray:
    """Open the labels that the workers of a fit wrote.

    Parameters
    ----------
    place : path
        The folder of the run, ``PLACE/RUN``, or the ``labels.json`` in it, on this machine or on S3.
    config : mapping, optional
        A Lithops configuration, whose ``aws_s3`` and ``aws`` sections say how to reach S3.

    Returns
    -------
    StoredArray of shape (n,), int32
        Read as far as it is asked for: ``labels[low:high]`` needs the memory of so many, `numpy.asarray` that of
        all.

    Raises
    ------
    DataError
        There are no labels, or they are damaged.
    """
    name = os.fspath(place)
    store = store_for(name, config)
    if not name.endswith(SUFFIX):
        name = f"{name.rstrip('/')}/labels{SUFFIX}"
    if isinstance(store, LocalFiles):
        name = store.absolute(name)
    labels = StoredArray(name, store)
    try:
        _ = labels.manifest
    except MissingError as error:
        raise DataError(
            f"there are no labels: {error}. Allowed is the folder of a run that ended well, PLACE/RUN"
        ) from error
    return labels
