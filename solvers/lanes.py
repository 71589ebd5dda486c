"""Eight doubles side by side as one value of compiled code: the vector registers, explicitly.

Within functions compiled by numba a value of the type `lanes` behaves like a float: it has
+ - * / and comparisons, which give masks (& | ~, `any_lane`, `all_lanes`, `select`), and a float
beside it counts in all lanes. Unlike the arrays that a compiler must vectorise by itself such
values are known not to overlap, and stay in registers.

`load` and `store` see a C-contiguous array of doubles as a flat sequence of lanes. `gather` and
`scatter` move between lanes and the rows of a matrix. A tile is a tuple of a few lanes;
`add_scaled` and `add_products` are the inner loops of matrix products that keep a tile of the
result in registers.

Where numba is told not to compile (NUMBA_DISABLE_JIT) they are those of `dmft.solvers.plain_lanes`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv import Conversion
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from dmft.solvers import plain_lanes
from dmft.solvers.plain_lanes import BIAS, BITS, LANES

# What `njit` is told of functions that only compiled functions call, never Python: without an
# entry for Python they compile in half the time.
INNER: dict[str, Any] = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
VECTOR = ir.VectorType(ir.DoubleType(), LANES)
DOUBLES = 8  # bytes that a double is aligned to; arrays promise no more
FUSED = ("contract",)  # a * b + c may round once


def _operation(definition: Any = None, **options: Any) -> Any:
    """Make an operation of compiled code; callers leave out its first argument."""
    if definition is None:
        return lambda late: _operation(late, **options)
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return getattr(plain_lanes, definition.__name__)
    return (intrinsic(**options) if options else intrinsic)(definition)


class Lanes(types.Type):
    """Numba's type of eight doubles side by side.

    Examples
    --------
    >>> str(Lanes())
    'lanes'
    """

    def __init__(self) -> None:  # noqa: D107
        super().__init__(name="lanes")

    def can_convert_from(self, typingctx: Any, other: types.Type) -> Any:
        """Let a float stand for the same number in all lanes."""
        return Conversion.safe if other == types.float64 else None


class Mask(types.Type):
    """Numba's type of eight truth values side by side.

    Examples
    --------
    >>> str(Mask())
    'mask'
    """

    def __init__(self) -> None:  # noqa: D107
        super().__init__(name="mask")


lanes, mask = Lanes(), Mask()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, VECTOR)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), LANES))


def _splat(builder: Any, number: Any) -> Any:
    """Return a vector with a scalar in all lanes."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), zeros)


@lower_cast(types.float64, lanes)
def _cast(context, builder, kind, target, value):
    return _splat(builder, value)


# --- operators ---------------------------------------------------------------------------------


def _define(name: str, code: Callable[..., Any], result: types.Type, *operands: types.Type) -> None:
    """Give an operator a meaning: its value is code(builder, *operands)."""
    function = getattr(operator, name)
    cases = {"cases": [signature(result, *operands)]}
    infer_global(function)(type(f"_{name}", (ConcreteTemplate,), cases))

    @lower_builtin(function, *operands)
    def lower(context, builder, kinds, values):
        return code(builder, *values)


def _arithmetic(instruction: str) -> Callable[..., Any]:
    return lambda builder, x, y: getattr(builder, instruction)(x, y, flags=FUSED)


def _comparison(sign: str) -> Callable[..., Any]:
    compare = "fcmp_unordered" if sign == "!=" else "fcmp_ordered"  # nan differs from everything
    return lambda builder, x, y: getattr(builder, compare)(sign, x, y)


ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
for _name, _instruction in ARITHMETIC.items():
    _define(_name, _arithmetic(_instruction), lanes, lanes, lanes)
for _name, _sign in COMPARISONS.items():
    _define(_name, _comparison(_sign), mask, lanes, lanes)
_define("neg", lambda builder, x: builder.fneg(x), lanes, lanes)
_define("and_", lambda builder, x, y: builder.and_(x, y), mask, mask, mask)
_define("or_", lambda builder, x, y: builder.or_(x, y), mask, mask, mask)
_define("invert", lambda builder, x: builder.not_(x), mask, mask)


# --- functions of lanes, or of floats ----------------------------------------------------------


def _widest(*kinds: types.Type) -> types.Type:
    return lanes if lanes in kinds else types.float64


def _choice(sign: str) -> Callable[..., Any]:
    """Return an intrinsic's body: x where x `sign` y, else y."""

    def define(typingctx, x, y):
        def code(context, builder, kinds, values):
            return builder.select(builder.fcmp_ordered(sign, *values), *values)

        kind = _widest(x, y)
        return kind(kind, kind), code

    return define


