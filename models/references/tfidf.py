"""TF-IDF of words and word pairs, and logistic regression: scikit-learn's, kept as plain arrays."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.checkpoint import Checkpoint
from models.features import Block, Features, Inputs
from models.references.base import Classes, Reference, ReferenceConfig, has_text, labelled, pairs

F32 = NDArray[np.float32]
VOCABULARY = "vocabulary.json"  # the terms in the order of their columns


class TfidfLinearConfig(ReferenceConfig):
    """Settings under scikit-learn's names, where it has them."""

    ngrams: int = Field(2, ge=1, le=5)  # longest run of words that is a term
    min_df: int = Field(1, ge=1)  # documents that a term must occur in
    max_features: int | None = Field(None, ge=1)  # most frequent terms kept; default: all
    sublinear: bool = True  # 1 + log(count)
    C: float = Field(1.0, gt=0)  # inverse strength of the L2 penalty
    max_iter: int = Field(1000, ge=1)


class TfidfLinear(Reference):
    """Logits W x + b of the unit-length TF-IDF x of a text; multi-label: one logistic regression per class.

    All terms of the training texts are in memory while it is fitted. A missing text scores b.
    """

    kind: ClassVar[str] = "tfidf_linear"
    config_type: ClassVar[type[ReferenceConfig]] = TfidfLinearConfig
    uses_text: ClassVar[bool] = True
    config: TfidfLinearConfig
    vectorizer: Any  # sklearn.feature_extraction.text.TfidfVectorizer
    W: NDArray[np.float64]  # (C, terms)
    b: NDArray[np.float64]  # (C,)

    def predict_logits(self, block: Block) -> F32:
        if not len(block):
            return np.zeros((0, len(self.labels)), np.float32)
        X = self.vectorizer.transform(texts(block))
        return np.asarray(X @ self.W.T + self.b, np.float32)

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return text -> (n,) 1 where there is a text, else 0."""
        return {"text": has_text(block).astype(np.float32)}

    def save(self, folder: Path) -> None:
        super().save(folder)
        terms = json.dumps(self.vectorizer.get_feature_names_out().tolist(), ensure_ascii=False, indent=0)
        (folder / VOCABULARY).write_text(terms + "\n", encoding="utf-8")

    def describe(self) -> dict[str, Any]:
        parameters = self.W.size + self.b.size
        return {"parameters": parameters, "bytes": 8 * parameters, "vocabulary": self.W.shape[1], **self.facts}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"W": self.W, "b": self.b, "idf": self.vectorizer.idf_}

    def _restore(self, saved: Checkpoint, folder: Path) -> None:
        terms = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        self.vectorizer = self._vectorizer(vocabulary={term: column for column, term in enumerate(terms)})
        self.vectorizer.idf_ = saved.arrays["idf"]
        self.W, self.b = saved.arrays["W"], saved.arrays["b"]

    def _fit(self, train: Features, valid: Features | None, classes: Classes, *, seed: int) -> None:
        truth: list[NDArray[np.bool_]] = []

        def stream() -> Iterator[str]:
            for block in labelled(train):
                truth.append(classes.truth(block.labels))
                yield from texts(block)

        self.inputs, self.vectorizer = Inputs({}, {}, True), self._vectorizer()
        X = self.vectorizer.fit_transform(stream())
        known = np.concatenate(truth)
        if self.multi_label:
            fits = [self._binary(X, known[:, c]) for c in range(known.shape[1])]
            self.W, self.b = np.stack([w for w, _, _ in fits]), np.array([b for _, b, _ in fits])
            steps = max(n for _, _, n in fits)
        else:
            rows, y = pairs(known)
            self.W, self.b, steps = self._regression(X[rows], y)
            if len(classes.names) == 2:  # one vector tells the second class from the first
                self.W, self.b = (np.concatenate([np.zeros_like(part), part]) for part in (self.W, self.b))
        converged = steps < self.config.max_iter
        self.facts = {"documents": X.shape[0], "iterations": steps, "converged": converged}

    def _binary(self, X: Any, y: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float, int]:
        n, k = len(y), int(y.sum())
        if k in (0, n):  # nothing to tell apart: the smoothed log odds
            return np.zeros(X.shape[1]), float(np.log((k + 0.5) / (n - k + 0.5))), 0
        W, b, steps = self._regression(X, y)
        return W[0], float(b[0]), steps

    def _regression(self, X: Any, y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told as a training fact
            found = LogisticRegression(C=self.config.C, max_iter=self.config.max_iter).fit(X, y)
        return found.coef_, found.intercept_, int(found.n_iter_.max())

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
