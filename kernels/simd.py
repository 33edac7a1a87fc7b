"""Hardware vectors for Numba kernels; the only module that speaks LLVM.

A `Vec` is a short vector that lives in CPU registers; its length is fixed when the kernel is compiled.  The unit
is the *line*: 64 bytes, so 16 float32 or 8 float64 lanes, on every CPU (one AVX-512 register, two of AVX2, four
of SSE2 or NEON).  Because a line is as long everywhere, sums kept in lines have the same bits everywhere.  A
*block* is a Vec of as many lines as suits the CPU's registers: a tile of six blocks stays in them.

`+ - * / < > ==  << >>` and unary `-` work lane by lane, with a scalar on either side; `>>` shifts zeros in.  A
tuple of Vecs is a tile of registers.  Where n stands below, give a literal integer or a tuple of that length.
There is no bounds check and no negative index: a load reads what it is told to.

====================================  ==========================================================================
load(a, i, j)                         the line a[i, j:j+W];  load_part(a, i, j, m): its first m lanes, then zeros
load_block(a, i, j)                   a block;  load_like(v, a, i, j): shaped like v, a Vec or a tuple
load_rows(n, a, i, j)                 n lines, from row i on;  load_rows_part(n, a, i, j, m)
load_square(a, i, j)                  one register of each of as many rows as it has lanes;  load_square_part
store(v, a, i, j)                     a[i, j:j+W] = v; tuples go to consecutive rows;  store_part(v, a, i, j, m)
items(n, a, i, j)                     n scalars a[i, j], a[i, j+1], ...;  items_down: a[i, j], a[i+1, j], ...
columns(n, a, i)                      n registers: a[i:i+W, 0], a[i:i+W, 1], ...; the array has n columns
lanes(a), lanes(v)                    lanes in a line of a's dtype, or in v;  register_lanes(a): in one register
full(v, x)                            x in every lane of a Vec like v; for a tuple x, a tuple;  zeros(n, v): n of 0
line_of(a), block_of(a)               a line or block of zeros;  iota(v): integers 0, 1, ...
widen(v), narrow(v)                   as float64, as int32
fma(x, y, z)                          x*y + z, rounded once where the CPU can; item by item over tuples
minus(x, y)                           x - y, item by item over tuples
where(mask, x, y)                     minimum(x, y), maximum(x, y): a NaN in y is dropped;  bits(x), from_bits(n)
add_outer(t, x, y)                    t[r][s] + x[r]*y[s];  dot(x, y, v): v + x[0]*y[0] + x[1]*y[1] + ...
lines(v)                              the lines of v, a tuple;  each(v): its lanes, a tuple of scalars
total(v)                              the sum of the lanes;  totals(t): one lane per Vec of t, its total
count(mask)                           how many lanes are true;  transpose(t): W Vecs of W lanes
reduce(f, t, state)                   f(f(state, t[0]), t[1]) ..., unrolled; f is an @inline function
prefetch(n, a, i, j)                  n cache lines from a[i, j] on;  prefetch_rows(n, a, i, j): one of each row;
                                      prefetch_far(n, a, i, j): no nearer than the second-level cache
odd(v)                                the float64 v, or a Vec of floats, with the last bit of each set
====================================  ==========================================================================
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

from .registry import target_machine

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
LINE_BYTES = 64


def _assembly(lanes: int) -> str:
    """What the code generator makes of an addition of so many float32: it knows the CPU that it compiles for."""
    vec = f"<{lanes} x float>"
    code = f"define {vec} @f({vec} %a) {{ %b = fadd {vec} %a, %a\n ret {vec} %b }}"
    return target_machine().emit_assembly(binding.parse_assembly(code))


WIDE = "zmm" in _assembly(16)  # 32 registers of a whole line
REGISTER_BYTES = 64 if WIDE else 32 if "ymm" in _assembly(8) else 16
BLOCK_LINES = 4 if WIDE else 1


def _has_fma() -> bool:
    """Whether `fma` rounds once here: by what is emitted, vfmadd213ps or fmla, not by the name of the CPU."""
    code = (
        "declare <4 x float> @llvm.fmuladd.v4f32(<4 x float>, <4 x float>, <4 x float>)\n"
        "define <4 x float> @f(<4 x float> %a, <4 x float> %b, <4 x float> %c) {\n"
        "%d = call <4 x float> @llvm.fmuladd.v4f32(<4 x float> %a, <4 x float> %b, <4 x float> %c)\n"
        "ret <4 x float> %d }"
    )
    assembly = target_machine().emit_assembly(binding.parse_assembly(code))
    return "fmadd" in assembly or "fmla" in assembly


FUSED = _has_fma()


class Vec(types.Type):
    """A vector of `width` lanes of the Numba type `dtype`."""

    def __init__(self, dtype: Any, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(f"Vec({dtype}, {width})")


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vec) -> None:
        item = I1 if kind.dtype == types.boolean else manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(item, kind.width))


def _line(array: Any, count: int = 1) -> Vec:
    return Vec(array.dtype, count * LINE_BYTES * 8 // array.dtype.bitwidth)


def _register(array: Any) -> Vec:
    return Vec(array.dtype, REGISTER_BYTES * 8 // array.dtype.bitwidth)


def _length(n: Any) -> int | None:
    """The length that an argument n stands for: a literal, or a tuple's own."""
    return n.literal_value if isinstance(n, types.IntegerLiteral) else getattr(n, "count", None)


