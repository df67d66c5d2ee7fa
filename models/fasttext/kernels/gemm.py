"""Small matrix products whose tiles stay in registers: at these sizes a BLAS spends as long on packing as on products.

Matrices are C-contiguous. Columns come in whole groups of WIDTH, rows of a result in whole groups of 4 (there must be
room for them; what a product leaves in rows beyond the last is of no use). Every number of a result is summed in one
fixed order, wherever it lies.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from fuseline.models.fasttext.arrays import LANES, WIDTH
from fuseline.models.fasttext.kernels.jit import kernel


class IntrinsicMatrix:
    """A two-dimensional array inside an intrinsic: vectors of it by row and column."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = make_array(kind)(context, builder, value)
        self.builder, self.data, self.align = builder, array.data, kind.dtype.bitwidth // 8
        self.columns = cgutils.unpack_tuple(builder, array.shape)[1]
        self.number = context.get_data_type(kind.dtype)
        self.vector, self.suffix = ir.VectorType(self.number, LANES), f"v{LANES}f{kind.dtype.bitwidth}"

    def place(self, row: Any, column: Any, down: int = 0, right: int = 0) -> Any:
        """Return a pointer to the number at (row + down, column + right)."""
        add, size = self.builder.add, row.type
        offset = add(self.builder.mul(add(row, size(down)), self.columns), add(column, size(right)))
        return self.builder.gep(self.data, [offset])

    def load(self, row: Any, column: Any, down: int = 0, right: int = 0) -> Any:
        """Return the vector that starts at (row + down, column + right)."""
        place = self.builder.bitcast(self.place(row, column, down, right), self.vector.as_pointer())
        return self.builder.load(place, align=self.align)

    def store(self, vector: Any, row: Any, column: Any, down: int = 0, right: int = 0) -> None:
        """Write the vector that starts at (row + down, column + right)."""
        place = self.builder.bitcast(self.place(row, column, down, right), self.vector.as_pointer())
        self.builder.store(vector, place, align=self.align)

    def spread(self, row: Any, column: Any, right: int = 0) -> Any:
        """Return a vector with the number at (row, column + right) in every lane."""
        number = self.builder.load(self.place(row, column, 0, right))
        first = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, first, lanes)

    def add_product(self, cell: Any, a: Any, b: Any) -> None:
        """Add a * b to the vector in `cell`."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        fused = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.{self.suffix}")
        self.builder.store(self.builder.call(fused, [a, b, self.builder.load(cell)]), cell)

    def add_lanes(self, cell: Any, row: Any, column: Any, down: int, right: int) -> None:
        """Add all lanes of the vector in `cell` to the number at (row + down, column + right)."""
        kind = ir.FunctionType(self.number, [self.number, self.vector])
        lanes = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.vector.reduce.fadd.{self.suffix}")
        place = self.place(row, column, down, right)
        start = self.builder.load(place)
        self.builder.store(self.builder.call(lanes, [start, self.builder.load(cell)], fastmath=("reassoc",)), place)


@intrinsic
def outer_tile(context, out, i, j, a, b, n):  # type: ignore[no-untyped-def]
    """Add a[:n, i:i + 4]^T b[:n, j:j + WIDTH] to out[i:i + 4, j:j + WIDTH]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _, i, j, _, _, n = args
        out, a, b = (IntrinsicMatrix(context, builder, signature.args[k], args[k]) for k in (0, 3, 4))
        spots = [(row, LANES * half) for row in range(4) for half in range(2)]
        cells = {spot: cgutils.alloca_once_value(builder, out.load(i, j, *spot)) for spot in spots}
        with cgutils.for_range(builder, n) as loop:
            k = loop.index
            halves = {right: b.load(k, j, 0, right) for right in (0, LANES)}
            for row in range(4):
                number = a.spread(k, i, row)
                for right, half in halves.items():
                    out.add_product(cells[row, right], number, half)
        for spot, cell in cells.items():
            out.store(builder.load(cell), i, j, *spot)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, a, b, types.intp), codegen


@intrinsic
def inner_tile(context, out, i, j, a, b, lo, hi):  # type: ignore[no-untyped-def]
    """Add a[i:i + 2, lo:hi] b[j:j + 4, lo:hi]^T to out[i:i + 2, j:j + 4]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        _, i, j, _, _, lo, hi = args
        out, a, b = (IntrinsicMatrix(context, builder, signature.args[k], args[k]) for k in (0, 3, 4))
        zero = ir.Constant(out.vector, [0.0] * LANES)
        cells = {(r, c): cgutils.alloca_once_value(builder, zero) for r in range(2) for c in range(4)}
        with cgutils.for_range_slice(builder, lo, hi, hi.type(LANES), hi.type) as (k, _):
            rows, columns = [a.load(i, k, r) for r in range(2)], [b.load(j, k, c) for c in range(4)]
            for (r, c), cell in cells.items():
                out.add_product(cell, rows[r], columns[c])
        for (r, c), cell in cells.items():
            out.add_lanes(cell, i, j, r, c)
        return context.get_dummy_value()

    size = types.intp
    return types.void(out, size, size, a, b, size, size), codegen


@kernel
def add_outer(out, a, b, n, lo, hi):  # type: ignore[no-untyped-def]
    """Add a[:n]^T b[:n] to columns lo..hi-1 of out, all rows."""
    for j in range(lo, hi, WIDTH):
        for i in range(0, out.shape[0], 4):
            outer_tile(out, i, j, a, b, n)


@kernel
def add_inner(out, a, b, rows, lo, hi):  # type: ignore[no-untyped-def]
    """Add a[:, lo:hi] b[:, lo:hi]^T to the first `rows` of out, all columns."""
    for i in range(0, rows, 2):
        for j in range(0, out.shape[1], 4):
            inner_tile(out, i, j, a, b, lo, hi)


@kernel
def gram(out, a, rows):  # type: ignore[no-untyped-def]
    """Set out[i, j] to a[i] . a[j] for j <= i < rows."""
    for i in range(rows + rows % 2):
        for j in range(out.shape[1]):
            out[i, j] = 0
    for i in range(0, rows, 2):
        for j in range(0, i + 2, 4):
            inner_tile(out, i, j, a, a, 0, a.shape[1])
