"""How the kernels of this package are compiled: without the GIL, cached on disk where there is a place for it."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LOG = logging.getLogger(__name__)
KERNELS = ("arrays", "jit", "kernels", "losses", "steps", "tokens")  # modules whose change makes compiled code stale
STAMP = hashlib.sha256(b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in KERNELS)).hexdigest()
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
    compiled._cache._cache_file._source_stamp = STAMP
    return compiled  # type: ignore[no-any-return]


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
