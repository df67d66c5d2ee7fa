"""Weighted means of other models: weights of the highest likelihood (P-20), or greedy selection (Caruana 2004)."""

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.checkpoint import Checkpoint, refuse
from fuseline.models.classifier import softmax, tuned_threshold
from fuseline.models.classifiers.decision import TINY, BasesConfig, Mask, probabilities, weighted
from fuseline.models.classifiers.stacked import Stacked
from fuseline.models.columns import Logits
from fuseline.models.config import FrozenConfig
from fuseline.models.features import Block, Features
from fuseline.models.labels import label_pairs, labelled
from fuseline.plain import JsonObject

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
NOTHING = 1e-7  # least probability of what is true of a class alone: one that is wrong for sure must not decide all
STEPS, CLOSE = 200, 1e-5  # of the search for weights: at most so many, until none moves further than this


class Weighing(Stacked):
    """The weighted mean of the models' probabilities; the weights add up to 1.

    The threshold of several labels is tuned on all of valid: each half is scored by weights that the other half chose.
    A subclass gives `_weights`.
    """

    weights: F32  # (m,)

    def scores(self, block: Block) -> F32:
        """Return the models' probabilities (m, n, C).

        Where labels exclude one another those of a network that tells each class alone are what its odds say when just
        one class is true, the softmax of its logits: a weight of positives in its loss then makes it no surer.
        """
        return np.stack([self._told(column) for column in self.columns(block)])

    def _told(self, column: Logits) -> F32:
        alone = column.link == "sigmoid" and not self.multi_label
        return softmax(column.values) if alone else probabilities(column)

    def _weights(self, train: Features, valid: Features, *, seed: int) -> tuple[F64, JsonObject]:
        """Return weights of any sum (m,) learnt from `train` and tuned on `valid`, and what else is to be told."""
        raise NotImplementedError

    def _learn(self, train: Features, valid: Features, *, seed: int, scratch: Path | None) -> None:
        weights, facts = self._weights(train, valid, seed=seed)
        self._take(weights)
        self.facts |= facts
        if self.multi_label:
            crossed = copy(self)
            crossed.weights = shares_of(self._weights(valid, train, seed=seed)[0])
            self.threshold = tuned_threshold(self, valid, (crossed, train))

    def _tune_threshold(self, valid: Features | None) -> None:
        if not self.multi_label:
            super()._tune_threshold(valid)

    def _combined(self, block: Block, scores: F32, asked: Mask) -> F32:
        return weighted(scores, asked, self.weights)

    def _take(self, weights: F64) -> None:
        self.weights = shares_of(weights)
        shares = dict(zip(self.config.models, self.weights.tolist(), strict=True))
        self.facts |= {"parameters": len(weights), "weights": shares}

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"weights": self.weights}

    def _restore(self, saved: Checkpoint) -> None:
        self.weights = saved.array("weights", np.float32, len(self.config.models))
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and self.weights.any()):
            refuse("weights", "numbers from 0 on, not all of them 0", self.weights.tolist())


class AvgWeighted(Weighing):
    """The weighted mean under which the labels of half of valid are most probable.

    The likelihood of a mixture is concave in its weights, so that expectation maximisation finds the best ones. Over
    labels that exclude one another it is that of a document's own label (of several, of each); else that of every
    class to be a document's own, or not to be.
    """

    kind: ClassVar[str] = "avg_weighted"
    summary: ClassVar[str] = "mean of other models' probabilities, weighted by likelihood on half of valid"

    def _weights(self, train: Features, valid: Features, *, seed: int) -> tuple[F64, JsonObject]:
        m = len(self.config.models)
        weights = np.full(m, 1 / m)
        # Of one label a document each the likelihoods are few; of all classes they are made again in every step.
        kept = None if self.multi_label else list(self._likelihoods(train))
        for _ in range(STEPS):
            shares, n = np.zeros(m), 0
            for likelihood in self._likelihoods(train) if kept is None else kept:
                terms = likelihood * weights
                shares += (terms / np.maximum(terms.sum(axis=1, keepdims=True), TINY)).sum(axis=0)
                n += len(terms)
            before, weights = weights, shares / n if n else weights
            if np.abs(weights - before).max() < CLOSE:
                break
        return weights, {}

    def _likelihoods(self, features: Features) -> Iterator[F64]:
        """Yield the likelihood of what is true under each model (k, m), of documents that all of them can read."""
        for block in labelled(features):
            votes = votes_of(self, block)
            every = np.asarray(votes.asked.all(axis=0))
            if self.multi_label:
                truth = votes.truth[every]
                of_class = [np.where(truth, p[every], 1 - p[every]).ravel() for p in votes.scores]
                yield np.stack(of_class, axis=1).astype(np.float64)
            else:
                rows, classes = np.nonzero(votes.truth & every[:, None])
                yield votes.scores[:, rows, classes].T.astype(np.float64)


