"""Hogwild training: threads share the matrices without locks, each with its own scratch and random stream.

What all of them keep writing, each of several threads trains in a copy: see `kernels.exchange`.
"""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fuseline.models.errors import TrainingError
from fuseline.models.fasttext.arrays import HIERARCHICAL, NEGATIVE, WIDTH, Params, Paths, Scratch, Spec, aligned
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.corpus import Corpus
from fuseline.models.progress import note, note_doing

LOG = logging.getLogger(__name__)
EXPLODED = 10.0  # times what is lost by the frequencies of the labels alone, and one nat
BLOCK = 16  # documents whose images pass through V together
GROUP = 16  # documents per mini-batch of a large softmax; small ones are stepped document by document
OWN = 1 << 14  # numbers of U, and of a W of which a document reads few rows, that each of several threads copies
WHOLE = 1 << 20  # numbers up to which it copies V, and a W of which every document reads all
GROUP_FROM = 1 << 14  # numbers in W from which a softmax is large


def padded(n: int, width: int = 8) -> int:
    """Return n rounded up to whole groups: the kernels' loops have no remainder."""
    return -(-n // width) * width


def group_size(loss: str, classes: int, width: int) -> int:
    """Return the documents per mini-batch: a large dense W is read once for all of them."""
    return GROUP if loss in ("softmax", "ova") and classes * width >= GROUP_FROM else 1


def init_params(
    rows: int, dense: int, classes: int, *, dim: int, bilinear: bool, generator: np.random.Generator
) -> Params:
    """Return U (rows, H8), V (H8, D), W (C, Z8) float32: W zero, U and V uniform, padding zero.

    U and V lie within 1/H as in fastText; under a bilinear model V is scaled so that v starts with length about 1,
    else t (x) v would start as a product of two small numbers and learn nothing for an epoch.
    """
    H8 = padded(dim)
    U, V = aligned((rows, H8)), np.zeros((H8, dense), np.float32)
    bound = 1.0 / dim
    step = max(1, (1 << 16) // H8)  # numbers that stay near until they are in place
    for lo in range(0, rows, step):
        drawn = generator.random((min(step, rows - lo), dim), np.float32)
        drawn *= 2 * bound
        drawn -= bound
        U[lo : lo + step, :dim] = drawn
    v_bound = math.sqrt(3.0 / dim) if bilinear else bound
    V[:dim] = generator.random((dim, dense), np.float32) * (2 * v_bound) - v_bound
    return Params(U, V, aligned((classes, padded(dim * dim if bilinear else dim))))


def working(params: Params, group: int) -> Params:
    """Return the matrices as the kernels train them (see `Params`); U is shared, V and perhaps W are copies."""
    (H8, D), (C, Z8) = params.V.shape, params.W.shape
    V = aligned((H8, padded(D, WIDTH)), params.V.dtype)
    V[:, :D] = params.V
    if group == 1:
        return params._replace(V=V)
    W = aligned((Z8, padded(C, WIDTH)), params.W.dtype)
    W[:, :C] = params.W.T
    return Params(params.U, V, W)


def take_back(trained: Params, params: Params, group: int) -> None:
    """Copy what was trained into the matrices that `working` was given."""
    params.V[:] = trained.V[:, : params.V.shape[1]]
    if group > 1:
        params.W[:] = trained.W[:, : len(params.W)].T


def alone(shared: Params) -> tuple[Params, Params]:
    """Return (own, base), as `Scratch` has them, of the only thread: it trains the working matrices themselves."""
    U, V, W = (matrix[:0] for matrix in shared)
    return shared._replace(U=U), Params(U, V, W)


def copies(shared: Params, loss: int) -> tuple[Params, Params]:
    """Return (own, base), as `Scratch` has them, of one of several threads under a loss of `arrays`."""
    U, V, W = shared
    rows = max(1, OWN // max(1, W.shape[1]))
    if loss in (HIERARCHICAL, NEGATIVE):
        W = W[-rows:] if loss == HIERARCHICAL else W[:rows]
    own = Params(U[: max(1, OWN // U.shape[1])], V, W)
    base = Params._make(copied(matrix) if matrix.size <= WHOLE else matrix[:0] for matrix in own)
    return Params._make(copied(o) if len(b) else o for o, b in zip(own, base, strict=True)), base


def copied(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a copy that shares no cache line with another array."""
    copy = aligned(matrix.shape, matrix.dtype)
    copy[:] = matrix
    return copy


def new_scratch(params: Params, group: int, seed: int, matrices: tuple[Params, Params] | None = None) -> Scratch:
    """Return the scratch of one thread for working matrices, its random stream started from `seed`.

    matrices: (own, base) that `copies` returns for one of several threads; default: it is alone.
    """
    (H8, D16), dtype = params.V.shape, params.W.dtype
    Z8, C = params.W.shape if group > 1 else params.W.shape[::-1]

    def zeros(*shape: int) -> NDArray[np.floating]:
        return aligned(shape, dtype)

    rng = aligned((1,), np.uint64)
    rng[:] = np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1)
    images = BLOCK if D16 else 0
    own, base = matrices or alone(params)
    return Scratch(
        docs=aligned((BLOCK,), np.int64), slot=aligned((BLOCK,), np.int64), X=zeros(images, D16),
        gram=zeros(images, images), T=zeros(BLOCK, H8), A=zeros(BLOCK, H8), P=zeros(BLOCK, H8), S=zeros(BLOCK, H8),
        Z=zeros(group, Z8), step_z=zeros(group, Z8), columns=zeros(Z8, group), L=zeros(group, C), step=zeros(2, H8),
        rng=rng, stepped=aligned((1,), np.int64), own=own, base=base,
    )  # fmt: skip


def train(
    params: Params,
    spec: Spec,
    paths: Paths,
    corpus: Corpus,
    *,
    config: FastTextConfig,
    seed: int,
    level: int,
    most: float,
) -> list[float]:
    """Train in place and return the mean loss of each epoch, in nats.

    Documents are shuffled anew every epoch, by chunk and within. The loss of each is logged at `level`.

    Raises TrainingError at the first loss that is not a finite number, or when the mean of an epoch is above `most`.
    """
    from fuseline.models.fasttext.kernels import model as kernels

    threads = config.training_threads(corpus.documents)
    total, seen = float(config.epochs * corpus.words), 0.0
    generator = np.random.default_rng([seed, 1])
    shared = working(params, spec.group)
    scratches = [
        new_scratch(shared, spec.group, seed + t, copies(shared, spec.loss) if threads > 1 else None)
        for t in range(threads)
    ]
    losses = []
    with ThreadPoolExecutor(threads) as pool:
        for epoch in range(config.epochs):
            stats = np.zeros((threads, 4))
            note_doing(f"epoch {epoch + 1} of {config.epochs}")
            for chunk in corpus.chunks.ordered(generator.permutation(len(corpus.chunks)).tolist()):
                note(int(seen), int(total))
                order = generator.permutation(len(chunk.has_image))
                jobs = [
                    pool.submit(
                        kernels.train_range, shared, chunk, spec, paths, scratches[t], order, lo, hi,
                        config.lr, seen, threads, total, stats[t],
                    )
                    for t, (lo, hi) in enumerate(shares(len(order), threads))
                ]  # fmt: skip
                for job in jobs:
                    job.result()
                check_finite(stats, epoch, config.lr)
                seen += len(chunk.ids) + len(order)
            losses.append(float(stats[:, 0].sum() / max(1.0, stats[:, 1].sum())))
            if losses[-1] > most:
                expected = f"loss: expected at most {most:.3g} on the mean of an epoch"
                raise TrainingError(f"{expected}, got {losses[-1]:.3g} in epoch {epoch + 1}; lower lr={config.lr!r}")
            LOG.log(level, "epoch %d of %d: loss %.4f", epoch + 1, config.epochs, losses[-1])
    take_back(shared, params, spec.group)
    return losses


def shares(n: int, threads: int) -> Iterator[tuple[int, int]]:
    """Yield the range of each thread."""
    for t in range(threads):
        yield n * t // threads, n * (t + 1) // threads


def check_finite(stats: NDArray[np.float64], epoch: int, lr: float) -> None:
    """Raise TrainingError when a thread met a loss that is no finite number."""
    if stats[:, 3].any():
        documents = int(stats[:, 1].sum())
        raise TrainingError(
            f"loss: expected a finite number, got NaN or infinity in epoch {epoch + 1} after {documents} documents; "
            f"lower lr={lr!r}"
        )
