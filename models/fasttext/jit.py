"""How the kernels of this package are compiled: without the GIL, cached on disk where there is a place for it."""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit

LOG = logging.getLogger(__name__)
# Sums may be reordered so that loops vectorise; NaN and infinity keep their meaning, since training stops at them.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called.

    Keep functions that call each other in one module: numba's disk cache looks at one file's date alone.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}
    try:
        return njit(function, cache=True, **options)  # type: ignore[no-any-return]
    except RuntimeError:  # a read-only install without a home folder; NUMBA_CACHE_DIR gives one
        LOG.debug("no folder for compiled kernels: they are compiled in every process")
        return njit(function, **options)  # type: ignore[no-any-return]
