"""States and partials as bytes: msgpack, never pickle, bit for bit.

An array is a msgpack extension: its dtype in 4 bytes, the number of dimensions in 1, each dimension in 8, and the
elements in C order, all of it little-endian.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack
import numpy as np

from ..algorithm import State

_ARRAY = 1
_DTYPES = frozenset(
    ["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"]
)
_MAX_DIMENSIONS = 32
_MAX_DEPTH = 32
_INTEGERS = range(-(2**63), 2**64)


def encode(state: State) -> bytes:
    """A state as bytes.

    Parameters
    ----------
    state : dict with str keys
        Of NumPy arrays (boolean, integer, real or complex), numbers, strings, booleans, None, and lists and dicts
        of these. Tuples become lists, NumPy scalars Python numbers.

    Raises
    ------
    ValueError
        Something else is in it; the message says where.
    """
    if not isinstance(state, dict):
        raise ValueError(f"a state is a dict, not {type(state).__name__}")
    return msgpack.packb(_plain(state, "state", 0), use_bin_type=True)


def decode(data: bytes) -> State:
    """The state that `encode` made bytes of. Its arrays are read-only views of fresh bytes.

    Raises
    ------
    ValueError
        The bytes are not those of a state. Memory use stays in proportion to them.
    """
    state = _checked(_unpack(data), "state", 0)
    if not isinstance(state, dict):
        raise ValueError(f"a state is a dict, not {type(state).__name__}")
    return state


def pack_partial(vector: np.ndarray) -> bytes:
    """A float64 vector as msgpack ``{"t": bytes}``; as str, because Redis' cmsgpack cannot read BIN.

    Raises
    ------
    ValueError
        It is not a float64 array of one dimension.
    """
    return msgpack.packb({"t": as_partial(vector).tobytes()}, use_bin_type=False)


def unpack_partial(data: bytes) -> np.ndarray:
    """The float64 vector, read-only, that `pack_partial` made bytes of.

    Raises
    ------
    ValueError
        The bytes are not those of a partial.
    """
    message = _unpack(data, raw=True)
    if not isinstance(message, dict) or list(message) != [b"t"] or not isinstance(message[b"t"], bytes):
        raise ValueError('a partial is msgpack {"t": float64 bytes as str}')
    return vector_of(message[b"t"])


def as_partial(vector: np.ndarray) -> np.ndarray:
    """A partial as contiguous little-endian float64; copied only if it is not so already."""
    if (
        not isinstance(vector, np.ndarray)
        or vector.ndim != 1
        or vector.dtype not in (np.dtype("<f8"), np.dtype(">f8"))
    ):
        shape = getattr(vector, "shape", "")
        kind = getattr(vector, "dtype", type(vector).__name__)
        raise ValueError(f"a partial is a float64 array of one dimension, not {kind} {shape}".rstrip())
    return np.ascontiguousarray(vector, "<f8")


def vector_of(raw: bytes) -> np.ndarray:
    """Little-endian float64 bytes as a read-only vector."""
    if len(raw) % 8:
        raise ValueError(f"a partial is float64s, not {len(raw)} bytes")
    return np.ndarray(len(raw) // 8, "<f8", buffer=raw)


def _plain(value: Any, where: str, depth: int) -> Any:
    """What msgpack packs, with arrays as extensions."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where} is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, np.generic) and value.dtype.str in _DTYPES and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise ValueError(f"{where} is an integer of more than 64 bits")
        return int(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} is text that is not valid Unicode") from None
        return value
    if isinstance(value, np.ndarray):
        return _extension(value, where)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; keys are str")
        return {
            _plain(key, where, depth): _plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise ValueError(
        f"{where} is {type(value).__name__}; a state holds NumPy arrays, numbers, str, bool, None, lists and dicts"
    )


def _extension(array: np.ndarray, where: str) -> msgpack.ExtType:
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in _DTYPES:
        raise ValueError(f"{where} is an array of {array.dtype}; arrays are boolean, integer, real or complex")
    if array.ndim > _MAX_DIMENSIONS:
        raise ValueError(f"{where} has {array.ndim} dimensions; at most {_MAX_DIMENSIONS} are allowed")
    head = struct.pack(f"<4sB{array.ndim}Q", dtype.str.encode(), array.ndim, *array.shape)
    return msgpack.ExtType(_ARRAY, head + array.astype(dtype, copy=False).tobytes())


def _array(code: int, data: bytes) -> np.ndarray:
    if code != _ARRAY:
        raise ValueError(f"extension {code} is not an array")
    if len(data) < 5 or len(data) < 5 + 8 * data[4] or data[4] > _MAX_DIMENSIONS:
        raise ValueError("an array is cut short, or has too many dimensions")
    name = data[:4].rstrip(b"\0").decode("latin-1")
    if name not in _DTYPES:
        raise ValueError(f"an array of {name!r}; arrays are boolean, integer, real or complex")
    dtype = np.dtype(name)
    shape = struct.unpack_from(f"<{data[4]}Q", data, 5)
    raw = data[5 + 8 * data[4] :]
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and dtype {name} does not have {len(raw)} bytes")
    if dtype.kind == "b" and raw.translate(None, b"\0\1"):
        # Any other byte would be a boolean that is neither True nor False.
        raise ValueError("an array of booleans holds bytes other than 0 and 1")
    try:
        return np.ndarray(shape, dtype, buffer=raw)
    except (ValueError, OverflowError, TypeError) as error:  # an empty array with another dimension beyond 2^63
        raise ValueError(f"an array cannot have the shape {shape}") from error


def _unpack(data: bytes, *, raw: bool = False) -> Any:
    data = bytes(data)
    try:
        # Walking it first without building anything proves that every element a header announces is there,
        # so that the second pass cannot be made to allocate more than that.
        reader = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
        reader.feed(data)
        reader.skip()
        length = reader.tell()
        if length != len(data):
            raise ValueError(f"{len(data) - length} bytes follow its end")
        return msgpack.unpackb(data, raw=raw, ext_hook=_array, object_pairs_hook=_dict)
    except msgpack.OutOfData:
        raise ValueError("not a message of biglambda: it is cut short") from None
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError) as error:
        raise ValueError(f"not a message of biglambda: {error or type(error).__name__}") from error


def _dict(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _checked(value: Any, where: str, depth: int) -> Any:
    """``value``, if nothing is in it that `encode` would not have written."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where} is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has a key that is not str")
            _checked(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _checked(item, where, depth + 1)
    elif value is not None and not isinstance(value, bool | int | float | str | np.ndarray):
        raise ValueError(f"{where} holds {type(value).__name__}")
    return value
