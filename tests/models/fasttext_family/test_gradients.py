"""One step of every fusion and loss against torch autograd in float64, and against sequential steps."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fuseline.models.fasttext import arrays, hogwild
from fuseline.models.fasttext.arrays import Chunk, Params, Spec
from fuseline.models.fasttext.kernels import model as kernels
from fuseline.models.fasttext.output_tables import lookups

H, D, C, WORDS, M, KS = 3, 5, 4, 11, 2, 3
LR = 0.37
FUSIONS = range(7)
COUNTS = np.array([9, 5, 3, 2])


def chunk(kind: str, seed: int = 0) -> Chunk:
    """Six documents: both modalities, image only, text only, none, two labels, no label."""
    rng = np.random.default_rng(seed)
    lengths, labels = [3, 0, 2, 0, 4, 2], [1, 1, 1, 1, 2, 0]
    has_image = np.array([1, 1, 0, 0, 1, 1], np.uint8) * (kind in ("dense", "codes"))
    dense = rng.normal(size=(6, D)) if kind == "dense" else np.zeros((6, 0))
    dense /= np.maximum(1e-9, np.linalg.norm(dense, axis=1, keepdims=True))
    codes = rng.integers(0, KS, (6, M)) if kind == "codes" else np.zeros((6, 0))
    return Chunk(
        np.cumsum([0, *lengths]),
        rng.integers(0, WORDS, sum(lengths)).astype(np.int32),
        np.cumsum([0, *labels]),
        np.array([0, 3, 1, 2, 3, 1], np.int32),
        dense * has_image[:, None],
        codes.astype(np.uint8),
        has_image.astype(np.uint8),
        rng.random(sum(lengths) if kind == "weighted" else 0).astype(np.float32),
    )


def params(fusion: int, kind: str, seed: int = 1) -> Params:
    rng = np.random.default_rng(seed)
    width = H * H if fusion >= arrays.BILINEAR else H
    U, V = np.zeros((WORDS + M * KS, 8)), np.zeros((8, D if kind == "dense" else 0))
    W = np.zeros((C, hogwild.padded(width)))
    U[:, :H], W[:, :width] = rng.normal(size=(len(U), H)), rng.normal(size=(C, width))
    V[:H] = rng.normal(size=(H, V.shape[1]))
    return Params(U, V, W)


def spec(fusion: int, loss: int, *, positives: int = arrays.AVERAGE, group: int = 1) -> Spec:
    return Spec(fusion, loss, positives, H, WORDS, KS, 0.3, 2, group, C)


def step(p: Params, c: Chunk, s: Spec, order: list[int], loss: str = "hs") -> float:
    """Train on `order` with a learning rate that stays LR."""
    shared, stats, rows = hogwild.working(p, s.group), np.zeros(4), np.array(order)
    scratch = hogwild.new_scratch(shared, s.group, 7)
    kernels.train_range(shared, c, s, lookups(COUNTS, loss), scratch, rows, 0, len(rows), LR, 0.0, 1, 1e18, stats)
    hogwild.take_back(shared, p, s.group)
    return float(stats[0])


def document_loss(t: dict[str, torch.Tensor], c: Chunk, s: Spec, d: int) -> torch.Tensor | None:
    """The loss of one document, written down from the paper's formulas."""
    labels = c.labels[c.label_ptr[d] : c.label_ptr[d + 1]].tolist()
    if not labels:
        return None
    z = document_vector(t, c, s, d)
    return None if z is None else output_loss(s.loss, t["W"][:, : len(z)], z, labels)


def document_vector(t: dict[str, torch.Tensor], c: Chunk, s: Spec, d: int) -> torch.Tensor | None:
    """The vector z of one document."""
    ids = c.ids[c.indptr[d] : c.indptr[d + 1]].astype(np.int64)
    if not (len(ids) or c.has_image[d]):
        return None
    U, V = t["U"][:, :H], t["V"][:H]
    text = U[ids].mean(0) if len(ids) else None
    if text is not None and len(c.weights):
        text = torch.from_numpy(c.weights[c.indptr[d] : c.indptr[d + 1]].astype(np.float64)) @ U[ids]
    image = None
    if c.has_image[d]:
        if c.codes.shape[1]:
            rows = [WORDS + m * KS + int(c.codes[d, m]) for m in range(M)]
            image = s.alpha * U[rows].mean(0)
        else:
            image = V @ torch.from_numpy(c.dense[d])
    return fused(s.fusion, text, image)


