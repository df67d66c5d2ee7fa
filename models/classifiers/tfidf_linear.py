"""TF-IDF of words and word pairs, and logistic regression: scikit-learn's, kept as plain arrays."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.automatic import automatic
from fuseline.models.checkpoint import Checkpoint, checked_texts, refuse
from fuseline.models.classifier import BaseClassifier, ClassifierConfig, has_text
from fuseline.models.columns import Size, Text
from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.features import TEXT, Block, Features, Input
from fuseline.models.labels import Classes, Tags, labelled
from fuseline.plain import JsonObject

F32 = NDArray[np.float32]
SLICE = 1 << 23  # weights multiplied at a time, since the sparse product copies them: 64 MB
# Float64 arrays as large as the weights that L-BFGS keeps: ten steps with their gradients, and ten for itself; and as
# large as documents by classes.
SOLVER, SCORES = 30, 4
TRIAL = 100  # steps of the solver in a trial: what is left to do after them changes few first classes
VOCABULARY = "vocabulary.json"  # the terms in the order of their columns


class TfidfOptions(ClassifierConfig):
    """Settings of terms and regressions, under scikit-learn's names where it has them."""

    ngrams: int = Field(2, ge=1, le=5, description="Longest run of words that is a term")
    min_df: int = Field(1, ge=1, description="Documents that a term must occur in")
    max_features: int | None = Field(None, ge=1, description="Most frequent terms kept; default: all")
    sublinear: bool = Field(True, description="Weigh a term by 1 + log of its count instead of the count")
    C: float = automatic(
        1.0, choices=(0.3, 1.0, 3.0, 10.0, 30.0, 100.0), gt=0, description="Inverse strength of the L2 penalty"
    )
    max_iter: int = Field(1000, ge=1, description="Steps of the solver")
    max_classes: int | None = runtime_option(
        5000, ge=2, description="Classes at most of a multi-label model: it fits a regression for each"
    )

    def for_trial(self) -> Self:
        return self.model_copy(update={"max_iter": min(self.max_iter, TRIAL)})


class TfidfLinearConfig(TfidfOptions):
    """Settings of the classifier alone."""

    memory_mb: int = runtime_option(
        8192, ge=1, description="MB that weights and their solver may take; more is refused before anything is fitted"
    )


class TfidfLinear(BaseClassifier):
    """Logits W x + b of the unit-length TF-IDF x of a text; multi-label: one logistic regression per class.

    All terms of the training texts are in memory while it is fitted. A missing text scores b.
    """

    kind: ClassVar[str] = "tfidf_linear"
    summary: ClassVar[str] = "TF-IDF of words and word pairs, logistic regression"
    Config: ClassVar[type[FrozenConfig]] = TfidfLinearConfig
    config: TfidfLinearConfig
    vectorizer: Any  # sklearn.feature_extraction.text.TfidfVectorizer
    W: NDArray[np.float64]  # (C, terms)
    b: NDArray[np.float64]  # (C,)

    def predict_logits(self, block: Block) -> F32:
        if not len(block):
            return np.zeros((0, len(self.labels)), np.float32)
        X = self.vectorizer.transform(texts(block))
        logits = np.empty((len(block), len(self.labels)), np.float32)
        step = max(1, SLICE // max(1, self.W.shape[1]))
        for lo in range(0, len(self.labels), step):
            logits[:, lo : lo + step] = X @ self.W[lo : lo + step].T + self.b[lo : lo + step]
        return logits

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return text -> (n,) 1 where there is a text, else 0."""
        return {"text": has_text(block).astype(np.float32)}

    def describe(self) -> JsonObject:
        parameters = self.W.size + self.b.size
        return {"parameters": parameters, "bytes": 8 * parameters, "vocabulary": self.W.shape[1], **self.facts}

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"W": self.W, "b": self.b, "idf": self.vectorizer.idf_}

    def _files(self) -> dict[str, bytes]:
        terms = json.dumps(self.vectorizer.get_feature_names_out().tolist(), ensure_ascii=False, indent=0)
        return {VOCABULARY: f"{terms}\n".encode()}

    def _restore(self, saved: Checkpoint) -> None:
        terms, C = checked_texts(VOCABULARY, saved.json(VOCABULARY)), len(self.labels)
        self.vectorizer = self._vectorizer(vocabulary={term: column for column, term in enumerate(terms)})
        idf = saved.array("idf", np.float64, len(terms))
        if not np.isfinite(idf).all():
            refuse("idf", "finite numbers", "others")
        self.vectorizer.idf_ = idf
        self.W, self.b = saved.array("W", np.float64, C, len(terms)), saved.array("b", np.float64, C)

    @classmethod
    def inputs(cls, config: TfidfLinearConfig) -> tuple[Input, ...]:
        return (Input(TEXT, Text),)

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        sizes: list[int] = []

        def stream() -> Iterator[str]:
            for block in labelled(train):
                parts.append(classes.pairs(block.labels))
                sizes.append(len(block))
                yield from texts(block)

        self.sizes, self.vectorizer = {TEXT: Size(Text.kind)}, self._vectorizer()
        X = self.vectorizer.fit_transform(stream())
        tags, C = Tags(parts, sizes), len(classes.names)
        self._refuse_large(C, X.shape[1], len(tags.rows))
        if self.multi_label:
            self.W, self.b, steps = np.empty((C, X.shape[1])), np.empty(C), 0
            for c in range(C):
                self.W[c], self.b[c], n = self._binary(X, tags.of(c))
                steps = max(steps, n)
        else:
            self.W, self.b, steps = self._regression(X[tags.rows], tags.classes)
            if len(classes.names) == 2:  # one vector separates the two classes
                self.W, self.b = (np.concatenate([np.zeros_like(part), part]) for part in (self.W, self.b))
        converged = steps < self.config.max_iter
        self.facts = {"documents": X.shape[0], "iterations": steps, "converged": converged}

    def _refuse_large(self, C: int, terms: int, rows: int) -> None:
        solved = SOLVER * terms + C * terms if self.multi_label else SOLVER * C * terms + SCORES * rows * C
        expected, got = self.config.memory_mb, (8 * solved >> 20) + 1
        if got > expected:
            cure = (
                f"{C:,} classes of {terms:,} terms: set max_features or min_df, keep fewer labels, or raise memory_mb"
            )
            raise ValueError(f"memory_mb: expected at most {expected!r} for the weights, got {got!r}; {cure}")

    def _binary(self, X: Any, y: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float, int]:
        n, k = len(y), int(y.sum())
        if k in (0, n):  # only one class: the smoothed log odds
            return np.zeros(X.shape[1]), float(np.log((k + 0.5) / (n - k + 0.5))), 0
        W, b, steps = self._regression(X, y)
        return W[0], float(b[0]), steps

    def _regression(self, X: Any, y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # reported as a training fact
            regression = LogisticRegression(C=self.config.C, max_iter=self.config.max_iter).fit(X, y)
        return regression.coef_, regression.intercept_, int(regression.n_iter_.max())

    def _vectorizer(self, vocabulary: dict[str, int] | None = None) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            ngram_range=(1, self.config.ngrams),
            min_df=self.config.min_df,
            max_features=self.config.max_features,
            sublinear_tf=self.config.sublinear,
            vocabulary=vocabulary,
        )


def texts(block: Block) -> list[str]:
    """Return the texts of a block; nulls are empty."""
    return [text or "" for text in block.text.to_pylist()]
