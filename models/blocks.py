"""Blocks cut, joined and gathered into groups of a size that training wants."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.features import Block

CHUNK = 1 << 15  # documents per group, about: enough to shuffle well, 64 MB of 512 numbers each


def part(parts: dict[str, NDArray[Any]], name: str, what: str) -> NDArray[Any]:
    """Return parts[name]; raises ValueError naming what there is."""
    if name not in parts:
        raise ValueError(f"{what}: expected {name!r}, got {sorted(parts)!r}; name one of these in the model's config")
    return parts[name]


def grouped(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield blocks of about CHUNK documents: large ones cut, small ones joined."""
    yield from map(joined, gathered(blocks))


def gathered(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """Yield lists of blocks that hold about CHUNK documents together; large ones are cut."""
    waiting: list[Block] = []
    rows = 0
    for block in blocks:
        for lo in range(0, len(block), CHUNK):
            waiting.append(cut(block, lo, lo + CHUNK))
            rows += len(waiting[-1])
            if rows >= CHUNK:
                yield waiting
                waiting, rows = [], 0
    if waiting:
        yield waiting


def cut(block: Block, lo: int, hi: int) -> Block:
    """Return documents lo..hi-1 of a block."""
    return block.at(slice(lo, hi))


def joined(blocks: list[Block]) -> Block:
    """Return the documents of several blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    dense, codes, present = (
        {
            key: np.concatenate([getattr(block, name)[key] for block in blocks])
            for key in sorted(getattr(blocks[0], name))
        }
        for name in ("dense", "codes", "present")
    )
    missing = {
        key: np.concatenate([block.missing.get(key, np.zeros(block.dense[key].shape, np.bool_)) for block in blocks])
        for key in sorted({key for block in blocks for key in block.missing})
    }
    ids, text, labels = (pa.concat_arrays([getattr(b, name) for b in blocks]) for name in ("ids", "text", "labels"))
    return Block(ids, text, labels, dense, codes, present, missing)
