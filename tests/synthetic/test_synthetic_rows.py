"""What the rows are: the distributions that are promised, the same wherever they are made."""

from __future__ import annotations

import hashlib
import io
import itertools
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from biglambda.synthetic import formats
from biglambda.synthetic.formats import encode
from biglambda.synthetic.kinds import TAIL, TAIL_STEP, Blobs, Kind, Logistic, normals, stream

ARROW = {"float32": "float", "float64": "double"}
BLOBS, LOGISTIC = Blobs(3, 4, 5, 0.5), Logistic(3, 4)


def rows(kind: Kind, first: int, count: int, dtype: str = "float64", kind_of_file: str = "npy") -> np.ndarray:
    """A part, read by libraries that are not ours."""
    data = io.BytesIO(encode(kind, first, count, dtype, kind_of_file))
    if kind_of_file == "npy":
        return np.load(data)
    if kind_of_file == "csv":
        table = csv.read_csv(data)
    else:
        table = parquet.read_table(data)
        assert {str(field.type) for field in table.schema} <= {ARROW[dtype], "int8"}
    return np.column_stack([column.to_numpy() for column in table.columns])


@pytest.mark.parametrize("kind", [BLOBS, LOGISTIC])
def test_a_row_is_the_same_in_every_part_format_and_number_of_rows(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "BATCH_BYTES", 100_000)  # so that a part has several batches
    whole = rows(kind, 0, 5_000)
    assert len({row.tobytes() for row in whole}) == 5_000
    for kind_of_file in ("npy", "csv", "parquet"):
        np.testing.assert_array_equal(rows(kind, 0, 5_000, kind_of_file=kind_of_file), whole)
        for first, count in ((0, 1), (0, 1_024), (1_024, 1_025), (4_096, 904)):
            part = rows(kind, first, count, kind_of_file=kind_of_file)
            np.testing.assert_array_equal(part, whole[first : first + count])
        single = rows(kind, 0, 5_000, "float32", kind_of_file).astype(np.float32)
        np.testing.assert_array_equal(single, whole.astype(np.float32))


def test_seeds_kinds_and_chunks_share_no_numbers() -> None:
    streams = itertools.product((0, 1), (0, 1), (0, 1, 2**40))
    drawn = [stream(seed, what, number).random(1_000) for seed, what, number in streams]
    assert len(np.unique(np.concatenate(drawn))) == 12_000


def test_columns_have_names_and_a_target_is_0_or_1() -> None:
    text = bytes(encode(LOGISTIC, 0, 50, "float32", "csv")).decode().splitlines()
    assert text[0] == "x0,x1,x2,x3,y"
    assert {line.rpartition(",")[2] for line in text[1:]} == {"0", "1"}
    table = parquet.read_table(io.BytesIO(encode(LOGISTIC, 0, 50, "float32", "parquet")))
    assert table.schema.names == text[0].split(",")
    assert table.schema.field("y").type == pyarrow.int8()
    assert set(rows(LOGISTIC, 0, 50)[:, 4]) == {0.0, 1.0}


def test_normal_numbers_are_normal_and_the_far_ones_rounded() -> None:
    z = normals(stream(1, 1), (1_000_000,))
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - expected) < 5 * np.sqrt(variance / len(z))
    far = z[np.abs(z) > TAIL]
    assert abs(len(far) - 262.2) < 5 * np.sqrt(262.2)
    assert (far / TAIL_STEP == np.rint(far / TAIL_STEP)).all()
    assert np.abs(z).max() > 4


def test_blobs_lie_around_their_centers_in_equal_numbers() -> None:
    kind = Blobs(7, 3, 4, 0.01)
    x = rows(kind, 0, 20_000)
    cluster = ((x[:, None] - kind.centers) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.bincount(cluster, minlength=4)
    assert (abs(counts - 5_000) < 5 * np.sqrt(20_000 * 0.25 * 0.75)).all()
    around = x - kind.centers[cluster]
    assert (abs(around.mean(axis=0)) < 5 * 0.01 / np.sqrt(20_000)).all()
    assert (abs(around.std(axis=0) / 0.01 - 1) < 5 / np.sqrt(2 * 20_000)).all()
    assert kind.centers.min() >= -10
    assert kind.centers.max() < 10


def test_a_target_is_1_as_often_as_the_model_says() -> None:
    kind = Logistic(11, 6)
    data = rows(kind, 0, 50_000)
    probability = 1 / (1 + np.exp(-(data[:, :-1] @ kind.weights + kind.intercept)))
    edges = np.linspace(0, 1, 11)
    for low, high in itertools.pairwise(edges):
        inside = (low <= probability) & (probability < high)
        assert inside.sum() > 1_000
        expected, variance = probability[inside].sum(), (probability * (1 - probability))[inside].sum()
        assert abs(data[inside, -1].sum() - expected) < 5 * np.sqrt(variance)


KNOWN = {
    ("blobs", "npy"): "a7d957e8a3fab33a",
    ("blobs", "csv"): "3f0832982e0f6f82",
    ("logistic", "npy"): "2a578112cfea2cdc",
    ("logistic", "csv"): "9d5040f804203c3c",
}


@pytest.mark.parametrize(("kind", "kind_of_file"), KNOWN)
def test_the_bytes_of_a_part_do_not_change_between_versions(kind: str, kind_of_file: str) -> None:
    """Only NumPy (its normal numbers, the header of .npy) or pyarrow (how CSV shows numbers) may change them."""
    data: Any = encode(BLOBS if kind == "blobs" else LOGISTIC, 1_024, 2_000, "float64", kind_of_file)
    assert hashlib.sha256(data).hexdigest()[:16] == KNOWN[kind, kind_of_file]
