"""Arrays in memory become files or objects, and come back as they were."""

from __future__ import annotations

import os
import pickle
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from data_helpers import check_workers, small

from biglambda.runtime.data import (
    ArraySource,
    NpySource,
    StorageNpySource,
    delete_spooled,
    describe,
    spool,
    spool_to_storage,
    storage,
)
from biglambda.runtime.errors import DataError

X = np.random.default_rng(0).standard_normal((50, 3))
Y = np.arange(50.0)


@pytest.mark.parametrize("data", [X, (X, Y), describe(X, Y), describe(np.asfortranarray(X), 1, dtype=np.float32)])
def test_spooled_arrays_come_back_from_private_files(tmp_path: Path, data: object) -> None:
    source = spool(data, tmp_path)
    assert isinstance(source, NpySource)
    assert not source.in_memory
    assert len(pickle.dumps(source)) < 1000
    for name in os.listdir(tmp_path):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert len(os.listdir(tmp_path)) == 1 + source.has_target
    original = data if isinstance(data, ArraySource) else describe(*(data if isinstance(data, tuple) else (data,)))
    rows, target, _ = original.read(0, 1, 1).align(None)
    with small(4):
        check_workers(source, 3, rows, target)


def test_bounds_survive(tmp_path: Path) -> None:
    with small(4):
        source = replace(describe(X, Y), bounds=(0, 40, 50))
        assert [spool(source, tmp_path).read(worker, 2, 1).count for worker in range(2)] == [40, 10]
        check_workers(spool(source, tmp_path), 2, X, Y)


def test_only_the_target_of_files_is_written(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "spool").mkdir()
    source = spool(describe(tmp_path / "a.npy", Y), tmp_path / "spool")
    assert not source.in_memory
    assert [name[0] for name in os.listdir(tmp_path / "spool")] == ["y"]
    check_workers(source, 2, X, Y)


def test_a_source_of_files_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    source = describe(tmp_path / "a.npy")
    assert spool(source, tmp_path) is source


def test_a_directory_that_cannot_take_the_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"cannot write to the directory {tmp_path}/none"):
        spool(X, tmp_path / "none")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_no_file_is_left_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "X.npy"
    path.touch()
    full = os.open("/dev/full", os.O_WRONLY)
    with (
        mock.patch("tempfile.mkstemp", return_value=(full, str(path))),
        pytest.raises(DataError, match="cannot write 1,200 bytes"),
    ):
        spool(X, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def bucket() -> Iterator[str]:
    from lithops.constants import LITHOPS_TEMP_DIR

    name = f"biglambda-test-{uuid.uuid4().hex}"
    yield name
    shutil.rmtree(os.path.join(LITHOPS_TEMP_DIR, name), ignore_errors=True)


@pytest.fixture(scope="module")
def localhost() -> object:
    from lithops.storage import Storage

    return Storage(config={"lithops": {"storage": "localhost"}})


@pytest.mark.parametrize("part_bytes", [1, 24 * 7, 1 << 26])
@pytest.mark.parametrize("workers", [1, 3, 9])
def test_each_worker_gets_its_own_rows_from_storage(localhost, bucket, part_bytes: int, workers: int) -> None:  # type: ignore[no-untyped-def]
    with (
        small(4),
        mock.patch.object(storage, "PART_BYTES", part_bytes),
        mock.patch.object(storage, "GET_BYTES", 24 * 5),
    ):
        source = spool_to_storage((X, Y), localhost, bucket, "run/1")
        assert isinstance(source, StorageNpySource)
        assert (source.n_rows, source.n_features, source.has_target, source.in_memory) == (50, 3, True, False)
        check_workers(source.with_storage(localhost), workers, X, Y)
        unpickled = pickle.loads(pickle.dumps(source))
        assert unpickled.storage is None
        with mock.patch.dict(os.environ, {"LITHOPS_CONFIG": '{"lithops": {"storage": "localhost"}}'}):
            check_workers(source, workers, X, Y)
        delete_spooled(source)
        assert localhost.list_keys(bucket) == []
        with pytest.raises(DataError, match=f"{bucket}/run/1/X-00000.npy in the storage backend localhost"):
            source.read(0, 1, 1)
        delete_spooled(source)


def test_a_worker_gets_no_more_bytes_than_its_rows(localhost, bucket) -> None:  # type: ignore[no-untyped-def]
    with small(4):
        source = spool_to_storage(X.astype(np.float32), localhost, bucket, "run")
        with mock.patch.object(localhost, "get_object", wraps=localhost.get_object) as get:
            part = source.read(1, 3, 2)
        bodies = [call.kwargs["extra_get_args"]["Range"] for call in get.call_args_list]
    low, high = part.first, part.first + part.count
    assert bodies == [f"bytes={128 + 12 * low}-{128 + 12 * high - 1}"]


def test_any_source_can_be_written_to_storage(localhost, bucket, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    np.savetxt(tmp_path / "a.csv", X, fmt="%.17g", delimiter=",", header="a,b,c", comments="")
    source = spool_to_storage(describe(tmp_path / "a.csv", "c"), localhost, bucket, "run", threads=2)
    assert source.feature_names == ("a", "b")
    check_workers(source, 2, X[:, :2], X[:, 2])


def test_nothing_is_left_when_writing_fails(localhost, bucket) -> None:  # type: ignore[no-untyped-def]
    put = localhost.put_object

    def fail(bucket: str, key: str, body: bytes) -> None:
        if "/y" in key:
            raise OSError("the network is down")
        put(bucket, key, body)

    with mock.patch.object(localhost, "put_object", fail), pytest.raises(OSError, match="the network is down"):
        spool_to_storage((X, Y), localhost, bucket, "run")
    assert localhost.list_keys(bucket) == []


def test_an_object_that_was_cut_is_refused(localhost, bucket) -> None:  # type: ignore[no-untyped-def]
    source = spool_to_storage(X, localhost, bucket, "run")
    key = source.X[0].key
    localhost.put_object(bucket, key, localhost.get_object(bucket, key)[:-8])
    with pytest.raises(DataError, match="1,192 bytes came for the 1,200 from byte 128"):
        source.read(0, 1, 1)


def test_credentials_are_neither_shown_nor_pickled(localhost, bucket) -> None:  # type: ignore[no-untyped-def]
    source = spool_to_storage(X, localhost, bucket, "run")
    with mock.patch.dict(localhost.config, {"secret": "s3cr3t"}):
        assert "s3cr3t" not in repr(source)
        assert b"s3cr3t" not in pickle.dumps(source)