@_operation
def minimum(typingctx, x, y):
    """Return the smaller one; y if one of them is nan."""
    return _choice("<")(typingctx, x, y)


@_operation
def maximum(typingctx, x, y):
    """Return the larger one; y if one of them is nan."""
    return _choice(">")(typingctx, x, y)


@_operation
def select(typingctx, condition, x, y):
    """Return x where the condition holds, else y."""
    kind = lanes if condition == mask else _widest(x, y)

    def code(context, builder, kinds, values):
        return builder.select(*values)

    return kind(condition, kind, kind), code


@_operation
def absolute(typingctx, x):
    """Return |x| of lanes."""

    def code(context, builder, kinds, values):
        kind = ir.FunctionType(VECTOR, [VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{LANES}f64")
        return builder.call(function, values)

    return lanes(lanes), code


@_operation
def power_of_two(typingctx, x):
    """Return 2^k, where the integer k stands in the low bits of the double x."""

    def code(context, builder, kinds, values):
        double = values[0].type
        integer = ir.IntType(64)
        if kinds.return_type == lanes:
            integer = ir.VectorType(integer, LANES)

        def constant(number: int) -> Any:
            single = kinds.return_type != lanes
            return ir.Constant(integer, number if single else [number] * LANES)

        bits = builder.bitcast(values[0], integer)
        exponent = builder.add(bits, constant(BIAS))
        return builder.bitcast(builder.shl(exponent, constant(BITS)), double)

    return x(x), code


@_operation
def splat(typingctx, x):
    """Return a float in all lanes."""

    def code(context, builder, kinds, values):
        return _splat(builder, values[0])

    return lanes(types.float64), code


# --- reductions --------------------------------------------------------------------------------


def _halves(builder: Any, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine all lanes of a vector by combining its halves until one lane is left."""
    count = value.type.count
    if count == 1:
        return builder.extract_element(value, ir.IntType(32)(0))
    indices = ir.VectorType(ir.IntType(32), count // 2)
    low, high = (
        builder.shuffle_vector(value, value, ir.Constant(indices, list(half)))
        for half in (range(count // 2), range(count // 2, count))
    )
    return _halves(builder, combine(low, high), combine)


@_operation
def lane_sum(typingctx, x):
    """Return the sum over the lanes."""

    def code(context, builder, kinds, values):
        return _halves(builder, values[0], builder.fadd)

    return types.float64(lanes), code


@_operation
def any_lane(typingctx, condition):
    """Return whether a condition holds in some lane."""

    def code(context, builder, kinds, values):
        bits = builder.bitcast(values[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(mask), code


@_operation
def all_lanes(typingctx, condition):
    """Return whether a condition holds in all lanes."""

    def code(context, builder, kinds, values):
        bits = builder.bitcast(values[0], ir.IntType(LANES))
        return builder.icmp_unsigned("==", bits, bits.type((1 << LANES) - 1))

    return types.boolean(mask), code


# --- memory ------------------------------------------------------------------------------------


def _require_doubles(*arrays: types.Type) -> None:
    for array in arrays:
        if not (
            isinstance(array, types.Array) and array.dtype == types.float64 and array.layout == "C"
        ):
            raise TypingError(f"lanes live in C-contiguous arrays of doubles, not in {array}")


def _doubles(context: Any, builder: Any, kind: types.Type, array: Any, at: Any) -> Any:
    """Return a pointer to element `at` of an array seen as flat."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [at])


def _vectors(context: Any, builder: Any, kind: types.Type, array: Any, at: Any) -> Any:
    """Return a pointer to element `at` of an array seen as a flat sequence of lanes."""
    pointer = _doubles(context, builder, kind, array, builder.mul(at, at.type(LANES)))
    return builder.bitcast(pointer, VECTOR.as_pointer())


def _next(builder: Any, pointer: Any, steps: int) -> Any:
    return builder.gep(pointer, [ir.IntType(64)(steps)])


@_operation
def load(typingctx, array, at):
    """Return element `at` of an array seen as a flat sequence of lanes."""
    _require_doubles(array)

    def code(context, builder, kinds, values):
        return builder.load(_vectors(context, builder, array, *values), align=DOUBLES)

    return lanes(array, types.intp), code


@_operation
def store(typingctx, array, at, value):
    """Set element `at` of an array seen as a flat sequence of lanes."""
    _require_doubles(array)

    def code(context, builder, kinds, values):
        pointer = _vectors(context, builder, array, *values[:2])
        builder.store(values[2], pointer, align=DOUBLES)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


def _in_rows(context: Any, builder: Any, kind: types.Type, values: Any) -> list[Any]:
    """Return pointers to column `column` of the rows from `row` on, one for each lane.

    Lanes beyond the last row share it.
    """
    matrix, row, column = values
    array = context.make_array(kind)(context, builder, matrix)
    rows, width = cgutils.unpack_tuple(builder, array.shape, 2)
    last = builder.sub(rows, rows.type(1))
    pointers = []
    for lane in range(LANES):
        own = builder.add(row, row.type(lane))
        own = builder.select(builder.icmp_signed("<", own, last), own, last)
        pointers.append(builder.gep(array.data, [builder.add(builder.mul(own, width), column)]))
    return pointers


@_operation
def gather(typingctx, matrix, row, column):
    """Return one column of eight rows of a matrix; lanes beyond the last row repeat it."""
    _require_doubles(matrix)

    def code(context, builder, kinds, values):
        found = ir.Constant(VECTOR, ir.Undefined)
        for lane, pointer in enumerate(_in_rows(context, builder, matrix, values)):
            found = builder.insert_element(found, builder.load(pointer), ir.IntType(32)(lane))
        return found

    return lanes(matrix, types.intp, types.intp), code


@_operation
def scatter(typingctx, matrix, row, column, value):
    """Set one column of eight rows of a matrix; see `gather`."""
    _require_doubles(matrix)

    def code(context, builder, kinds, values):
        for lane, pointer in enumerate(_in_rows(context, builder, matrix, values[:3])):
            builder.store(builder.extract_element(values[3], ir.IntType(32)(lane)), pointer)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, lanes), code


# --- tiles -------------------------------------------------------------------------------------


@_operation(prefer_literal=True)
def zero_tile(typingctx, size):
    """Return a tile of zeros; its size is a literal."""
    tile = types.UniTuple(lanes, size.literal_value)

    def code(context, builder, kinds, values):
        return context.make_tuple(builder, tile, [ir.Constant(VECTOR, [0.0] * LANES)] * tile.count)

    return tile(size), code


@_operation(prefer_literal=True)
def load_tile(typingctx, array, at, size):
    """Return elements at, ..., at + size - 1 of an array of lanes; the size is a literal."""
    _require_doubles(array)
    tile = types.UniTuple(lanes, size.literal_value)

    def code(context, builder, kinds, values):
        pointer = _vectors(context, builder, array, *values[:2])
        loaded = [
            builder.load(_next(builder, pointer, i), align=DOUBLES) for i in range(tile.count)
        ]
        return context.make_tuple(builder, tile, loaded)

    return tile(array, types.intp, size), code


@_operation
def store_tile(typingctx, array, at, tile):
    """Set elements at, at + 1, ... of an array of lanes to a tile."""
    _require_doubles(array)

    def code(context, builder, kinds, values):
        pointer = _vectors(context, builder, array, *values[:2])
        for i, value in enumerate(cgutils.unpack_tuple(builder, values[2])):
            builder.store(value, _next(builder, pointer, i), align=DOUBLES)
        return context.get_dummy_value()

    return types.void(array, types.intp, tile), code


def _add_multiples(tile: Any, array: Any, start: Callable[..., Any], read: Any) -> Any:
    """Type and code of tile[i] + factor[i] x, the factors read one after the other from `start`."""
    _require_doubles(array)

    def code(context, builder, kinds, values):
        sums, matrix, first, x = values
        pointer = start(context, builder, array, matrix, first)
        added = []
        for i, total in enumerate(cgutils.unpack_tuple(builder, sums)):
            product = builder.fmul(read(builder, _next(builder, pointer, i)), x, flags=FUSED)
            added.append(builder.fadd(total, product, flags=FUSED))
        return context.make_tuple(builder, tile, added)

    return tile(tile, array, types.intp, lanes), code


@_operation
def add_scaled(typingctx, tile, array, at, x):
    """Return tile[i] + array[at + i] x, the array seen as a flat sequence of doubles."""
    return _add_multiples(tile, array, _doubles, lambda b, p: _splat(b, b.load(p)))


@_operation
def add_products(typingctx, tile, array, at, x):
    """Return tile[i] + array[at + i] x, the array seen as a flat sequence of lanes."""
    return _add_multiples(tile, array, _vectors, lambda b, p: b.load(p, align=DOUBLES))
