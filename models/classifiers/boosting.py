"""LightGBM over concatenated embeddings and codes; what is absent is a missing value, which trees handle natively."""

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.checkpoint import Checkpoint
from fuseline.models.classifier import BaseClassifier, ClassifierConfig, embedding
from fuseline.models.classifiers.trees import Forest, load_booster
from fuseline.models.columns import Codes, Dense
from fuseline.models.config import FrozenConfig, Names, runtime_option
from fuseline.models.features import Block, Features, Input, codes_name, embedding_name, width
from fuseline.models.labels import Classes, Tags, labelled
from fuseline.models.progress import note, note_doing
from fuseline.models.threads import thread_limit
from fuseline.plain import JsonObject

F32 = NDArray[np.float32]


class BoostingConfig(ClassifierConfig):
    """Settings of the trees; names beside them are LightGBM's."""

    embeddings: Names = Field(
        ("image",), description="Names of embeddings in `embed`: images, texts as sentence embeddings, tables"
    )
    codes: Names = Field((), description="Names of codebooks in `quantize`; every code is a categorical column")
    rounds: int = Field(100, ge=1, description="Boosting rounds, one tree per class each (LightGBM's num_iterations)")
    learning_rate: float = Field(0.1, gt=0, description="Share of each tree that is added")
    leaves: int = Field(31, ge=2, description="Leaves of a tree (num_leaves)")
    min_rows: int = Field(20, ge=1, description="Training rows that a leaf must hold (min_data_in_leaf)")
    feature_fraction: float = Field(1.0, gt=0, le=1, description="Share of the columns that each tree may use")
    l2: float = Field(
        1.0,
        ge=0,
        description="L2 penalty (lambda_l2). At 0, LightGBM's default, scores of rare classes grow without bound",
    )
    early_stopping: int | None = Field(
        5, ge=1, description="Rounds without a better loss on valid after which training stops; null: never"
    )
    bins: int = Field(63, ge=2, le=65535, description="Values that a column is cut into (max_bin); LightGBM's own: 255")
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of training; default: every core that the process may use"
    )
    max_classes: int | None = runtime_option(1000, ge=2, description="Classes at most: a round grows a tree for each")

    @model_validator(mode="after")
    def _something_to_read(self) -> "BoostingConfig":
        if not self.embeddings and not self.codes:
            raise ValueError("embeddings: expected at least one embedding or codebook, got none; name one")
        return self


