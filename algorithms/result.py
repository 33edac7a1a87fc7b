"""What all results share: saving, loading, and reading rows to predict."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from biglambda.runtime.data import LocalFiles, MissingError, StoredArray, describe, store_for
from biglambda.runtime.errors import DataError
from biglambda.runtime.private import replaced, usual_mode
from biglambda.runtime.resources import usable_cpus
from biglambda.runtime.rows import Rows

from .statistics import check_record, describe_rows

SUFFIX = ".npz"

_NOT_SAVED = ("trace", "cost")
_STORED = "stored"


class FitResult:
    """A fitted model that can be saved and loaded."""

    def save(self, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> Path | str:
        """Write the model to one ``.npz`` file, which NumPy can read; the trace and the cost stay behind.

        The file appears whole or not at all. Stored labels stay where they are: the model keeps their name.

        Parameters
        ----------
        path : path
            On this machine, or ``s3://bucket/key``.
        config : mapping, optional
            A Lithops configuration, whose ``aws_s3`` and ``aws`` sections say how to reach S3.

        Returns
        -------
        Path or str
            Where it is, with the suffix ``.npz``; a `str` on S3.
        """
        store = store_for(os.fspath(path), config)
        if not isinstance(store, LocalFiles):
            name = object_name(os.fspath(path))
            data = io.BytesIO()
            self._write(data)
            store.write(name, data.getbuffer())
            return name
        path = Path(path)
        path = path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"cannot save to {path}: the directory {path.parent} does not exist")
        with replaced(path, usual_mode()) as file:
            self._write(file)
        return path

    def _write(self, file: BinaryIO) -> None:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_SAVED}  # type: ignore[arg-type]
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        others = {
            name: {_STORED: value.name} if isinstance(value, StoredArray) else value
            for name, value in values.items()
            if name not in arrays
        }
        about = json.dumps({"model": type(self).__name__, **others})
        np.savez(file, allow_pickle=False, about=np.array(about), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> Self:
        """Read a model that `save` wrote. Its stored labels are opened when they are first used.

        Parameters
        ----------
        path : path
            On this machine, or ``s3://bucket/key``; ``.npz`` may be left out.
        config : mapping, optional
            As in `save`; for the labels, too.

        Raises
        ------
        DataError
            If the file holds something else.
        """
        opened = _opened(os.fspath(path), config)
        try:
            with np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")[()]))
            model = about.pop("model")
            for name, value in about.items():
                if isinstance(value, dict):
                    about[name] = _stored(value, config)
        except (
            KeyError, ValueError, AttributeError, TypeError, RecursionError, zipfile.BadZipFile, EOFError
        ) as error:  # fmt: skip
            raise DataError(f"{path} holds no saved {cls.__name__}: {error}") from None
        if model != cls.__name__:
            raise DataError(f"{path} holds a {model}: load it with {model}.load")
        known = {f.name for f in fields(cls)} - set(_NOT_SAVED)  # type: ignore[arg-type]
        if not known >= {*about, *arrays}:
            raise DataError(f"{path} was written by another version: unknown {sorted({*about, *arrays} - known)}")
        needed = {f.name for f in fields(cls) if f.default is MISSING}  # type: ignore[arg-type]
        if missing := needed - {*about, *arrays}:
            raise DataError(f"{path} is no complete {cls.__name__}: it lacks {sorted(missing)}")
        if about.get("feature_names") is not None:
            about["feature_names"] = tuple(about["feature_names"])
        return cls(**about, **arrays)


def object_name(name: str) -> str:
    """The name of a model on S3, with its suffix.

    Raises
    ------
    DataError
        It names a bucket or a folder.
    """
    if name.endswith("/") or "/" not in name.removeprefix("s3://"):
        raise DataError(f"{name!r} names no object; allowed is s3://bucket/key.npz")
    return name if name.endswith(SUFFIX) else name + SUFFIX


def _opened(name: str, config: Mapping[str, Any] | None) -> Path | BinaryIO:
    """What `numpy.load` can read a model from, under its name or that with the suffix."""
    store = store_for(name, config)
    if isinstance(store, LocalFiles):
        path = Path(name)
        is_short = not path.exists() and path.suffix != SUFFIX
        return path.with_name(path.name + SUFFIX) if is_short else path
    try:
        file = store.find(name)
    except MissingError:
        if name.endswith(SUFFIX):
            raise
        file = store.find(object_name(name))
    return io.BytesIO(file.read())


def _stored(told: dict[str, Any], config: Mapping[str, Any] | None) -> StoredArray:
    name = told[_STORED]
    if not isinstance(name, str) or not name.endswith(".json") or len(told) > 1:
        raise ValueError("what it says of a stored array is no name of a manifest")
    return StoredArray(name, store_for(name, config))


def rows_to_predict(
    data: Any, n_features: int, names: tuple[str, ...] | None, options: dict[str, Any]
) -> np.ndarray:
    """The rows of ``data``, checked as those of a fit are.

    Where the model and the data both have names, its features are found by them.

    Raises
    ------
    DataError
        For another number of features than the model's, NaN, or infinity.
    """
    source = describe(data, **options)
    if names is not None and source.feature_names not in (None, names) and options.get("columns") is None:
        source = describe(data, **{**options, "columns": names})
    if source.n_features != n_features:
        raise DataError(f"the data have {source.n_features} features, but the model was fitted to {n_features}")
    partition = source.read(0, 1, usable_cpus())
    x, y, first = partition.align([partition.count] if source.n_rows is None else None)
    check_record(describe_rows(Rows(x, y, first)), source.feature_names)
    return x