def fused(fusion: int, text: torch.Tensor | None, image: torch.Tensor | None) -> torch.Tensor:
    if text is not None and image is not None:
        sides = {
            arrays.SUM: lambda: text + image,
            arrays.MAX: lambda: torch.maximum(text, image),
            arrays.GATE_TEXT: lambda: text.sigmoid() * image,
            arrays.GATE_IMAGE: lambda: text * image.sigmoid(),
            arrays.BILINEAR: lambda: torch.outer(text, image).ravel(),
            arrays.BILINEAR_GATE_TEXT: lambda: torch.outer(text.sigmoid(), image).ravel(),
            arrays.BILINEAR_GATE_IMAGE: lambda: torch.outer(text, image.sigmoid()).ravel(),
        }
        return sides[fusion]()
    if fusion < arrays.BILINEAR:
        return text if text is not None else image
    unit = torch.full((H,), H**-0.5, dtype=torch.float64)
    return torch.outer(unit if text is None else text, unit if image is None else image).ravel()


def output_loss(loss: int, W: torch.Tensor, z: torch.Tensor, labels: list[int]) -> torch.Tensor:
    if loss == arrays.SOFTMAX:
        return -torch.log_softmax(W @ z, 0)[labels].mean()
    if loss == arrays.ONE_VS_ALL:
        target = torch.zeros(C, dtype=torch.float64)
        target[labels] = 1
        return torch.nn.functional.binary_cross_entropy_with_logits(W @ z, target, reduction="sum")
    paths, total = lookups(COUNTS, "hs"), torch.zeros(())
    for y in labels:
        for q in range(paths.indptr[y], paths.indptr[y + 1]):
            sign = 1.0 if paths.turns[q] else -1.0
            total = total - torch.nn.functional.logsigmoid(sign * (W[paths.nodes[q]] @ z))
    return total / len(labels)


def autograd(p: Params, c: Chunk, s: Spec, order: list[int]) -> tuple[float, list[NDArray[np.float64]]]:
    """Summed loss of a mini-batch and the parameters after one gradient step on it."""
    t = {name: torch.tensor(getattr(p, name), requires_grad=True) for name in Params._fields}
    losses = [loss for loss in (document_loss(t, c, s, d) for d in order) if loss is not None]
    total = torch.stack(losses).sum()
    total.backward()
    stepped = [
        (t[name] - LR * t[name].grad if t[name].grad is not None else t[name]).detach().numpy()
        for name in Params._fields
    ]
    return float(total.detach()), stepped


