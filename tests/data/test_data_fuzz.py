"""Random bytes are rows or a DataError, never another exception."""

from __future__ import annotations

import os
import tempfile

import numpy as np
from data_helpers import read_workers, small
from hypothesis import given, settings
from hypothesis import strategies as st

from biglambda.runtime.data import describe
from biglambda.runtime.errors import DataError


def read_or_refuse(raw: bytes, suffix: str, workers: int, **options: object) -> None:
    with tempfile.TemporaryDirectory() as folder, small(2, 8):
        path = os.path.join(folder, "data" + suffix)
        with open(path, "wb") as file:
            file.write(raw)
        try:
            parts = read_workers(describe(path, **options), workers)  # type: ignore[arg-type]
        except DataError:
            return
        whole = np.concatenate([X for X, _, _ in parts])
        ((alone, _, _),) = read_workers(describe(path, **options), 1)  # type: ignore[arg-type]
        np.testing.assert_array_equal(whole, alone)


ALPHABET = st.sampled_from(
    ["1", "2", "0.5", ",", ",", "\n", "\n", "\r\n", "\r", '"', " ", "x", "\0", "\ufeff", "\udcff"]
)

TEXTS = st.lists(ALPHABET, max_size=30).map(lambda parts: "".join(parts).encode(errors="surrogateescape"))


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.integers(1, 4), st.sampled_from(["auto", True, False]))
def test_bytes_that_look_like_csv(raw: bytes, workers: int, header: object) -> None:
    read_or_refuse(raw, ".csv", workers, header=header)
    read_or_refuse(raw, ".csv", workers, header=header, columns=[0])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 3))
def test_any_bytes_as_csv(raw: bytes, workers: int) -> None:
    read_or_refuse(raw, ".csv", workers)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_npy(raw: bytes) -> None:
    read_or_refuse(raw, ".npy", 2)
    read_or_refuse(b"\x93NUMPY\x01\x00" + raw, ".npy", 2)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 127), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_npy_header(position: int, change: bytes, cut: bool) -> None:
    with tempfile.TemporaryFile() as file:
        np.save(file, np.arange(12.0).reshape(6, 2))
        file.seek(0)
        raw = bytearray(file.read())
    raw[position : position + (len(change) if not cut else 8)] = change
    read_or_refuse(bytes(raw), ".npy", 2)
