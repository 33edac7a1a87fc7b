"""Which columns are features and which is the target, and what dtype numbers get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError

Column = str | int


def shorten(text: str, limit: int = 40) -> str:
    """``text`` quoted for an error message, cut after ``limit`` characters."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}... ({len(text):,} characters)"


def listed(names: Sequence[object], limit: int = 12) -> str:
    """Names for an error message, at most ``limit`` of them."""
    shown = ", ".join(shorten(name) if isinstance(name, str) else repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names):,} in all)"


def find_column(column: Any, width: int, names: Sequence[str] | None, where: str) -> int:
    """Index of a column that is given by name or by number; a negative number counts from the end."""
    if isinstance(column, str):
        if names is None:
            raise DataError(f"{where} has no column names: give column {column!r} as a number, 0 to {width - 1}")
        if column not in names:
            raise DataError(f"{where} has no column {column!r}; its columns are {listed(names)}")
        return list(names).index(column)
    if isinstance(column, bool | np.bool_) or not isinstance(column, int | np.integer):
        raise DataError(f"{where}: a column is a name or a number, not {column!r}")
    if not -width <= column < width:
        raise DataError(f"{where} has no column {column}; it has {width}, numbered from 0 to {width - 1}")
    return int(column) % width


def column_number(target: Any) -> int | None:
    """``target`` if it is the number of a column, as opposed to a path or an array."""
    if isinstance(target, bool | np.bool_):
        raise DataError(f"target={target!r}: a column is a name or a number")
    return int(target) if isinstance(target, int | np.integer) else None


def choose_columns(
    columns: Sequence[Column] | None,
    target: Column | None,
    width: int,
    names: Sequence[str] | None,
    where: str,
) -> tuple[tuple[int, ...], int | None]:
    """Indices of the features, and of the target if it is a column.

    Parameters
    ----------
    columns : sequence of str or int, or None
        The features in the order in which they are wanted; None for all, less the target.
    target : str, int or None
        Column of the target.
    width : int
        Columns of the data.
    names : sequence of str, or None
        Their names, if they have any.
    where : str
        What the data is called in an error message.
    """
    goal = None if target is None else find_column(target, width, names, where)
    if columns is None:
        features = tuple(index for index in range(width) if index != goal)
    elif isinstance(columns, str | int) or not hasattr(columns, "__iter__"):
        raise DataError(f"columns={columns!r}: give a list of column names or numbers")
    else:
        features = tuple(find_column(column, width, names, where) for column in columns)
    if not features:
        raise DataError(f"{where}: no features are left; of {width} column(s), the target is {target!r}")
    if len(set(features)) < len(features):
        raise DataError(f"columns={list(columns or ())!r}: a column is there twice")
    if goal in features:
        raise DataError(f"columns={list(columns or ())!r}: the target {target!r} cannot be a feature as well")
    return features, goal


def check_dtype(dtype: Any) -> np.dtype | None:
    """The dtype that a caller asked for: float32, float64, or None."""
    if dtype is None:
        return None
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise DataError(f"dtype={dtype!r}: float32, float64 and None are allowed") from None
    if wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DataError(f"dtype={wanted}: float32, float64 and None are allowed")
    return wanted


def working_dtype(stored: np.dtype, where: str) -> np.dtype:
    """The dtype in which numbers of the dtype ``stored`` are worked on."""
    if stored.kind in "biu" or (stored.kind == "f" and stored.itemsize == 8):
        return np.dtype(np.float64)
    if stored.kind == "f" and stored.itemsize < 8:
        return np.dtype(np.float32)
    raise DataError(
        f"{where} has dtype {stored}; allowed are float32, float64, float16 (becomes float32), and integers and "
        "bool (become float64)"
    )


def check_matrix(shape: tuple[int, ...], where: str) -> None:
    """Refuse what is not a table with rows and columns."""
    if len(shape) == 1:
        raise DataError(
            f"{where} has shape {shape}; features are two-dimensional, (n, d): use reshape(-1, 1) for one "
            "feature, reshape(1, -1) for one row"
        )
    if len(shape) != 2:
        raise DataError(f"{where} has shape {shape}; features are two-dimensional, (n, d)")
    if shape[0] == 0:
        raise DataError(f"{where} has shape {shape}: no rows; at least one is needed")
    if shape[1] == 0:
        raise DataError(f"{where} has shape {shape}: no columns; at least one is needed")


def check_target(shape: tuple[int, ...], rows: int, where: str) -> None:
    """Refuse a target that is not one number for each of ``rows`` rows."""
    if len(shape) != 1:
        hint = "; use ravel()" if len(shape) == 2 and 1 in shape else ""
        raise DataError(f"{where} has shape {shape}; a target is one-dimensional, ({rows},){hint}")
    if shape[0] != rows:
        raise DataError(f"{where} has {shape[0]} values, but there are {rows} rows; each row needs one")
