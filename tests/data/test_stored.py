"""Arrays that lie in parts: any slice of them, and plain words for parts and manifests that are damaged."""

from __future__ import annotations

import copy
import json
import pickle
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.s3_server import BUCKET, S3Server
from biglambda.runtime.data import LocalFiles, MissingError, S3Objects, StoredArray, parts, store_for, stored
from biglambda.runtime.data.joined import Joined
from biglambda.runtime.data.parts import Manifest, part_name, read_manifest, write_manifest, write_part
from biglambda.runtime.errors import DataError
from biglambda.runtime.memory import forget_peak, peak_bytes

VALUES = np.random.default_rng(0).integers(0, 1000, 60).astype(np.int32)
CUTS = [20, 20, 47]


@pytest.fixture(autouse=True)
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "BLOCK", 4)
        patch.setattr(stored, "BLOCK", 4)
        patch.setattr(stored, "PIECE_BYTES", 8 * 4)
        yield


def keep(place: str, values: np.ndarray = VALUES, cuts: list[int] = CUTS) -> StoredArray:
    """Write an array in parts, and open it."""
    store, name = store_for(place), f"{place}/labels.json"
    written = [
        write_part(store, part_name(name, number), part) for number, part in enumerate(np.split(values, cuts))
    ]
    write_manifest(store, name, Manifest("some-run", values.dtype, tuple(written)))
    return StoredArray(name, store)


@pytest.fixture(params=["here", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "here":
        return str(tmp_path)
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/stored/{secrets.token_hex(4)}"


# As an array


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=5),
    st.lists(
        st.tuples(*[st.none() | st.integers(-70, 70)] * 2, st.none() | st.integers(-9, 9).filter(bool)), max_size=5
    ),
)
@settings(max_examples=100, deadline=None)
def test_any_slice_is_that_of_the_array(sizes: list[int], slices: list[tuple[Any, ...]]) -> None:
    values = np.arange(sum(sizes), dtype=np.int32)
    with tempfile.TemporaryDirectory() as folder:
        array = keep(folder, values, list(np.cumsum(sizes[:-1])))
        assert np.asarray(array).tobytes() == values.tobytes()
        for one in slices:
            np.testing.assert_array_equal(array[slice(*one)], values[slice(*one)])


def test_it_is_used_as_an_array(place: str) -> None:
    array = keep(place)
    assert (array.shape, array.size, array.ndim, len(array), array.nbytes) == ((60,), 60, 1, 60, 240)
    assert array.dtype == np.int32
    assert [array[row] for row in (0, 21, np.int64(-1))] == [VALUES[0], VALUES[21], VALUES[-1]]
    assert array[3].dtype == np.int32
    assert list(array) == VALUES.tolist()
    np.testing.assert_array_equal(array == 7, VALUES == 7)
    np.testing.assert_array_equal(VALUES + array, 2 * VALUES)
    np.testing.assert_array_equal(np.bincount(array), np.bincount(VALUES))
    assert np.asarray(array, dtype=np.float32).dtype == np.float32
    for wrong in (60, -61):
        with pytest.raises(IndexError, match=f"row {wrong} of 60"):
            array[wrong]
    with pytest.raises(TypeError, match=r"the index is a ndarray: allowed are whole numbers and slices; for any"):
        array[VALUES > 3]
    with pytest.raises(ValueError, match="which is a copy"):
        np.asarray(array, copy=False)
    again = pickle.loads(pickle.dumps(array))
    assert again[50:55].tobytes() == VALUES[50:55].tobytes()
    assert "labels.json, 60 of int32)" in repr(array)


