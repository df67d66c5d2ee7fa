"""A generated corpus shaped like image captions: Zipf words, Zipf classes, class words, 512-d images, visual codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fuseline.models.columns import Codes, Column, Dense, Text
from fuseline.models.features import TEXT, Block, codes_name, embedding_name

ROWS = 20_000  # documents per shard
WORDS = 13  # per document: 92.7 M words in 7.2 M documents in FlickrTag-1
VOCABULARY = 300_000
OWN = 40  # words that belong to one class
RANK = 16  # dimensions in which the images of classes differ: features of networks have few that matter
NOISE = 4.0  # deviation of every number of an image around its class's, whose own deviation is 1


@dataclass(frozen=True)
class Corpus:
    """Files of one corpus: shards for us, label files for the fastText program."""

    folder: Path
    documents: int
    dim: int
    coded: bool = False  # whether blocks carry codes

    @property
    def n_rows(self) -> int:
        """Documents to train on."""
        return self.documents

    def blocks(self) -> Iterator[Block]:
        """Yield the training shards, read from disk as a feature store would."""
        for shard in range(-(-self.documents // ROWS)):
            yield self.block(f"train-{shard:05d}")

    def block(self, name: str) -> Block:
        """Read one shard."""
        names = ["text", "labels", "codes"] if self.coded else ["text", "labels"]
        table = pq.read_table(self.folder / f"{name}.parquet", columns=names).combine_chunks()
        present = np.ones(table.num_rows, np.bool_)
        columns: dict[str, Column] = {TEXT: Text(table["text"].combine_chunks())}
        if self.dim:
            columns[embedding_name("image")] = Dense(np.load(self.folder / f"{name}.npy", mmap_mode="r"), present)
        if self.coded:
            every = table["codes"].combine_chunks().flatten().to_numpy().reshape(-1, 16)
            columns[codes_name("pq")] = Codes(np.ascontiguousarray(every[:, :4]), present)
            columns[codes_name("rspq")] = Codes(every, present)
        ids = pa.array(np.arange(table.num_rows)).cast(pa.string())
        return Block(ids, table["labels"].combine_chunks(), columns)


def make(folder: Path, documents: int, *, classes: int, dim: int, tags: int = 1, seed: int = 0) -> Corpus:
    """Write train shards, one test shard and the same texts as `train.txt` and `test.txt` for fastText.

    classes: number of labels, drawn by a Zipf law; tags: labels per document; dim: of the images, 0 = none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    words = pa.array([f"w{i:x}" for i in range(VOCABULARY)])
    zipf = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1))
    frequency = np.cumsum(1.0 / np.arange(10, classes + 10))
    centres = rng.normal(size=(classes, RANK)) @ rng.normal(size=(RANK, max(1, dim))) / np.sqrt(RANK)
    with (folder / "train.txt").open("wb") as train, (folder / "test.txt").open("wb") as test:
        for shard in range(-(-documents // ROWS) + 1):
            last = shard == -(-documents // ROWS)
            n = min(ROWS, documents) if last else min(ROWS, documents - shard * ROWS)
            y = np.searchsorted(frequency, rng.random((n, tags)) * frequency[-1])
            text = texts(rng, words, zipf, y, n)
            labels = label_lists(y)
            (test if last else train).write(lines(labels, text))
            table = pa.table({"text": text, "labels": labels, "codes": visual_codes(rng, y[:, 0])})
            name = "test" if last else f"train-{shard:05d}"
            pq.write_table(table, folder / f"{name}.parquet", compression="none")
            if dim:
                image = centres[y[:, 0]] + NOISE * rng.standard_normal((n, dim), np.float32)
                np.save(folder / f"{name}.npy", image.astype(np.float32), allow_pickle=False)
    return Corpus(folder, documents, dim)


def texts(
    rng: np.random.Generator, words: pa.Array, zipf: NDArray[np.float64], y: NDArray[np.int64], n: int
) -> pa.Array:
    """Return n texts: 3 to 23 words, 13 on average, a fifth of them from the document's class."""
    lengths = rng.integers(3, 2 * WORDS - 2, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = np.searchsorted(zipf, rng.random(offsets[-1]) * zipf[-1])
    own = rng.random(len(ids)) < 0.2
    of_class = np.repeat(y[:, 0], lengths)[own]
    ids[own] = (of_class * 7919 + rng.integers(0, OWN, own.sum()) * 31) % VOCABULARY
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), words.take(pa.array(ids))), " ")


def label_lists(y: NDArray[np.int64]) -> pa.Array:
    """Return a (n,) list<string> array of y (n, tags)."""
    names = pc.binary_join_element_wise("c", pa.array(y.ravel()).cast(pa.string()), "")
    return pa.ListArray.from_arrays(pa.array(np.arange(0, y.size + 1, y.shape[1], dtype=np.int32)), names)


def lines(labels: pa.Array, text: pa.Array) -> bytes:
    """Return the documents as fastText lines."""
    marked = pc.binary_join_element_wise("__label__", labels.flatten(), "")
    joined = pc.binary_join(pa.ListArray.from_arrays(labels.offsets, marked), " ")
    return ("\n".join(pc.binary_join_element_wise(joined, text, " ").to_pylist()) + "\n").encode()


def visual_codes(rng: np.random.Generator, y: NDArray[np.int64]) -> pa.Array:
    """Return (n, 16) uint8 codes of which a third follow the class."""
    codes = rng.integers(0, 256, (len(y), 16))
    follow = rng.random((len(y), 16)) < 0.33
    codes[follow] = ((y[:, None] * 37 + np.arange(16) * 11) % 256)[follow]
    return pa.FixedSizeListArray.from_arrays(pa.array(codes.astype(np.uint8).ravel()), 16)
