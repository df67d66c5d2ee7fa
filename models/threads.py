"""How many threads each numeric library may use in this process."""

import os
import sys

_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_limit: list[int] = []


def limit_threads(n: int) -> None:
    """Give every numeric library of this process `n` threads, those loaded later included.

    A pool worker calls this with 1 before its first task: two processes of two threads each on two cores spin against
    each other and fall to a twentieth of their speed.
    """
    if n < 1:
        raise ValueError(f"threads: expected at least 1, got {n!r}; use 1 inside pool workers")
    _limit[:] = [n]
    os.environ.update(dict.fromkeys(_ENVIRONMENT, str(n)))
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if n == 1 else "true"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(n)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(n)
    if "numba" in sys.modules:
        numba = sys.modules["numba"]
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))


def thread_limit() -> int:
    """Return how many threads one model may use: as set by `limit_threads` or OMP_NUM_THREADS, else one per core."""
    if _limit:
        return _limit[0]
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(threads) if threads.isdigit() and int(threads) > 0 else os.cpu_count() or 1