class Boosting(BaseClassifier):
    """Gradient boosted trees: one multiclass booster, or for multi-label one binary booster per class.

    All training rows are in memory as float32 (n, columns) while it is fitted.
    """

    kind: ClassVar[str] = "lightgbm"
    summary: ClassVar[str] = "gradient boosted trees over embeddings and codes"
    Config: ClassVar[type[FrozenConfig]] = BoostingConfig
    config: BoostingConfig
    boosters: list[Any]  # lightgbm.Booster

    def predict_logits(self, block: Block) -> F32:
        X, options = self._columns(block), {"raw_score": True, "num_threads": self._threads()}
        scores = [booster.predict(X, **options) for booster in self.boosters] if len(X) else []
        if not scores:
            return np.zeros((0, len(self.labels)), np.float32)
        return np.asarray(np.stack(scores, axis=1) if self.multi_label else scores[0], np.float32)

    def describe(self) -> JsonObject:
        size = sum(len(booster.model_to_string()) for booster in self.boosters)
        per_document = 4 * width(self.sizes, Dense) + width(self.sizes, Codes)
        return {"bytes": size, "bytes_per_document": per_document, **self.facts}

    def _files(self) -> dict[str, bytes]:
        # The number of threads is noted in the text, though it decides nothing.
        texts = (re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", one.model_to_string()) for one in self.boosters)
        return {tree_file(number): text.encode() for number, text in enumerate(texts)}

    def _restore(self, saved: Checkpoint) -> None:
        C, columns = len(self.labels), sum(self.sizes[one.name].width for one in self.inputs(self.config))
        objective = "binary sigmoid:1" if self.multi_label else f"multiclass num_class:{C}"
        forest = Forest(1 if self.multi_label else C, columns, objective)
        files = [saved.files[tree_file(number)] for number in range(C if self.multi_label else 1)]
        self.boosters = [load_booster(data.decode("utf-8"), forest) for data in files]

    @classmethod
    def inputs(cls, config: BoostingConfig) -> tuple[Input, ...]:
        dense = (Input(embedding_name(name), Dense) for name in config.embeddings)
        codes = (Input(codes_name(name), Codes) for name in config.codes)
        return (*dense, *codes)

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        X, tags = self._read(train, classes)
        held_out = None if valid is None or self.config.early_stopping is None else self._read(valid, classes)
        if held_out is not None and not len(held_out[0]):
            held_out = None
        parameters = self._parameters(seed)
        if self.multi_label:
            binary = {**parameters, "objective": "binary"}
            columns = range(len(classes.names))
            tests = ((None if held_out is None else (held_out[0], held_out[1].of(c))) for c in columns)
            self.boosters = [self._boost(X, tags.of(c), binary, test) for c, test in zip(columns, tests, strict=True)]
        else:
            multi = {**parameters, "objective": "multiclass", "num_class": len(classes.names)}
            test = None if held_out is None else (held_out[0][held_out[1].rows], held_out[1].classes)
            self.boosters = [self._boost(X[tags.rows], tags.classes, multi, test)]
        trees = sum(booster.num_trees() for booster in self.boosters)
        self.facts = {"boosters": len(self.boosters), "trees": trees, "documents": len(X), "columns": X.shape[1]}

    def _boost(self, X: F32, y: NDArray[Any], parameters: dict[str, Any], test: tuple[F32, NDArray[Any]] | None) -> Any:
        import lightgbm

        first = width(self.sizes, Dense)
        data = lightgbm.Dataset(
            X, y.astype(np.int32), categorical_feature=list(range(first, X.shape[1])), params=parameters
        )
        tests = [] if test is None else [data.create_valid(test[0], test[1].astype(np.int32))]
        stop = [lightgbm.early_stopping(self.config.early_stopping, verbose=False)] if tests else []
        note_doing("boosting rounds")
        calls = [*stop, lambda round_: note(round_.iteration + 1, round_.end_iteration)]
        booster = lightgbm.train(parameters, data, self.config.rounds, valid_sets=tests, callbacks=calls)
        # Predictions before and after a save come from the same text, stopped at its best round.
        return lightgbm.Booster(model_str=booster.model_to_string())

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {
            "learning_rate": self.config.learning_rate,
            "num_leaves": self.config.leaves,
            "min_data_in_leaf": self.config.min_rows,
            "feature_fraction": self.config.feature_fraction,
            "lambda_l2": self.config.l2,
            "max_bin": self.config.bins,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self._threads(),
            "verbosity": -1,
        }

    def _read(self, features: Features, classes: Classes) -> tuple[F32, Tags]:
        """Return columns (n, K) and the labels of the labelled documents."""
        X, tags = [], []
        for block in labelled(features):
            if not hasattr(self, "sizes"):
                self.sizes = {one.name: block.column(*one).size for one in self.inputs(self.config)}
            X.append(self._columns(block))
            tags.append(classes.pairs(block.labels))
        columns = width(self.sizes, Dense) + width(self.sizes, Codes)
        return np.concatenate([np.zeros((0, columns), np.float32), *X]), Tags(tags, [len(part) for part in X])

    def _columns(self, block: Block) -> F32:
        """Return (n, K) float32: embeddings in their configured order, then codes; NaN where absent."""
        columns = []
        for name in self.config.embeddings:
            X, has = embedding(block, name, self.sizes[embedding_name(name)].width)
            X[~has] = np.nan
            if (missing := block.column(embedding_name(name), Dense).missing) is not None:
                X[missing] = np.nan
            columns.append(X)
        for name in self.config.codes:
            column = block.column(codes_name(name), Codes)
            codes = column.values.astype(np.float32)
            if codes.shape[1] != (expected := self.sizes[codes_name(name)].width):
                raise ValueError(f"codes {name}: expected {expected!r} columns, got {codes.shape[1]!r}; train again")
            codes[~column.present] = np.nan
            columns.append(codes)
        return np.concatenate(columns, axis=1)

    def _threads(self) -> int:
        return self.config.threads or thread_limit()


def tree_file(number: int) -> str:
    """Return the name of a booster's file: LightGBM's own text format."""
    return f"trees-{number:05d}.txt"
