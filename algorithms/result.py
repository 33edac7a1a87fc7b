"""What all results share: saving, loading, and reading rows to predict."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from biglambda.runtime.data import describe
from biglambda.runtime.errors import DataError
from biglambda.runtime.private import replaced
from biglambda.runtime.resources import usable_cpus
from biglambda.runtime.rows import Rows

from .statistics import check_record, describe_rows

_NOT_SAVED = ("trace", "cost")


class FitResult:
    """A fitted model that can be saved and loaded."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to one ``.npz`` file, which NumPy can read; the trace and the cost stay behind.

        The file appears whole or not at all.

        Returns
        -------
        Path
            Where it is, with the suffix ``.npz``.
        """
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_SAVED}  # type: ignore[arg-type]
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        others = {name: value for name, value in values.items() if name not in arrays}
        about = json.dumps({"model": type(self).__name__, **others})
        if not path.parent.is_dir():
            raise FileNotFoundError(f"cannot save to {path}: the directory {path.parent} does not exist")
        with replaced(path, 0o666 & ~_umask()) as file:
            np.savez(file, allow_pickle=False, about=np.array(about), **arrays)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        DataError
            If the file holds something else.
        """
        path = Path(path)
        if not path.exists() and path.suffix != ".npz":
            path = path.with_name(path.name + ".npz")  # as `save` calls it
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")[()]))
            model = about.pop("model")
        except (KeyError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, EOFError) as error:
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


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