def test_only_the_parts_and_ranges_that_are_needed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = keep(str(tmp_path))
    read: dict[str, int] = {}
    read_into = LocalFiles.read_into

    def count(store: LocalFiles, file: Any, offset: int, out: memoryview) -> None:
        name = Path(file.name).name
        read[name] = read.get(name, 0) + (len(out) if offset else 0)  # headers are read from 0
        read_into(store, file, offset, out)

    monkeypatch.setattr(LocalFiles, "read_into", count)
    assert "of int32" not in repr(array)
    assert read == {}
    assert len(array) == 60
    assert set(read) == {"labels.json"}
    array[22:26]
    assert read == {"labels.json": 0, "labels-00002.npy": 2 * 4 * 4}
    array[::25]
    assert read["labels-00000.npy"] == 8 * 4  # of a piece, two blocks
    array[60:]
    assert "labels-00001.npy" not in read


def test_values_are_written_without_a_copy_of_them(place: str) -> None:
    store, values = store_for(place), np.ones(8_000_000, np.int32)
    write_part(store, f"{place}/warm.npy", values[:1000])
    forget_peak()
    before = peak_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "BLOCK", 1 << 18)
        write_part(store, f"{place}/large.npy", values)
    assert peak_bytes() - before < 8e6
    store.delete(f"{place}/large.npy")


@given(st.lists(st.binary(max_size=9), max_size=5), st.lists(st.tuples(st.integers(-3, 30), st.integers(1, 12))))
def test_pieces_are_read_as_one_file(pieces: list[bytes], reads: list[tuple[int, int]]) -> None:
    whole, file = b"".join(pieces), Joined(pieces)
    assert file.read() == whole
    assert file.seek(0, 2) == len(whole)
    for offset, length in reads:
        file.seek(offset)
        found = file.read(length)
        assert whole[file.tell() - len(found) : file.tell()] == found
        assert found or file.tell() >= len(whole)
        assert len(found) <= length


# What is not what it was


def replace(place: str, name: str, change: Callable[[bytes], bytes]) -> None:
    store = store_for(place)
    content = bytes(store.find(f"{place}/{name}").read())
    store.write(f"{place}/{name}", change(content))


def other(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "(does not exist|there is no such object)"),
        (lambda content: content[:-4], r"was cut or replaced: it has 176 bytes, and .*labels.json says 180"),
        (lambda content: b"", r"was cut or replaced: it has 0 bytes"),
        (other, r"was replaced or damaged: the checksums of its rows 8 to 12 are not those in .*labels.json"),
        (lambda content: content.replace(b"<i4", b"<u4"), r"was replaced: it has shape \(13,\) and dtype uint32"),
        (
            lambda content: content.replace(b"(13,)", b"(11,)"),
            r"was replaced: it has shape \(11,\) and dtype int32",
        ),
        (lambda content: b"X" * len(content), "is no .npy file"),
    ],
)
def test_a_part_that_is_missing_cut_or_replaced_is_named(place: str, change: Any, words: str) -> None:
    array = keep(place)
    name = f"{place}/labels-00003.npy"
    if change is None:
        store_for(place).delete(name)
    else:
        replace(place, "labels-00003.npy", change)
    with pytest.raises(DataError, match=f"^{name}:? {words}"):
        np.asarray(array)
    assert array[:47].tobytes() == VALUES[:47].tobytes()


def test_a_part_that_is_replaced_after_it_was_opened_is_named(place: str) -> None:
    array = keep(place)
    assert array[-1] == VALUES[-1]
    replace(place, "labels-00003.npy", other)
    with pytest.raises(DataError, match=f"^{place}/labels-00003.npy.* was (replaced|written) since"):
        array[-1]


