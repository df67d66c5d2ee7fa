"""How the kernels of this package are compiled: without the GIL, cached on disk where there is a place for it."""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LOG = logging.getLogger(__name__)
# Modules whose change makes compiled code stale.
HERE = Path(__file__).parent
KERNELS = (HERE.with_name("arrays.py"), *sorted(HERE.glob("*.py")))
STAMP = hashlib.sha256(b"".join(file.read_bytes() for file in KERNELS)).hexdigest()
# Sums may be reordered so that loops vectorise; NaN and infinity keep their meaning, since training stops at them.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    """Compile a function when it is first called."""
    options: dict[str, Any] = {"nogil": True, "fastmath": FAST, "error_model": "numpy", **more}
    try:
        compiled = njit(function, cache=True, **options)
    except RuntimeError:  # a read-only install without a home folder; NUMBA_CACHE_DIR gives one
        LOG.debug("no folder for compiled kernels: they are compiled in every process")
        return njit(function, **options)  # type: ignore[no-any-return]
    # numba dates a cached kernel by its own file alone, and would miss a change in a module that it calls
    file = compiled._cache._cache_file
    file._source_stamp = STAMP
    file._load_index = partial(_index, file._load_index)
    return compiled  # type: ignore[no-any-return]


def _index(load: Callable[[], dict[Any, str]]) -> dict[Any, str]:
    """Return what numba knows of compiled code on the disk; nothing when it names modules of another version of ours.

    numba reads those names before it compares the stamp.
    """
    try:
        return load()
    except (ImportError, AttributeError):
        return {}


def is_compiled(function: Any) -> bool:
    """Return whether there is compiled code of a kernel on the disk that is not out of date."""
    file = getattr(function._cache, "_cache_file", None)
    return file is not None and bool(file._load_index())


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function into each of its callers: for the steps that run millions of times a second."""
    return kernel(function, inline="always")


@intrinsic
def bare(context, array):  # type: ignore[no-untyped-def]
    """Return the array without its owner: handing it to another kernel then costs no atomic reference count.

    Only inside a kernel whose caller keeps the array alive.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        view = make_array(signature.return_type)(context, builder, args[0])
        view.meminfo = context.get_constant_null(types.MemInfoPointer(types.voidptr))
        view.parent = context.get_constant_null(types.pyobject)
        return view._getvalue()

    return array(array), codegen


@intrinsic
def pick(context, own, shared, first, row):  # type: ignore[no-untyped-def]
    """Return where to index a row of a C-contiguous matrix: in `own`, a copy of its rows first.., if that holds it.

    What is returned takes the row numbers of `shared` in both cases, though only this row may be read or written. It is
    a choice between two addresses: the processor could not predict a branch.
    """

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = signature.return_type
        mine, view = (make_array(kind)(context, builder, value) for value in args[:2])
        rows, width = cgutils.unpack_tuple(builder, mine.shape)
        moved = builder.gep(mine.data, [builder.neg(builder.mul(args[2], width))])
        inside = builder.icmp_unsigned("<", builder.sub(args[3], args[2]), rows)
        view.data = builder.select(inside, moved, view.data)
        view.meminfo = context.get_constant_null(types.MemInfoPointer(types.voidptr))
        view.parent = context.get_constant_null(types.pyobject)
        return view._getvalue()

    return shared(shared, shared, types.intp, types.intp), codegen


@intrinsic
def prefetch(context, array, place):  # type: ignore[no-untyped-def]
    """Ask for the cache line that holds a number of a C-contiguous array, counted in the order of its memory."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        numbers = make_array(signature.args[0])(context, builder, args[0])
        byte, number = ir.IntType(8), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        line = builder.bitcast(builder.gep(numbers.data, [args[1]]), byte.as_pointer())
        to_write, in_every_cache, data = 1, 3, 1
        builder.call(ask, [line, *map(number, (to_write, in_every_cache, data))])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def like(context, number, x):  # type: ignore[no-untyped-def]
    """Return the number in the type of x: a literal beside a float32 would make a float64 of it."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return context.cast(builder, args[0], *signature.args)

    return x(number, x), codegen


@intrinsic
def two_to(context, x):  # type: ignore[no-untyped-def]
    """Return 2^x of a float that is a whole number within the range of exponents, by writing its bits."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = context.get_data_type(signature.args[0])
        whole, bias, digits = (ir.IntType(32), 127, 23) if kind == ir.FloatType() else (ir.IntType(64), 1023, 52)
        exponent = builder.add(builder.fptosi(args[0], whole), whole(bias))
        return builder.bitcast(builder.shl(exponent, whole(digits)), kind)

    return x(x), codegen
