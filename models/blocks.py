"""Blocks cut, joined and gathered into groups of a size that training wants."""

from collections.abc import Iterator

import pyarrow as pa

from fuseline.models.features import Block

CHUNK = 1 << 15  # documents per group, about: enough to shuffle well, 64 MB of 512 numbers each


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
    columns = {
        name: type(column).join([block.columns[name] for block in blocks])
        for name, column in sorted(blocks[0].columns.items())
    }
    ids, labels = (pa.concat_arrays([getattr(block, name) for block in blocks]) for name in ("ids", "labels"))
    return Block(ids, labels, columns)