MANIFEST = {
    "version": 1,
    "run": "r",
    "dtype": "<i4",
    "rows": 6,
    "parts": [
        {"name": "labels-00000.npy", "rows": 5, "size": 148, "crc32": [1, 2]},
        {"name": "labels-00001.npy", "rows": 1, "size": 132, "crc32": [3]},
    ],
}


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd", "/etc/passwd", "s3://elsewhere/labels-00000.npy", "../labels-00000.npy", "labels.json",
        "./labels-00000.npy", "labels-00001.npy", "labels-00000.npy\0", "labels-0.npy", "", None, 0, ["a"],
    ],
)  # fmt: skip
def test_a_manifest_that_names_other_files_is_refused(tmp_path: Path, name: Any) -> None:
    told = copy.deepcopy(MANIFEST)
    told["parts"][0]["name"] = name  # type: ignore[index]
    (tmp_path / "labels.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"labels.json is damaged.*names a part .*, where only labels-00000.npy"):
        read_manifest(LocalFiles(), str(tmp_path / "labels.json"))


def test_the_manifest_above_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(MANIFEST))
    assert read_manifest(LocalFiles(), str(tmp_path / "labels.json")).starts == [0, 5, 6]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"version": 1}', b"1" * 10_000,
        json.dumps(MANIFEST).replace('"version": 1', '"version": 2').encode(),
        json.dumps(MANIFEST).replace('"rows": 6', '"rows": 7').encode(),
        json.dumps(MANIFEST).replace("<i4", "O").encode(),
        json.dumps(MANIFEST).replace("<i4", "<i4,<f8").encode(),
        json.dumps(MANIFEST).replace("[1, 2]", "[1]").encode(),
        json.dumps(MANIFEST).replace('"rows": 5', '"rows": 5.0').encode(),
        json.dumps({**MANIFEST, "parts": []}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_in_few_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(DataError, match=r"labels.json is damaged, or no manifest that biglambda wrote") as caught:
        len(StoredArray(str(tmp_path / "labels.json"), LocalFiles()))
    assert len(str(caught.value)) < 400


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "labels.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="which is no manifest"):
        read_manifest(LocalFiles(), str(tmp_path / "labels.json"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["<f8", ">i4", "|b1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(told: Any) -> Iterator[tuple[Any, ...]]:
    """The ways to all values in a JSON document."""
    yield ()
    items = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for key, value in items:
        for rest in paths(value):
            yield (key, *rest)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_manifest_gives_the_values_or_a_data_error_and_opens_no_other_file(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        array = keep(folder)
        told = json.loads(Path(array.name).read_text())
        *way, last = data.draw(st.sampled_from(list(paths(told))[1:]))
        goal = told
        for key in way:
            goal = goal[key]
        goal[last] = data.draw(JSON)
        Path(array.name).write_text(json.dumps(told))
        find = LocalFiles.find

        def watched(store: LocalFiles, name: str) -> Any:
            assert Path(name).parent == Path(folder)
            return find(store, name)

        patch.setattr(LocalFiles, "find", watched)
        with suppress(DataError):
            assert np.asarray(StoredArray(array.name, LocalFiles())).tobytes() == VALUES.tobytes()


# Stores


def test_a_folder_is_made_and_deleted_with_what_is_in_it(place: str) -> None:
    store, name = store_for(place), f"{place}/folder"
    store.delete_folder(name)
    store.make_folder(name)
    for number in range(3):
        store.write(f"{name}/{number}", b"x")
    store.write(f"{place}/folder-beside", b"y")
    store.delete_folder(name)
    for number in range(3):
        with pytest.raises(MissingError):
            store.find(f"{name}/{number}")
    assert store.find(f"{place}/folder-beside").size == 1


def test_a_folder_is_not_taken_from_others(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder .* cannot be made: File exists"):
        LocalFiles().make_folder(str(tmp_path))


def test_files_are_private_or_as_the_umask_has_it(tmp_path: Path) -> None:
    LocalFiles().write(str(tmp_path / "own"), b"1", b"2")
    LocalFiles().write(str(tmp_path / "usual"), b"", b"1", private=False)
    (tmp_path / "as-always").touch()
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("own", "usual", "as-always")]
    assert modes[0] == 0o600
    assert modes[1] == modes[2]
    assert (tmp_path / "own").read_bytes() == b"12"


def test_an_object_that_is_sent_again_is_sent_whole(s3: S3Server) -> None:
    """A body is read to sign it, and again to send it."""
    name = f"s3://{BUCKET}/pieces"
    store = S3Objects.configured()
    pieces = [b"a" * 70_000, memoryview(VALUES).cast("B"), b"", bytearray(b"z")]
    store.write(name, *pieces)
    assert bytes(store.find(name).read()) == b"".join(pieces)
