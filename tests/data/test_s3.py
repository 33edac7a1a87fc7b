"""Objects of a real S3 server, over HTTP: the same rows as files, and plain words for whatever goes wrong."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as arrow
import pytest
from data_helpers import check_workers, small
from harness import run_workers
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.parquet import write_table
from s3_proxy import Proxy, cut, late, refuse, start_proxy, trickle

from benchmarks.s3_server import BUCKET, OWNER, STRANGER, S3Server
from biglambda import fit_kmeans
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.data import (
    File,
    LocalFiles,
    MissingError,
    S3Objects,
    Source,
    describe,
    npy_fetch,
    store_for,
)
from biglambda.runtime.errors import DataError

BYTES = np.random.default_rng(0).bytes(300_000)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def csv(array: np.ndarray) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in array.tolist()).encode()


def parquet(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    columns = {f"column {number}": column for number, column in enumerate(array.T)}
    write_table(arrow.table(columns), buffer, row_group_size=1_000)
    return buffer.getvalue()


FORMATS = {"npy": npy, "csv": csv, "parquet": parquet}


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with start_proxy(s3.endpoint) as proxy:
        yield proxy


def through(proxy: Proxy, **settings: Any) -> S3Objects:
    """A store that reaches the server through the proxy, and gives up soon."""
    return S3Objects(proxy.endpoint, **{"attempts": 3, "read_timeout": 1.0, "patience": 10.0, **settings})


@pytest.fixture
def random_file(s3: S3Server) -> File:
    return S3Objects.configured().find(s3.put("random", BYTES))


# What is read


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(BYTES) + 10), st.integers(0, len(BYTES)))
def test_any_range_has_the_bytes_of_the_object(s3_server: S3Server, offset: int, length: int) -> None:
    store = S3Objects(s3_server.endpoint, **OWNER)
    file = store.find(s3_server.put("random", BYTES))
    assert file.size == len(BYTES)
    assert file.read(offset, length) == BYTES[offset : offset + length]


def test_names_prefixes_and_patterns_are_found(s3: S3Server) -> None:
    keys = ["p/a/1.csv", "p/a/10.csv", "p/a/2.csv", "p/b/1.csv", "p/b/c/1.csv", "p/[x].csv", "p/x.csv"]
    for key in keys:
        s3.put(key, b"1\n")
    s3.put("p/folder/", b"")
    patterns = {
        "p/a/1.csv": ["p/a/1.csv"],
        "p/a/": ["p/a/1.csv", "p/a/10.csv", "p/a/2.csv"],
        "p/*/1.csv": ["p/a/1.csv", "p/b/1.csv"],
        "p/**/1.csv": ["p/a/1.csv", "p/b/1.csv", "p/b/c/1.csv"],
        "p/a/?.csv": ["p/a/1.csv", "p/a/2.csv"],
        "p/[ab]/2.csv": ["p/a/2.csv"],
        "p/[x].csv": ["p/[x].csv"],
        "p/b*/": ["p/b/1.csv", "p/b/c/1.csv"],
        "p/": sorted(keys),
    }
    store = store_for("s3://")
    for pattern, expected in patterns.items():
        found = store.expand(f"s3://{BUCKET}/{pattern}")
        assert [file.name for file in found] == [f"s3://{BUCKET}/{key}" for key in expected]
        assert [store.find(file.name) for file in found] == found
    with pytest.raises(DataError, match=r"no object matches s3://data/p/z\*$"):
        store.expand(f"s3://{BUCKET}/p/z*")


def test_a_prefix_of_more_objects_than_a_page_is_found(s3: S3Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda number: s3.put(f"many/{number:04d}", b"x"), range(1_001)))
    assert [file.name for file in S3Objects.configured().expand(f"s3://{BUCKET}/many/")] == names


DTYPES = ["<f8", ">f8", "<f4", "f2", "i1", "bool"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_npy_objects_give_the_rows_of_the_array(s3: S3Server, dtype: str, order: Any) -> None:
    whole = np.random.default_rng(1).integers(0, 2, (40, 3)).astype(dtype)
    for number, part in enumerate(np.split(whole, [7, 30])):
        s3.put(f"npy/{dtype}/{number}.npy", npy(np.asarray(part, order=order)))
    name = f"s3://{BUCKET}/npy/{dtype}/*.npy"
    target = s3.put(f"npy/y{dtype}.npy", npy(np.arange(40)))
    with small(4), mock.patch.object(npy_fetch, "PIECE_BYTES", 20):
        for workers in (1, 3):
            check_workers(describe(name), workers, whole)
            check_workers(describe(name, target), workers, whole, np.arange(40))
            check_workers(describe(name, 1), workers, whole[:, [0, 2]], whole[:, 1])
            check_workers(describe(name, columns=[2, 0], dtype="float32"), workers, whole[:, [2, 0]])


@pytest.mark.parametrize("text", ["a,b\n1,2\n\n3,4\n", "1,2\r\n3,4", "1," + "0" * 300 + "5\n" + "3,4\n" * 9])
def test_csv_objects_give_the_rows_of_the_file(s3: S3Server, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    X, _, _ = describe(tmp_path / "a.csv").read(0, 1, 1).align()
    name = s3.put("text.csv", text.encode())
    for workers in (1, 2, 5):
        with small(2, 8):
            check_workers(describe([name, name]), workers, np.concatenate([X, X]))


ROWS = np.random.default_rng(2).standard_normal((9_000, 4))


@pytest.fixture(params=FORMATS)
def data(request: pytest.FixtureRequest, s3: S3Server) -> str:
    for number, part in enumerate(np.split(ROWS, [4_000, 4_500])):
        s3.put(f"rows/{number}.{request.param}", FORMATS[request.param](part))
    return f"s3://{BUCKET}/rows/*.{request.param}"


def fit(source: Source, workers: int, redis_url: str) -> tuple[bytes, bytes]:
    algorithm = kmeans_algorithm(source, 5, "k-means++", 1, 4, 0.0, 7)
    state, memory, _ = run_workers(source, algorithm, workers, redis_url, outputs=("labels",))
    return state["centers"].tobytes(), memory["labels"].tobytes()


def test_a_fit_has_the_bits_of_that_of_the_array(data: str, redis_url: str) -> None:
    alone = fit_kmeans(ROWS, 5, max_iter=4, tol=0.0, seed=7)
    expected = alone.centers.tobytes(), alone.labels.tobytes()
    for workers in range(1, 8):
        assert fit(describe(data), workers, redis_url) == expected
    result = fit_kmeans(data, 5, max_iter=4, tol=0.0, seed=7, workers=2, redis=redis_url)
    assert (result.centers.tobytes(), result.labels.tobytes()) == expected


def test_ranges_are_fetched_by_as_many_threads_as_read(proxy: Proxy, s3: S3Server) -> None:
    name = s3.put("wide.npy", npy(ROWS))
    source = describe(name, config={"aws_s3": {"endpoint": proxy.endpoint}})
    proxy.always = late(0.2)
    with mock.patch.object(npy_fetch, "PIECE_BYTES", ROWS.nbytes // 8):
        proxy.ranges.clear()
        start = time.monotonic()
        X, _, _ = source.read(0, 1, 8).align(None)
    assert time.monotonic() - start < 1.2
    ends = sorted(int(wanted.partition("-")[2]) + 1 for wanted in proxy.ranges)
    assert ends[:-1] == [ROWS.nbytes // 8 * piece for piece in range(1, 9)]
    assert X.tobytes() == ROWS.tobytes()


def test_a_block_of_csv_is_fetched_once(proxy: Proxy, s3: S3Server) -> None:
    text = csv(ROWS)
    source = describe(s3.put("once.csv", text), config={"aws_s3": {"endpoint": proxy.endpoint}})
    proxy.ranges.clear()
    for worker in range(3):
        source.read(worker, 3, 2)
    fetched = sum(int(stop) - int(start) + 1 for start, stop in (one.split("-") for one in proxy.ranges))
    assert fetched < 1.3 * len(text)


# Objects that change


def test_an_object_that_is_replaced_or_deleted_is_named(s3: S3Server, random_file: File) -> None:
    s3.put("random", BYTES[::-1])
    with pytest.raises(
        DataError, match=r"^s3://data/random, bytes 5 to 14 was replaced since the run was described"
    ):
        random_file.read(5, 10)
    s3.put("random", BYTES[:100])
    with pytest.raises(DataError, match=r"random, bytes 299,000 to 299,999 was replaced since"):
        random_file.read(299_000, 1_000)
    s3.client.delete_object(Bucket=BUCKET, Key="random")
    with pytest.raises(MissingError, match=r"random, bytes 5 to 14: there is no such object; it was deleted"):
        random_file.read(5, 10)
    s3.put("random", BYTES)
    assert random_file.read(5, 10) == BYTES[5:15]


@pytest.mark.parametrize("data", FORMATS, indirect=True)
@pytest.mark.parametrize("change", ["replace", "truncate", "delete"])
def test_an_object_that_changes_before_it_is_read_ends_the_run(
    data: str, change: str, s3: S3Server, redis_url: str
) -> None:
    source = describe(data)
    key = "rows/2" + data.rpartition("*")[2]
    body = s3.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    if change == "delete":
        s3.client.delete_object(Bucket=BUCKET, Key=key)
    else:
        s3.put(key, body[:-1_000] if change == "truncate" else body.replace(b"1", b"2"))
    start = time.monotonic()
    with pytest.raises(DataError, match=rf"s3://data/{key}, bytes .* (was replaced|there is no such object)"):
        fit(source, 3, redis_url)
    assert time.monotonic() - start < 10


def test_a_server_that_knows_no_conditions_mixes_nothing(proxy: Proxy, s3: S3Server, random_file: File) -> None:
    file = through(proxy).find(random_file.name)
    tag = file.tag

    def ignore(handler: Any, reply: Any, data: bytes) -> None:
        body = s3.client.get_object(Bucket=BUCKET, Key="random", Range=handler.headers["Range"])
        refused = {"ETag": body["ETag"], "Content_Range": body["ContentRange"]}
        refuse(206, "", **refused)(handler, reply, b"")

    s3.put("random", BYTES[::-1])
    proxy.always = ignore
    assert tag == random_file.tag
    with pytest.raises(DataError, match="was replaced since"):
        file.read(0, 10)


# Networks and busy servers


def test_a_busy_server_is_asked_again(proxy: Proxy, random_file: File) -> None:
    file = through(proxy).find(random_file.name)
    proxy.faults.extend([refuse(503, "SlowDown"), refuse(500, "InternalError")])
    assert file.read() == BYTES
    assert len(proxy.ranges) == 3


def test_a_server_that_stays_busy_is_given_up(proxy: Proxy, random_file: File) -> None:
    file = through(proxy, attempts=2).find(random_file.name)
    proxy.always = refuse(503, "SlowDown")
    start = time.monotonic()
    with pytest.raises(
        DataError, match=r"bytes 0 to 9: the server was still too busy \(503 SlowDown\) after 2 att"
    ):
        file.read(0, 10)
    assert len(proxy.ranges) == 2
    assert time.monotonic() - start < 3


def test_a_body_that_breaks_off_is_continued_where_it_broke(proxy: Proxy, random_file: File) -> None:
    file = through(proxy).find(random_file.name)
    proxy.faults.extend([cut(100_000), cut(50_000)])
    assert file.read() == BYTES
    assert proxy.ranges == ["0-299999", "100000-299999", "150000-299999"]


def test_a_body_that_always_breaks_off_is_given_up(proxy: Proxy, random_file: File) -> None:
    file = through(proxy).find(random_file.name)
    proxy.always = cut(10)
    with pytest.raises(DataError, match=r"bytes 1 to 100: only 30 bytes came in up to 3 attempts"):
        file.read(1, 100)


@pytest.mark.parametrize("pause", [0.05, 5.0])
def test_a_body_that_trickles_or_stops_is_given_up(proxy: Proxy, random_file: File, pause: float) -> None:
    file = through(proxy, read_timeout=0.5, patience=1.0).find(random_file.name)
    proxy.always = trickle(pause)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"only \d+ bytes came .*the connection breaks, or is too slow"):
        file.read(0, 10_000)
    assert time.monotonic() - start < 8


def test_a_reply_that_does_not_come_is_given_up(proxy: Proxy, random_file: File) -> None:
    file = through(proxy, attempts=2, read_timeout=0.3).find(random_file.name)
    proxy.always = late(2)
    with pytest.raises(DataError, match=r"the server did not answer \(ReadTimeoutError, 2 attempts\)"):
        file.read(0, 10)


def test_a_fit_outlives_a_bad_network(proxy: Proxy, data: str) -> None:
    source = describe(data, config={"aws_s3": {"endpoint": proxy.endpoint}})
    proxy.faults.extend([cut(1_000), refuse(503, "SlowDown"), cut(0)])
    X, _, _ = source.read(0, 1, 2).align([len(ROWS)])
    assert X.tobytes() == ROWS.tobytes()


# Words


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", "the credentials have expired: get new ones"),
        (301, "PermanentRedirect", "the bucket is in another region, eu-west-3; set AWS_REGION"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        (418, "Teapot", "the server refused with 418 Teapot"),
    ],
)
def test_what_a_server_says_is_explained(
    proxy: Proxy, random_file: File, status: int, code: str, words: str
) -> None:
    file = through(proxy).find(random_file.name)
    proxy.always = refuse(status, code, x_amz_bucket_region="eu-west-3")
    with pytest.raises(DataError, match=f"^s3://data/random, bytes 0 to 9: {words}"):
        file.read(0, 10)


def fails(act: Callable[[], Any], words: str) -> None:
    """It raises a DataError with these words, and with no credentials, in its message and all that it is from."""
    with pytest.raises(DataError, match=words) as caught:
        act()
    error: BaseException | None = caught.value
    while error is not None:
        for secret in (*OWNER.values(), *STRANGER.values()):
            assert secret not in f"{error} {error!r}"
        error = error.__cause__


def test_what_is_not_there_or_not_allowed_is_explained(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name, store = s3.put("a.csv", b"1,2\n"), S3Objects.configured()
    stranger = S3Objects.configured({"aws_s3": STRANGER})
    fails(lambda: store.find("s3://data/none.csv"), r"^s3://data/none.csv: there is no such object")
    fails(lambda: store.find("s3://none/a.csv"), r"^s3://none/a.csv: there is no such bucket")
    fails(lambda: store.expand("s3://none/*.csv"), r"^s3://none/\*: there is no such bucket")
    fails(lambda: store.find("s3://no bucket/a"), r"that is no name of a bucket and an object")
    fails(lambda: store.find("s3://data"), r"names a bucket; allowed is s3://bucket/key")
    fails(lambda: store.expand("s3:///a.csv"), r"names no object")
    for act in (
        lambda: stranger.find(name),
        lambda: stranger.expand("s3://data/*"),
        lambda: stranger.write(name, b""),
        lambda: stranger.delete(name),
        lambda: describe(name, config={"aws_s3": STRANGER}),
    ):
        fails(act, r"^s3://data/.*: access is denied. The credentials in use need s3:GetObject")
    for wrong in ({**OWNER, "access_key_id": "NOBODY"}, {**OWNER, "secret_access_key": "no"}):
        fails(
            lambda wrong=wrong: S3Objects(s3.endpoint, **wrong).find(name), "the credentials are not known there"
        )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    fails(lambda: S3Objects(s3.endpoint, region="x").find(name), "no usable credentials were found")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER["access_key_id"])
    assert S3Objects(s3.endpoint, region="x").find(name).size == 4
    fails(lambda: S3Objects("http://127.0.0.1:1", attempts=1).find(name), "the endpoint cannot be reached")
    fails(lambda: S3Objects("127.0.0.1:1").find(name), "the endpoint of S3 is no URL such as")
    fails(lambda: S3Objects("http://user:owner-secret-3141@host"), "the endpoint of S3 holds a user or password")
    monkeypatch.setenv("AWS_PROFILE", "none")
    fails(lambda: S3Objects(s3.endpoint, region="y").find(name), "there is no such profile")


def test_a_bad_object_is_named(s3: S3Server, tmp_path: Path) -> None:
    good = npy(np.ones((10, 2)))
    cases = {
        "empty.csv": b"",
        "empty.npy": b"",
        "cut.npy": good[:-1],
        "head.npy": good[:50],
        "b.csv": b"1,2\n3,x\n",
    }
    cases["b.parquet"] = b"1"
    for key, content in cases.items():
        name = s3.put(f"bad/{key}", content)
        fails(lambda name=name: describe(name).read(0, 1, 1), f"^{name}")
    here = tmp_path / "here.npy"
    here.write_bytes(good)
    there = s3.put("there.npy", good)
    fails(lambda: describe([here, there]), "are in different places; the files of one data set")
    fails(lambda: describe(there, here), "are in different places; the files of one data set")
    fails(lambda: describe(there, np.ones(10)), "target is a ndarray, but s3://data/there.npy is on S3")


def test_the_line_of_a_fault_is_named(s3: S3Server) -> None:
    text = b"1,2\n" * 5_000 + b"3,x\n" + b"1,2\n" * 5_000
    source = describe(s3.put("line.csv", text))
    for workers in (1, 3):
        fails(
            lambda workers=workers: [source.read(one, workers, 2) for one in range(workers)], "csv, line 5001, col"
        )


# Settings


def test_credentials_travel_only_if_they_were_given(s3: S3Server) -> None:
    name = s3.put("a.npy", npy(ROWS))
    source = describe(name)
    for secret in OWNER.values():
        assert secret.encode() not in pickle.dumps(source)
        assert secret not in repr(source)
    config = {"aws": {"region": "eu-west-1", **STRANGER}, "aws_s3": {"endpoint": s3.endpoint, **OWNER}}
    given = S3Objects.configured(config)
    assert (given.endpoint, given.region, given.access_key_id) == (
        s3.endpoint,
        "eu-west-1",
        OWNER["access_key_id"],
    )
    again = pickle.loads(pickle.dumps(describe(name, config=config)))
    assert OWNER["secret_access_key"] not in repr(again)
    assert again.read(0, 1, 1).X.tobytes() == ROWS.tobytes()


def test_a_section_is_enough_without_an_environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = s3.put("a.npy", npy(ROWS))
    for variable in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    config = {"aws_s3": {"endpoint": s3.endpoint, "region": "us-east-1", **OWNER}}
    assert describe(name, config=config).n_rows == len(ROWS)


def test_a_forked_child_reads_by_connections_of_its_own(random_file: File) -> None:
    assert random_file.read(0, 10) == BYTES[:10]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        parts = pool.starmap_async(random_file.read, [(offset, 1_000) for offset in range(0, 100_000, 1_000)])
        for _ in range(100):
            assert random_file.read(0, 1_000) == BYTES[:1_000]
        assert b"".join(parts.get(10)) == BYTES[:100_000]


def test_connections_are_used_again(s3: S3Server, random_file: File, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "urllib3.connectionpool")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda offset: random_file.read(offset, 1_000), range(0, 100_000, 1_000)))
        list(pool.map(random_file.store.find, [random_file.name] * 20))
    assert sum("Starting new HTTP connection" in record.message for record in caplog.records) <= 4


# Small files


@pytest.mark.parametrize("place", ["here", "s3"])
def test_a_small_file_is_written_read_and_deleted(s3: S3Server, tmp_path: Path, place: str) -> None:
    name = str(tmp_path / "small") if place == "here" else f"s3://{BUCKET}/small"
    store = store_for(name)
    assert isinstance(store, LocalFiles if place == "here" else S3Objects)
    with pytest.raises(MissingError):
        store.find(name)
    for content in (b"one", b"", b"three"):
        store.write(name, content)
        assert store.find(name).read() == content
    store.delete(name)
    store.delete(name)
    with pytest.raises(MissingError):
        store.find(name)


def test_a_small_local_file_is_private_and_whole(tmp_path: Path) -> None:
    LocalFiles().write(str(tmp_path / "small"), b"one")
    assert (tmp_path / "small").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    with pytest.raises(DataError, match="none/small cannot be written: No such file"):
        LocalFiles().write(str(tmp_path / "none" / "small"), b"one")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder cannot be deleted"):
        LocalFiles().delete(str(tmp_path / "folder"))
