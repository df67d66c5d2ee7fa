"""What tests of the reference classifiers share."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from fuseline.models.columns import Column, Dense
from fuseline.models.features import Block, embedding_name
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents, parts, with_parts


def with_text_embedding(block: Block, seed: int = 0) -> Block:
    """Return the block with an embedding "text" (n, 6) that tells the same as its words."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(98).normal(size=(2, 6))
    texts = block.text.to_pylist()
    side = np.array([0 if text is None or "w0" in text else 1 for text in texts])
    has = np.array([text is not None for text in texts])
    X = (centres[side] * 2 + rng.normal(size=(len(block), 6))).astype(np.float32)
    X[~has] = 0
    return with_column(block, embedding_name("text"), Dense(X, has))


def with_column(block: Block, name: str, column: Column) -> Block:
    """Return the block with one more column."""
    return replace(block, columns={**block.columns, name: column})


def fitted(name: str, block: Block, *, seed: int = 0, rows: int = 10_000, valid: Block | None = None, **options: Any):  # type: ignore[no-untyped-def]
    entry = MODELS[name]
    classifier = entry(entry.Config.model_validate(options))
    held_out = with_text_embedding(documents(200, seed=5)) if valid is None else valid
    return classifier.fit(Blocks(block, rows), Blocks(held_out), seed=seed)


def accuracy(model: Any, block: Block) -> float:
    best = model.predict_logits(block).argmax(axis=1)
    return float(np.mean([model.labels[y] in labels for y, labels in zip(best, block.labels.to_pylist(), strict=True)]))


def without(block: Block, *, text: bool = False, image: bool = False) -> Block:
    """Return the block without its texts or images: NaN where a careless model would look."""
    n, known = len(block), parts(block)
    dense, present = dict(known["dense"]), dict(known["present"])
    gone = [*(["text"] if text else []), *(["image", "pq", "rspq"] if image else [])]
    for name in gone:
        present[name] = np.zeros(n, np.bool_)
        if name in dense:
            dense[name] = np.full_like(dense[name], np.nan)
    texts = pa.nulls(n, pa.string()) if text else block.text
    return with_parts(block, text=texts, dense=dense, present=present)


def only(block: Block, labels: list[list[str]]) -> Block:
    """Return the block with other labels."""
    arrow = pa.array(labels, pa.list_(pa.string()))
    return replace(block, labels=arrow)