class EnsembleConfig(BasesConfig):
    """How models are selected."""

    rounds: int = Field(
        25, ge=1, le=10_000, description="Models that are added, one after the other; each may come again"
    )
    metric: Literal["p_at_1", "log_loss"] = Field("log_loss", description="What each addition is to improve most")
    start: int = Field(1, ge=1, description="Best single models that the selection starts with")
    bags: int = Field(1, ge=1, le=1000, description="Selections, each among a part of the models; their mean is taken")
    bag_share: float = Field(0.5, gt=0, le=1, description="Share of the models that each of several bags chooses among")


class Ensemble(Weighing):
    """Models added one by one, with replacement, each time the one that helps most (Caruana 2004).

    Additions are judged on one half of valid; the other half says after which of them to stop.
    """

    kind: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "greedy selection among other models, with replacement, on valid (Caruana 2004)"
    Config: ClassVar[type[FrozenConfig]] = EnsembleConfig
    config: EnsembleConfig

    def _weights(self, train: Features, valid: Features, *, seed: int) -> tuple[F64, JsonObject]:
        config, m, rng = self.config, len(self.config.models), np.random.default_rng(seed)
        fitting, tuning = (joined([votes_of(self, block) for block in labelled(part)]) for part in (train, valid))
        size = m if config.bags == 1 else max(1, round(config.bag_share * m))
        weights, added = np.zeros(m), list[list[str]]()
        for _ in range(config.bags):
            among = np.arange(m) if config.bags == 1 else np.sort(rng.permutation(m)[:size])
            order = selected(fitting, among, start=config.start, rounds=config.rounds, metric=config.metric)
            counts = np.cumsum(np.eye(m)[order], axis=0)  # of each model after every addition
            scores = [quality(tuning, count, config.metric) for count in counts]
            best = scores.index(max(scores))  # of equals the shortest
            weights += counts[best] / counts[best].sum()
            added.append([config.models[at] for at in order[: best + 1]])
        return weights, {"added": added}


def shares_of(weights: F64) -> F32:
    """Return weights (m,) that add up to 1."""
    return np.asarray(weights / weights.sum(), np.float32)


class Votes(NamedTuple):
    """What m models say of n labelled documents."""

    scores: F32  # (m, n, C) probabilities
    asked: Mask  # (m, n) which models have input
    truth: Mask  # (n, C) own labels
    alone: bool = False  # whether each class is told alone, so that those that are no own labels count too


def votes_of(decision: Stacked, block: Block) -> Votes:
    """Return what the models of a decision say of labelled documents."""
    scores = decision.scores(block)
    rows, classes, _ = label_pairs(block.labels, pa.array(decision.labels, pa.string()))
    truth = np.zeros(scores.shape[1:], np.bool_)
    truth[rows, classes] = True
    return Votes(scores, decision.asked(block), truth, decision.multi_label)


def joined(votes: list[Votes]) -> Votes:
    """Return several votes as one."""
    scores, asked, truth, alone = zip(*votes, strict=True)
    return Votes(np.concatenate(scores, axis=1), np.concatenate(asked, axis=1), np.concatenate(truth), alone[0])


def selected(votes: Votes, among: NDArray[np.int64], *, start: int, rounds: int, metric: str) -> list[int]:
    """Return models in the order in which they are added: the `start` best single ones, then who helps most, again.

    Args:
        votes: by which they are judged.
        among: models that may be added.
        start: how many single ones come first.
        rounds: how many are added in all.
        metric: what each is to improve; equals are decided by the other metric, then by their place.
    """
    m = len(votes.scores)
    singles = sorted(among.tolist(), key=lambda at: quality(votes, np.eye(m)[at], metric), reverse=True)
    order = singles[: min(start, rounds)]
    while len(order) < rounds:
        counts = np.bincount(order, minlength=m)
        order.append(max(among.tolist(), key=lambda at: quality(votes, counts + np.eye(m)[at], metric)))
    return order


def quality(votes: Votes, weights: F64, metric: str) -> tuple[float, float]:
    """Return how good a weighted mean is, the higher the better: by a metric, then by the other one."""
    mean = weighted(votes.scores, votes.asked, weights.astype(np.float32))
    first = float(votes.truth[np.arange(len(mean)), mean.argmax(axis=1)].mean())
    if votes.alone:
        terms = np.log(np.maximum(np.where(votes.truth, mean, 1 - mean), NOTHING)).sum(axis=1)
        likelihood = float(terms.mean())
    else:
        own = votes.truth.sum(axis=1)
        rows, classes = np.nonzero(votes.truth)
        terms = np.log(np.maximum(mean[rows, classes], TINY)) / own[rows]
        likelihood = float(terms.sum() / max(1, np.count_nonzero(own)))
    return (first, likelihood) if metric == "p_at_1" else (likelihood, first)


CLASSIFIERS = (AvgWeighted, Ensemble)
