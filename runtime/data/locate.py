"""From names to files, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from .s3 import S3Objects
from .store import File, LocalFiles, Store


def store_for(name: str, config: Mapping[str, Any] | None = None) -> Store:
    """The store of a path or of ``s3://bucket/key``.

    Parameters
    ----------
    name : str
        Of a file, or a pattern.
    config : mapping, optional
        A Lithops configuration, whose ``aws_s3`` and ``aws`` sections say how to reach S3.

    Raises
    ------
    DataError
        For another scheme.
    """
    scheme, separator, _ = name.partition("://")
    if not separator:
        return LocalFiles()
    if scheme == "s3":
        return S3Objects.configured(config)
    raise DataError(f"{name}: allowed are paths on this machine and s3://bucket/key")


def locate(names: Sequence[str], config: Mapping[str, Any] | None = None) -> list[File]:
    """The files that paths and patterns stand for, in their order; all in one store.

    Raises
    ------
    DataError
        One is not there, or they are in several stores.
    """
    stores = [store_for(name, config) for name in names]
    for name, store in zip(names, stores, strict=True):
        check_place(store, name, stores[0], names[0])
    return [file for name in names for file in stores[0].expand(name)]


def check_place(store: Store, name: str, other: Store, its: str) -> None:
    """Refuse a data set that is in two stores."""
    if store != other:
        raise DataError(
            f"{its} and {name} are in different places; the files of one data set, its target among them, must "
            "all be on this machine, or all on S3"
        )
