from __future__ import annotations

import contextlib
import math
import pickle
import struct
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from channel_calls import payloads
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from biglambda.runtime.channel.codec import as_partial, decode, encode, pack_partial, unpack_partial
from biglambda.runtime.channel.reason import Reason
from biglambda.runtime.errors import DataError, RunError

dtypes = st.sampled_from(["?", "i1", "u1", "<i2", ">i4", "<i8", "<u8", "<f2", "<f4", ">f8", "<f8", "<c8", "<c16"])
arrays = dtypes.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0)))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
values = st.recursive(
    scalars | arrays, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
states = st.dictionaries(st.text(), values, max_size=5)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        little = a.astype(a.dtype.newbyteorder("<"))
        return a.shape == b.shape and b.dtype == little.dtype and little.tobytes() == b.tobytes()
    if isinstance(a, float):
        return isinstance(b, float) and struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=150, deadline=None)
@given(states)
def test_a_state_comes_back_bit_for_bit(state: dict[str, Any]) -> None:
    data = encode(state)
    assert same(state, decode(data))
    assert encode(decode(data)) == data


def test_bits_of_nan_and_negative_zero_survive() -> None:
    nan = struct.unpack("<d", bytes.fromhex("010000000000f87f"))[0]
    array = np.array([nan, -0.0, math.inf])
    state = decode(encode({"array": array, "nan": nan, "zero": -0.0}))
    assert state["array"].tobytes() == array.tobytes()
    assert struct.pack("<d", state["nan"]) == struct.pack("<d", nan)
    assert math.copysign(1, state["zero"]) == -1


def test_layouts_and_scalars_of_numpy_are_understood() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    state = decode(
        encode({"t": grid.T, "s": grid[::2, ::-1], "n": np.int32(3), "f": np.float32(0.5), "p": (1, 2)})
    )
    np.testing.assert_array_equal(state["t"], grid.T)
    np.testing.assert_array_equal(state["s"], grid[::2, ::-1])
    assert (state["n"], state["f"], state["p"]) == (3, 0.5, [1, 2])
    assert not state["t"].flags.writeable


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300) | payloads)
def test_any_bytes_are_a_value_error_or_what_could_have_been_sent(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        state = decode(data)
        assert same(state, decode(encode(state)))
    with contextlib.suppress(ValueError):
        vector = unpack_partial(data)
        assert vector.tobytes() == unpack_partial(pack_partial(vector)).tobytes()
    reason = Reason.unpack(data)
    assert isinstance(reason.exception(), DataError | RunError)
    assert len(str(reason)) < len(data) + 100


@settings(max_examples=400, deadline=None)
@given(states, st.data())
def test_damaged_states_are_a_value_error_or_a_state(state: dict[str, Any], data: st.DataObject) -> None:
    damaged = bytearray(encode(state))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for damage in (bytes(damaged), bytes(damaged[:cut]), bytes(damaged) + b"\x00"):
        with contextlib.suppress(ValueError):
            decode(damage)


def extension(dtype: bytes, dimensions: tuple[int, ...], raw: bytes, code: int = 1) -> bytes:
    head = struct.pack(f"<4sB{len(dimensions)}Q", dtype, len(dimensions), *dimensions)
    return msgpack.packb({"a": msgpack.ExtType(code, head + raw)})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut short"),
        (b"\x81\xa1a", "cut short"),
        (encode({"a": 1}) + b"\x00", "follow its end"),
        (msgpack.packb([1]), "a dict, not list"),
        (msgpack.packb({1: 2}), "map key"),
        (msgpack.packb({b"a": 2}), "not str"),
        (msgpack.packb({"a": b"bytes"}), "bytes"),
        (msgpack.packb({"a": msgpack.Timestamp(1)}), "Timestamp"),
        (b"\x82\xa1a\x01\xa1a\x02", "twice"),
        (b"\x81\xa1a\xa1\xff", "utf-8"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "cut short"),
        (b"\x81\xa1a\xdb\xff\xff\xff\xff", "message"),
        (b"\x81\xa1a" + b"\x91" * 100 + b"\xc0", "nested"),
        (b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0", "message"),
        (extension(b"<f8", (2,), b"\0" * 8), "does not have 8 bytes"),
        (extension(b"<f8", (2**40, 2**40), b""), "does not have 0 bytes"),
        (extension(b"<f8", (0, 2**63, 2**63), b""), "cannot have the shape"),
        (extension(b"|O8", (1,), b"\0" * 8), "O8"),
        (extension(b"<M8", (1,), b"\0" * 8), "M8"),
        (extension(b"\xff\xfe", (1,), b"\0" * 8), "arrays are"),
        (extension(b"|b1", (1,), b"\2"), "other than 0 and 1"),
        (extension(b"<f8", (1,), b"\0" * 8, code=7), "extension 7"),
        (msgpack.packb({"a": msgpack.ExtType(1, b"<f8\0\xff")}), "cut short"),
        (pickle.dumps({"a": 1}), "message"),
    ],
)
def test_foreign_bytes_are_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(data)


def test_announced_sizes_do_not_allocate_memory() -> None:
    announced = b"\x81\xa1a" + b"\xdd\x00\x10\x00\x00" * 200 + b"\xc0" * 2**20
    tracemalloc.start()
    with pytest.raises(ValueError, match="message"):
        decode(announced)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(announced)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"a": object()}, r"state\['a'\] is object"),
        ({"a": [1, b"x"]}, r"state\['a'\]\[1\] is bytes"),
        ({"a": np.array([object()])}, "array of object"),
        ({"a": np.array(["x"])}, "array of <U1"),
        ({"a": np.array(["2020"], "M8[D]")}, "array of datetime64"),
        ({1: 2}, "key 1"),
        ({"a": 2**64}, "64 bits"),
        ({"a": "\ud800"}, "Unicode"),
        ([1], "a dict, not list"),
    ],
)
def test_what_no_state_can_hold_is_refused_by_name(state: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encode(state)


def test_a_state_that_contains_itself_is_refused() -> None:
    state: dict[str, Any] = {}
    state["me"] = state
    with pytest.raises(ValueError, match="nested"):
        encode(state)


@given(npst.arrays("<f8", st.integers(0, 100)))
def test_a_partial_comes_back_bit_for_bit(vector: np.ndarray) -> None:
    back = unpack_partial(pack_partial(vector))
    assert back.tobytes() == vector.tobytes()
    assert back.shape == vector.shape
    assert not back.flags.writeable


@pytest.mark.parametrize(
    "data", [msgpack.packb({"t": b"1234567"}), msgpack.packb({"u": b""}), msgpack.packb(b""), b"\x81\xa1t\xa8123"]
)
def test_what_is_no_partial_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"partial|message"):
        unpack_partial(data)


@pytest.mark.parametrize("vector", [np.zeros((2, 2)), np.zeros(2, "f4"), [1.0], np.zeros(2, "c16")])
def test_only_float64_vectors_are_partials(vector: Any) -> None:
    with pytest.raises(ValueError, match="float64 array of one dimension"):
        as_partial(vector)
