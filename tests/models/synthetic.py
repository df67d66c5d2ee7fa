"""A small training set whose classes follow from its words and from its image, for tests of classifiers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fuseline.models.blocks import cut
from fuseline.models.columns import Codes, Dense, Text
from fuseline.models.features import TEXT, Block, codes_name, embedding_name

CLASSES, DIM, TOKENS = 4, 12, 4


@dataclass
class Blocks:
    """Features over one block, handed out in pieces of `rows` documents."""

    block: Block
    rows: int = 10_000

    @property
    def n_rows(self) -> int:
        return len(self.block)

    def blocks(self) -> Iterator[Block]:
        for lo in range(0, len(self.block), self.rows):
            yield cut(self.block, lo, lo + self.rows)


def documents(n: int = 600, *, seed: int = 0, second_label: bool = False) -> Block:
    """Every document has two words of its class among four; its image lies near the centre of its class.

    One in ten has no image, one in ten no text; the words tell classes {0, 1} from {2, 3}, the image even from odd.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    words = [[f"w{c // 2}{k}" for k in rng.integers(0, 5, 2)] + [f"n{k}" for k in rng.integers(0, 50, 2)] for c in y]
    text = [" ".join(rng.permutation(document)) if rng.random() > 0.1 else None for document in words]
    centres = np.random.default_rng(99).normal(size=(2, DIM))
    dense = (centres[y % 2] * 2 + rng.normal(size=(n, DIM))).astype(np.float32)
    codes = np.stack([rng.integers(0, 4, n) + 4 * (y % 2) for _ in range(TOKENS)], axis=1).astype(np.uint8)
    present = rng.random(n) > 0.1
    dense[~present] = 0
    labels = [[f"c{c}", "even"] if second_label and c % 2 == 0 else [f"c{c}"] for c in y]
    return make_block(
        ids=pa.array([f"d{i}" for i in range(n)]),
        text=pa.array(text, pa.string()),
        labels=pa.array(labels, pa.list_(pa.string())),
        dense={"image": dense},
        codes={"pq": codes, "rspq": codes},
        present={"image": present, "pq": present, "rspq": present.copy()},
    )


def make_block(
    ids: pa.Array,
    text: pa.Array,
    labels: pa.Array,
    dense: dict[str, Any] | None = None,
    codes: dict[str, Any] | None = None,
    present: dict[str, Any] | None = None,
    missing: dict[str, Any] | None = None,
) -> Block:
    """Return documents with a text, embeddings and codes by their short names; everything is present by default."""
    everything, gaps = np.ones(len(ids), np.bool_), missing or {}
    here = dict.fromkeys((*(dense or {}), *(codes or {})), everything) | (present or {})
    vectors = {embedding_name(k): Dense(X, here[k], gaps.get(k)) for k, X in (dense or {}).items()}
    tokens = {codes_name(k): Codes(values, here[k]) for k, values in (codes or {}).items()}
    return Block(ids, labels, {TEXT: Text(text), **vectors, **tokens})


def parts(block: Block) -> dict[str, Any]:
    """Return what `make_block` makes the block of."""
    short = {name: name.partition("/")[2] for name in block.columns}
    dense = {short[name]: column for name, column in block.columns.items() if isinstance(column, Dense)}
    codes = {short[name]: column for name, column in block.columns.items() if isinstance(column, Codes)}
    return {
        "ids": block.ids,
        "text": block.text,
        "labels": block.labels,
        "dense": {name: column.values for name, column in dense.items()},
        "codes": {name: column.values for name, column in codes.items()},
        "present": {name: column.present for name, column in (dense | codes).items()},
        "missing": {name: column.missing for name, column in dense.items() if column.missing is not None},
    }


def with_parts(block: Block, **changes: Any) -> Block:
    """Return the block with some of its parts replaced."""
    return make_block(**{**parts(block), **changes})


def vectors(block: Block, name: str = "image") -> np.ndarray[Any, np.dtype[np.float32]]:
    return block.column(embedding_name(name), Dense).values


def tokens(block: Block, name: str = "pq") -> np.ndarray[Any, np.dtype[np.uint8]]:
    return block.column(codes_name(name), Codes).values


def present(block: Block, name: str = "image") -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask: np.ndarray[Any, np.dtype[np.bool_]] = parts(block)["present"][name]
    return mask