def _rest(kinds: Sequence[types.Type]) -> types.Type:
    return types.StarArgTuple.from_types(kinds)


def _shuffle(builder: Any, x: Any, y: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def _splat(builder: Any, x: Any, width: int) -> Any:
    undefined = ir.Constant(ir.VectorType(x.type, width), ir.Undefined)
    return _shuffle(builder, builder.insert_element(undefined, x, I32(0)), undefined, [0] * width)


@lower_cast(types.Number, Vec)
def _number_to_vec(context, builder, source, target, x):
    return _splat(builder, context.cast(builder, x, source, target.dtype), target.width)


# ---- operators -----------------------------------------------------------------------------------


def _operator(symbol: Any, on_float: Any, on_int: Any = None) -> None:
    compares = isinstance(on_float, str)

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            vec = next((a for a in args if isinstance(a, Vec)), None)
            if vec is not None:
                return signature(Vec(types.boolean, vec.width) if compares else vec, *[vec] * len(args))

    def lower(context, builder, sig, args):
        is_float = isinstance(sig.args[0].dtype, types.Float)
        if compares:
            return (builder.fcmp_ordered if is_float else builder.icmp_signed)(on_float, *args)
        return (on_float if is_float else on_int)(builder, *args)

    lower_builtin(symbol, *[Vec] * (1 if symbol is operator.neg else 2))(lower)


_BUILDER = ir.IRBuilder
_operator(operator.add, _BUILDER.fadd, _BUILDER.add)
_operator(operator.sub, _BUILDER.fsub, _BUILDER.sub)
_operator(operator.mul, _BUILDER.fmul, _BUILDER.mul)
_operator(operator.truediv, _BUILDER.fdiv)
_operator(operator.lshift, None, _BUILDER.shl)
_operator(operator.rshift, None, _BUILDER.lshr)
_operator(operator.neg, _BUILDER.fneg, _BUILDER.neg)
for _symbol, _text in ((operator.lt, "<"), (operator.gt, ">"), (operator.eq, "==")):
    _operator(_symbol, _text)


# ---- lane by lane, and over tuples item by item --------------------------------------------------


def _lanewise(result: Callable, emit: Callable) -> Any:
    """An intrinsic that applies `emit` to Vecs; scalars are splatted to the type of the result."""

    def typing(typing_context, *args):
        count = next((a.count for a in args if isinstance(a, types.UniTuple)), None)
        kinds = [a.dtype if isinstance(a, types.UniTuple) else a for a in args]
        item = result(next(a for a in kinds if isinstance(a, Vec) and a.dtype != types.boolean))

        def codegen(context, builder, sig, packed):
            values = cgutils.unpack_tuple(builder, packed[0], len(args))

            def one(r):
                parts = [
                    builder.extract_value(v, r) if isinstance(a, types.UniTuple) else v
                    for a, v in zip(args, values, strict=True)
                ]
                vecs = [
                    v if isinstance(kind, Vec) else context.cast(builder, v, kind, item)
                    for kind, v in zip(kinds, parts, strict=True)
                ]
                return emit(builder, *vecs)

            if count is None:
                return one(0)
            return context.make_tuple(builder, sig.return_type, [one(r) for r in range(count)])

        return (item if count is None else types.UniTuple(item, count))(_rest(args)), codegen

    return intrinsic(typing)


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    # fmuladd, not fma: without an FMA unit the latter is a library call per lane.
    name = f"llvm.fmuladd.v{x.type.count}{'f32' if x.type.element == ir.FloatType() else 'f64'}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3), name)
    return builder.call(function, (x, y, z))


def _same(vec: Vec) -> Vec:
    return vec


def _integers(vec: Vec) -> Vec:
    return Vec(types.int32 if vec.dtype.bitwidth == 32 else types.int64, vec.width)


def _int_type(x: Any) -> ir.VectorType:
    is_32_bit = x.type.element in (ir.FloatType(), I32)
    return ir.VectorType(I32 if is_32_bit else I64, x.type.count)


def _floats(vec: Vec) -> Vec:
    return Vec(types.float32 if vec.dtype.bitwidth == 32 else types.float64, vec.width)


def _emit_widen(builder: Any, x: Any) -> Any:
    wide = ir.VectorType(ir.DoubleType(), x.type.count)
    return x if x.type == wide else builder.fpext(x, wide)


def _emit_narrow(builder: Any, x: Any) -> Any:
    return x if x.type.element == I32 else builder.trunc(x, ir.VectorType(I32, x.type.count))


def _emit_from_bits(builder: Any, x: Any) -> Any:
    item = ir.FloatType() if x.type.element == I32 else ir.DoubleType()
    return builder.bitcast(x, ir.VectorType(item, x.type.count))


fma = _lanewise(_same, _fma)
minus = _lanewise(_same, lambda b, x, y: b.fsub(x, y))
where = _lanewise(_same, lambda b, mask, x, y: b.select(mask, x, y))
minimum = _lanewise(_same, lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), y, x))
maximum = _lanewise(_same, lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), y, x))
widen = _lanewise(lambda vec: Vec(types.float64, vec.width), _emit_widen)
narrow = _lanewise(lambda vec: Vec(types.int32, vec.width), _emit_narrow)
iota = _lanewise(_integers, lambda b, x: ir.Constant(_int_type(x), list(range(x.type.count))))
bits = _lanewise(_integers, lambda b, x: b.bitcast(x, _int_type(x)))
from_bits = _lanewise(_floats, _emit_from_bits)