@pytest.mark.parametrize("loss", [arrays.SOFTMAX, arrays.HIERARCHICAL, arrays.ONE_VS_ALL])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("document", [0, 1, 2])
def test_a_step_on_one_document_is_the_gradient_of_its_loss(fusion: int, loss: int, document: int) -> None:
    for kind in ("dense", "codes", "text", "weighted"):
        c, p, s = chunk(kind), params(fusion, kind), spec(fusion, loss)
        if document == 1 and kind in ("text", "weighted"):
            continue
        value, expected = autograd(p, c, s, [document])
        assert step(p, c, s, [document]) == pytest.approx(value, rel=1e-9)
        for got, want in zip(p, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


class Draws:
    """The random numbers of one thread's scratch, drawn again here."""

    def __init__(self, p: Params, s: Spec, seed: int) -> None:
        self.state = int(hogwild.new_scratch(hogwild.working(p, s.group), s.group, seed).rng[0])

    def below(self, n: int) -> int:
        x = self.state
        x ^= x >> 12
        x = (x ^ (x << 25)) & (2**64 - 1)
        self.state = x = x ^ (x >> 27)
        return (((x * 2685821657736338717) & (2**64 - 1)) >> 33) % n


def visited(p: Params, c: Chunk, s: Spec, d: int, seed: int) -> tuple[list[int], dict[int, list[int]]]:
    """Return the labels that a visit of a document trains on, and the classes that each is told from."""
    draws, labels = Draws(p, s, seed), c.labels[c.label_ptr[d] : c.label_ptr[d + 1]].tolist()
    if s.positives == arrays.SAMPLE and s.loss != arrays.ONE_VS_ALL and len(labels) > 1:
        labels = [labels[draws.below(len(labels))]]
    table = lookups(COUNTS, "ns").negatives
    drawn = {y: [int(table[draws.below(len(table))]) for _ in range(s.negatives)] for y in labels}
    return labels, drawn


def visit_loss(t: dict[str, torch.Tensor], c: Chunk, s: Spec, d: int, seed: int, p: Params) -> torch.Tensor:
    labels, drawn = visited(p, c, s, d, seed)
    z = document_vector(t, c, s, d)
    assert z is not None
    W = t["W"][:, : len(z)]
    if s.loss != arrays.NEGATIVE:
        return output_loss(s.loss, W, z, labels)
    total = torch.zeros((), dtype=torch.float64)
    for y in labels:
        total = total - torch.nn.functional.logsigmoid(W[y] @ z)
        for other in drawn[y]:
            if other != y:
                total = total - torch.nn.functional.logsigmoid(-(W[other] @ z))
    return total / len(labels)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("loss", [arrays.SOFTMAX, arrays.HIERARCHICAL, arrays.NEGATIVE, arrays.ONE_VS_ALL])
@pytest.mark.parametrize("positives", [arrays.SAMPLE, arrays.AVERAGE])
@pytest.mark.parametrize("kind", ["dense", "codes", "text"])
def test_a_document_with_two_labels_takes_the_exact_gradient(fusion: int, loss: int, positives: int, kind: str) -> None:
    c, s = chunk(kind), spec(fusion, loss, positives=positives)
    name = {arrays.HIERARCHICAL: "hs", arrays.NEGATIVE: "ns"}.get(loss, "softmax")
    chosen, compared = set(), 0
    for seed in range(12):
        p = params(fusion, kind, seed)
        labels, drawn = visited(p, c, s, 4, seed)
        chosen.update(labels)
        if loss == arrays.NEGATIVE and positives == arrays.SAMPLE and len(set(drawn[labels[0]])) < s.negatives:
            continue  # the second of two equal negatives sees the step of the first, as in the fastText program
        compared += 1
        t = {field: torch.tensor(getattr(p, field), requires_grad=True) for field in Params._fields}
        value = visit_loss(t, c, s, 4, seed, p)
        value.backward()
        shared, stats = hogwild.working(p, 1), np.zeros(4)
        scratch = hogwild.new_scratch(shared, 1, seed)
        kernels.train_range(shared, c, s, lookups(COUNTS, name), scratch, np.array([4]), 0, 1, LR, 0.0, 1, 1e18, stats)
        hogwild.take_back(shared, p, 1)
        assert stats[0] == pytest.approx(float(value.detach()), rel=1e-9)
        for field in Params._fields:
            gradient = t[field].grad if t[field].grad is not None else torch.zeros_like(t[field])
            expected = (t[field] - LR * gradient).detach().numpy()
            np.testing.assert_allclose(getattr(p, field), expected, rtol=1e-9, atol=1e-12)
    assert chosen == {1, 3}
    assert compared >= 3


def test_a_negative_that_is_drawn_twice_sees_its_own_first_step() -> None:
    """The fastText program steps row by row; several labels that are averaged share rows and are stepped at once."""
    c, p, s = chunk("text"), params(0, "text"), spec(0, arrays.NEGATIVE, positives=arrays.SAMPLE)
    seed = next(i for i in range(99) if _twice(visited(p, c, s, 0, i)))
    (y,), drawn = visited(p, c, s, 0, seed)
    other, z = drawn[y][0], p.U[c.ids[:3]].mean(0)
    w = p.W[other].copy()
    for _ in range(2):
        w -= LR / (1 + np.exp(-w @ z)) * z
    shared, stats = hogwild.working(p, 1), np.zeros(4)
    scratch = hogwild.new_scratch(shared, 1, seed)
    kernels.train_range(shared, c, s, lookups(COUNTS, "ns"), scratch, np.array([0]), 0, 1, LR, 0.0, 1, 1e18, stats)
    np.testing.assert_allclose(shared.W[other], w, rtol=1e-9)


def _twice(visit: tuple[list[int], dict[int, list[int]]]) -> bool:
    (y,), drawn = visit
    return len(set(drawn[y])) == 1 and drawn[y][0] != y


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("loss", [arrays.SOFTMAX, arrays.ONE_VS_ALL])
def test_a_group_is_one_mini_batch(fusion: int, loss: int) -> None:
    order = [0, 1, 2, 3, 4, 5]
    for kind in ("dense", "codes"):
        c, p, s = chunk(kind), params(fusion, kind), spec(fusion, loss, group=8)
        value, expected = autograd(p, c, s, order)
        assert step(p, c, s, order) == pytest.approx(value, rel=1e-9)
        for got, want in zip(p, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("loss", [arrays.SOFTMAX, arrays.HIERARCHICAL])
def test_a_block_equals_documents_one_by_one(fusion: int, loss: int) -> None:
    # Images of a block share one GEMM; the Gram correction must make that invisible.
    order = [0, 1, 4, 0, 2, 4, 1, 0]
    c, s = chunk("dense"), spec(fusion, loss)
    together, alone = params(fusion, "dense"), params(fusion, "dense")
    total = step(together, c, s, order)
    assert total == pytest.approx(sum(step(alone, c, s, [d]) for d in order), rel=1e-9)
    for got, want in zip(together, alone, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-11)


def test_one_positive_is_drawn_per_visit() -> None:
    c, s = chunk("text"), spec(arrays.SUM, arrays.SOFTMAX, positives=arrays.SAMPLE)
    labels = c.labels[c.label_ptr[4] : c.label_ptr[5]]
    seen = set()
    rng = np.array([3], np.uint64)
    for _ in range(30):
        p = params(0, "text")
        before, scratch = p.W.copy(), hogwild.new_scratch(p, 1, 3)._replace(rng=rng)
        kernels.train_range(
            p, c, s, lookups(COUNTS, "softmax"), scratch, np.array([4]), 0, 1, LR, 0.0, 1, 1e18, np.zeros(4)
        )
        z = params(0, "text").U[c.ids[5:9]].mean(0)
        probability = np.exp(before @ z) / np.exp(before @ z).sum()
        match = [np.allclose(p.W - before, LR * np.outer(np.eye(C)[y] - probability, z)) for y in labels]
        assert sum(match) == 1
        seen.add(int(np.argmax(match)))
    assert seen == {0, 1}


def test_negative_sampling_pulls_the_label_and_pushes_the_drawn() -> None:
    c, p, s = chunk("text"), params(0, "text"), spec(0, arrays.NEGATIVE)
    label, z = int(c.labels[0]), p.U[c.ids[:3]].mean(0)
    before = p.W.copy()
    assert step(p, c, s, [0], "ns") > 0
    moved = p.W - before
    probability = 1 / (1 + np.exp(-before @ z))
    np.testing.assert_allclose(moved[label], LR * (1 - probability[label]) * z, rtol=1e-9)
    pushed = [y for y in range(C) if y != label and moved[y].any()]
    assert pushed
    assert all(moved[y] @ z < 0 for y in pushed)


def test_the_learning_rate_falls_to_zero_with_words() -> None:
    c, p, s = chunk("text"), params(0, "text"), spec(0, arrays.SOFTMAX)
    before, stats = p.W.copy(), np.zeros(4)
    scratch = hogwild.new_scratch(p, 1, 0)
    kernels.train_range(p, c, s, lookups(COUNTS, "softmax"), scratch, np.array([0]), 0, 1, LR, 10.0, 1, 10.0, stats)
    np.testing.assert_array_equal(p.W, before)
    assert stats[1:3].tolist() == [1, 4]


def test_a_loss_that_is_no_number_stops_at_once() -> None:
    c, p, s = chunk("text"), params(0, "text"), spec(0, arrays.SOFTMAX)
    p.W[0, 0] = np.nan
    stats = np.zeros(4)
    scratch = hogwild.new_scratch(p, 1, 0)
    order = np.array([0] * 100)
    kernels.train_range(p, c, s, lookups(COUNTS, "softmax"), scratch, order, 0, 100, LR, 0.0, 1, 1e18, stats)
    assert stats[3] == 1
    assert stats[1] == hogwild.BLOCK
    with pytest.raises(ArithmeticError, match=r"epoch 3 after 16 documents; lower lr=0.37"):
        hogwild.check_finite(stats[None], 2, LR)