# ---- memory --------------------------------------------------------------------------------------


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Sequence[Any], to: types.Type) -> Any:
    struct = context.make_array(kind)(context, builder, array)
    pointer = cgutils.get_item_pointer(context, builder, kind, struct, index, wraparound=False)
    return builder.bitcast(pointer, context.get_value_type(to).as_pointer())


def _head(builder: Any, width: int, count: Any) -> Any:
    """A mask of the first `count` lanes."""
    lane = ir.Constant(ir.VectorType(I64, width), list(range(width)))
    return builder.icmp_signed("<", lane, _splat(builder, count, width))


def _masked(builder: Any, name: str, pointer: Any, count: Any, value: Any = None) -> Any:
    """A masked load, or with a value a masked store, of the first `count` lanes."""
    vec = pointer.type.pointee
    item = {ir.FloatType(): "f32", ir.DoubleType(): "f64", I32: "i32"}[vec.element]
    size, mask = I32(int(item[1:]) // 8), _head(builder, vec.count, count)
    args = [pointer, size, mask, ir.Constant(vec, None)] if value is None else [value, pointer, size, mask]
    kind = ir.FunctionType(vec if value is None else ir.VoidType(), [a.type for a in args])
    full_name = f"llvm.masked.{name}.v{vec.count}{item}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full_name), args)


def _indices(context: Any, builder: Any, kinds: Sequence[Any], packed: Any) -> list[Any]:
    values = cgutils.unpack_tuple(builder, packed, len(kinds))
    return [context.cast(builder, v, kind, types.intp) for v, kind in zip(values, kinds, strict=True)]


def _below(builder: Any, index: Sequence[Any], rows: int) -> list[Any]:
    return [builder.add(index[0], I64(rows)), *index[1:]]


def _loader(result: Callable, with_n: bool = True, part: bool = False) -> Any:
    """A load of `result(n, array)`, a Vec or a tuple of Vecs from consecutive rows."""

    def typing(typing_context, n, array, *kinds):
        if with_n and not isinstance(n, Vec) and _length(n) is None:
            return None
        out = result(n, array)

        def codegen(context, builder, sig, args):
            index = _indices(context, builder, kinds, args[-1])
            count = index.pop() if part else None

            def one(row, vec):
                at = _below(builder, index, row)
                pointer = _pointer(context, builder, array, args[-2], at, vec)
                if part:
                    return _masked(builder, "load", pointer, count)
                return builder.load(pointer, align=array.dtype.bitwidth // 8)

            row = itertools.count()

            def made(kind):
                if isinstance(kind, Vec):
                    return one(next(row), kind)
                return context.make_tuple(builder, kind, [made(kind.dtype) for _ in range(kind.count)])

            return made(out)

        return (out(n, array, _rest(kinds)) if with_n else out(array, _rest(kinds))), codegen

    if with_n:
        return intrinsic(prefer_literal=True)(typing)
    return intrinsic(lambda typing_context, array, *kinds: typing(typing_context, None, array, *kinds))


def _square(n: Any, array: Any) -> Any:
    return types.UniTuple(_register(array), _register(array).width)


load = _loader(lambda n, array: _line(array), with_n=False)
load_part = _loader(lambda n, array: _line(array), with_n=False, part=True)
load_block = _loader(lambda n, array: _line(array, BLOCK_LINES), with_n=False)
load_square = _loader(_square, with_n=False)
load_square_part = _loader(_square, with_n=False, part=True)
load_like = _loader(lambda n, array: n)
load_rows = _loader(lambda n, array: types.UniTuple(_line(array), _length(n)))
load_rows_part = _loader(lambda n, array: types.UniTuple(_line(array), _length(n)), part=True)


def _storer(part: bool) -> Any:
    def typing(typing_context, value, array, *kinds):
        def codegen(context, builder, sig, args):
            index = _indices(context, builder, kinds, args[2])
            count = index.pop() if part else None
            vec, parts = value, [args[0]]
            while not isinstance(vec, Vec):
                vec, parts = vec.dtype, [x for part in parts for x in cgutils.unpack_tuple(builder, part)]
            for row, x in enumerate(parts):
                pointer = _pointer(context, builder, array, args[1], _below(builder, index, row), vec)
                if part:
                    _masked(builder, "store", pointer, count, x)
                else:
                    builder.store(x, pointer, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(value, array, _rest(kinds)), codegen

    return intrinsic(typing)


store, store_part = _storer(False), _storer(True)


def _items(row_step: int, column_step: int) -> Any:
    def typing(typing_context, n, array, *kinds):
        if _length(n) is None:
            return None
        out = types.UniTuple(array.dtype, _length(n))

        def codegen(context, builder, sig, args):
            *rows, column = _indices(context, builder, kinds, args[2])
            at = [
                [*(builder.add(row, I64(row_step * r)) for row in rows), builder.add(column, I64(column_step * r))]
                for r in range(out.count)
            ]
            values = [builder.load(_pointer(context, builder, array, args[1], i, array.dtype)) for i in at]
            return context.make_tuple(builder, out, values)

        return out(n, array, _rest(kinds)), codegen

    return intrinsic(prefer_literal=True)(typing)


items, items_down = _items(0, 1), _items(1, 0)


def _prefetcher(row_step: int, byte_step: int, locality: int = 3) -> Any:
    def typing(typing_context, n, array, *kinds):
        if _length(n) is None:
            return None

        def codegen(context, builder, sig, args):
            index, byte = _indices(context, builder, kinds, args[2]), ir.IntType(8).as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            for r in range(_length(n)):
                at = _below(builder, index, row_step * r)
                pointer = builder.bitcast(_pointer(context, builder, array, args[1], at, array.dtype), byte)
                pointer = builder.gep(pointer, [I32(byte_step * r)])
                builder.call(function, [pointer, I32(0), I32(locality), I32(1)])  # read, data
            return context.get_dummy_value()

        return types.void(n, array, _rest(kinds)), codegen

    return intrinsic(prefer_literal=True)(typing)


prefetch, prefetch_rows = _prefetcher(0, LINE_BYTES), _prefetcher(1, 0)
prefetch_far = _prefetcher(0, LINE_BYTES, locality=2)


# ---- making Vecs ---------------------------------------------------------------------------------


def _maker(result: Callable) -> Any:
    def typing(typing_context, like):
        out = result(like)
        return out(like), lambda context, builder, sig, args: context.get_constant_null(out)

    return intrinsic(typing)


def _literal(value: Callable) -> Any:
    def typing(typing_context, like):
        return types.literal(value(like))(like), lambda context, builder, sig, args: I64(value(like))

    return intrinsic(typing)


line_of, block_of = _maker(_line), _maker(lambda array: _line(array, BLOCK_LINES))
lanes = _literal(lambda like: like.width if isinstance(like, Vec) else _line(like).width)
register_lanes = _literal(lambda array: _register(array).width)


@intrinsic
def full(typing_context, vec, x):
    out = types.UniTuple(vec, x.count) if isinstance(x, types.UniTuple) else vec

    def codegen(context, builder, sig, args):
        if out is vec:
            return context.cast(builder, args[1], x, vec)
        values = [context.cast(builder, v, x.dtype, vec) for v in cgutils.unpack_tuple(builder, args[1])]
        return context.make_tuple(builder, out, values)

    return out(vec, x), codegen


@intrinsic(prefer_literal=True)
def zeros(typing_context, n, like):
    if _length(n) is None:
        return None
    out = types.UniTuple(like, _length(n))
    return out(n, like), lambda context, builder, sig, args: context.get_constant_null(out)


# ---- across lanes and tuples ---------------------------------------------------------------------


@intrinsic
def add_outer(typing_context, tile, x, y):
    def codegen(context, builder, sig, args):
        rows, left, right = (cgutils.unpack_tuple(builder, a) for a in args)
        sums = [
            [_fma(builder, u, v, t) for v, t in zip(right, cgutils.unpack_tuple(builder, row), strict=True)]
            for u, row in zip(left, rows, strict=True)
        ]
        made = [context.make_tuple(builder, tile.dtype, row) for row in sums]
        return context.make_tuple(builder, tile, made)

    return tile(tile, x, y), codegen


@intrinsic
def dot(typing_context, x, y, start):
    def codegen(context, builder, sig, args):
        acc = args[2]
        for u, v in zip(*(cgutils.unpack_tuple(builder, a) for a in args[:2]), strict=True):
            u = u if isinstance(x.dtype, Vec) else _splat(builder, u, start.width)
            acc = _fma(builder, u, v, acc)
        return acc

    return start(x, y, start), codegen


@intrinsic
def lines(typing_context, vec):
    width = LINE_BYTES * 8 // vec.dtype.bitwidth
    out = types.UniTuple(Vec(vec.dtype, width), vec.width // width)

    def codegen(context, builder, sig, args):
        starts = range(0, vec.width, width)
        parts = [_shuffle(builder, args[0], args[0], range(s, s + width)) for s in starts]
        return context.make_tuple(builder, out, parts)

    return out(vec), codegen


@intrinsic
def each(typing_context, vec):
    out = types.UniTuple(vec.dtype, vec.width)

    def codegen(context, builder, sig, args):
        values = [builder.extract_element(args[0], I32(r)) for r in range(vec.width)]
        return context.make_tuple(builder, out, values)

    return out(vec), codegen


def _totals(builder: Any, vecs: list[Any]) -> Any:
    """One lane per vector (a power of two of them); each is added up by halves, then halves of those."""
    groups, size = 1, vecs[0].type.count  # each vector holds `groups` groups of `size` lanes
    while len(vecs) > 1 or size > 1:
        pairs = list(zip(vecs[::2], vecs[1::2], strict=True)) if len(vecs) > 1 else [(vecs[0], vecs[0])]
        joined = groups * len(vecs[:2])
        if size == 1:  # finished sums: put them side by side
            vecs = [_shuffle(builder, x, y, range(joined)) for x, y in pairs]
        else:
            low = [g * size + lane for g in range(joined) for lane in range(size // 2)]
            high = [lane + size // 2 for lane in low]
            vecs = [builder.fadd(_shuffle(builder, x, y, low), _shuffle(builder, x, y, high)) for x, y in pairs]
            size //= 2
        groups = joined
    return vecs[0]


@intrinsic
def totals(typing_context, vecs):
    out = Vec(vecs.dtype.dtype, vecs.count)
    return out(vecs), lambda context, builder, sig, args: _totals(builder, cgutils.unpack_tuple(builder, args[0]))


@intrinsic
def total(typing_context, vec):
    def codegen(context, builder, sig, args):
        return builder.extract_element(_totals(builder, [args[0]]), I32(0))

    return vec.dtype(vec), codegen


@intrinsic
def count(typing_context, mask):
    def codegen(context, builder, sig, args):
        ones = builder.ctpop(builder.bitcast(args[0], ir.IntType(mask.width)))
        return ones if mask.width == 64 else builder.zext(ones, I64)

    return types.int64(mask), codegen


@intrinsic
def transpose(typing_context, tile):
    width = tile.count

    def codegen(context, builder, sig, args):
        rows, step = cgutils.unpack_tuple(builder, args[0]), width // 2
        while step:  # swap the off-diagonal step x step squares, then halve
            low = [width + j - step if j & step else j for j in range(width)]
            high = [width + j if j & step else j + step for j in range(width)]
            for r in (r for r in range(width) if not r & step):
                x, y = rows[r], rows[r + step]
                rows[r], rows[r + step] = _shuffle(builder, x, y, low), _shuffle(builder, x, y, high)
            step //= 2
        return context.make_tuple(builder, tile, rows)

    return tile(tile), codegen


def _deal(builder: Any, vecs: list[Any]) -> list[Any]:
    """The columns of len(vecs) * width elements stored row after row."""
    n, width = len(vecs), vecs[0].type.count
    if n == 1:
        return vecs
    if n % 2 == 0:
        pairs = list(zip(vecs[::2], vecs[1::2], strict=True))
        even = _deal(builder, [_shuffle(builder, x, y, range(0, 2 * width, 2)) for x, y in pairs])
        odd = _deal(builder, [_shuffle(builder, x, y, range(1, 2 * width, 2)) for x, y in pairs])
        return [column for pair in zip(even, odd, strict=True) for column in pair]
    dealt = []
    for p in range(n):
        column, places = vecs[0], range(p, n * width, n)
        lanes = [min(place, width - 1) for place in places]  # of the first vector; later ones overwrite
        for q in range(1, n):
            lanes = [
                width + place % width if place // width == q else lane
                for lane, place in zip(lanes, places, strict=True)
            ]
            column, lanes = _shuffle(builder, column, vecs[q], lanes), list(range(width))
        dealt.append(column)
    return dealt


@intrinsic(prefer_literal=True)
def columns(typing_context, n, array, row):
    if _length(n) is None:
        return None
    out = types.UniTuple(_register(array), _length(n))

    def codegen(context, builder, sig, args):
        start = [context.cast(builder, args[2], row, types.intp), I64(0)]
        base = _pointer(context, builder, array, args[1], start, out.dtype)
        align = array.dtype.bitwidth // 8
        vecs = [builder.load(builder.gep(base, [I64(q)]), align=align) for q in range(out.count)]
        return context.make_tuple(builder, out, _deal(builder, vecs))

    return out(n, array, row), codegen


@intrinsic
def reduce(typing_context, function, vecs, state):
    inner = function.get_call_type(typing_context, (state, vecs.dtype), {})

    def codegen(context, builder, sig, args):
        call = context.get_function(function, inner)

        def step(value, x):
            return context.cast(builder, call(builder, (value, x)), inner.return_type, state)

        return functools.reduce(step, cgutils.unpack_tuple(builder, args[1]), args[2])

    return state(function, vecs, state), codegen


@intrinsic
def odd(typing_context, x):
    def codegen(context, builder, sig, args):
        kind = _int_type(args[0]) if isinstance(x, Vec) else I64
        one = ir.Constant(kind, [1] * kind.count if isinstance(x, Vec) else 1)
        return builder.bitcast(builder.or_(builder.bitcast(args[0], kind), one), args[0].type)

    return x(x), codegen
