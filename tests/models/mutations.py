"""Break saved checkpoints in many ways and use what can still be loaded, in a process that may crash.

    python mutations.py SEED COUNT [VARIANT ...]

A line of JSON tells each mutation before it is tried, and one what came of it: `refused` (CheckpointError), `used`, or
`declined` (a ValueError of the first use: bytes are sound, but the model asks for another embedding, say).
"""

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from safetensors.numpy import load, save

from fuseline.models.columns import Logits, Pixels, Sequence
from fuseline.models.encoders.autoencoder import Autoencoder, AutoencoderConfig
from fuseline.models.encoders.class_index import ClassIndex, ClassIndexConfig
from fuseline.models.encoders.shared_space import SharedSpace, SharedSpaceConfig
from fuseline.models.encoders.tabular import Tabular, TabularConfig
from fuseline.models.errors import CheckpointError
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.features import Block, embedding_name, logits_name
from fuseline.models.quantizers import QUANTIZERS
from fuseline.models.regression import Regressor, RegressorConfig
from fuseline.models.token_vectors import token_vectors, vocabulary
from tests.models.reference import fitted, with_column, with_text_embedding
from tests.models.synthetic import Blocks, documents, vectors

MEMORY, SECONDS = 6 << 30, 60
FEW: dict[str, Any] = {"preset": "fasttext", "dim": 4, "epochs": 2, "deterministic": True}
HASHED = {**FEW, "word_ngrams": 2, "minn": 2, "maxn": 3, "buckets": 40}
NET: dict[str, Any] = {"dim": 4, "epochs": 1, "lr": 0.01}
SETS = {**NET, "sequences": ["words"], "head": [3], "index_dim": 3, "maps": 2, "widths": [2]}
TREES = {"rounds": 3, "min_rows": 5, "embeddings": ["image"], "codes": ["pq"], "threads": 1}


def with_logits(block: Block) -> Block:
    """Return the block with what two models say of it."""
    labels = sorted({label for labels in LABELLED for label in labels})
    for number, name in enumerate(("a", "b")):
        values = np.random.default_rng(number).normal(size=(len(block), len(labels))).astype(np.float32)
        column = Logits(values, np.ones(len(block), np.bool_), tuple(labels))
        block = with_column(block, logits_name(name), column)
    return block


def with_words(block: Block) -> Block:
    """Return the block with token ids of a vocabulary of 5 words."""
    lengths = np.arange(len(block)) % 4
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    words = (np.arange(offsets[-1]) % 6).astype(np.int32)
    return with_column(block, embedding_name("words"), Sequence(offsets, words, lengths > 0, 5))


def with_pictures(block: Block) -> Block:
    """Return the block with a small picture of each document."""
    pictures = np.random.default_rng(7).integers(0, 256, (len(block), 8, 8, 3)).astype(np.uint8)
    column = Pixels((8, 8, 3), pictures.__getitem__, np.arange(len(block)), np.ones(len(block), np.bool_))
    return with_column(block, embedding_name("pixels"), column)


LABELLED = documents(120).labels.to_pylist()
TRAIN = {
    False: with_pictures(with_words(with_logits(with_text_embedding(documents(120))))),
    True: with_text_embedding(documents(120, second_label=True)),
}
NEW = with_pictures(with_words(with_logits(with_text_embedding(documents(30, seed=1)))))
TABLE = pa.table({
    "num_a": [1.0, 2.0, None, 4.0, 9.0] * 4, "num_b": [3, 3, 3, 3, 3] * 4, "cat_c": ["x", "y", None, "y", "z"] * 4,
})  # fmt: skip
LISTS = pa.array([["a", "b"], [], ["b", "c"], ["d"]])


class Variant(NamedTuple):
    """Something that can be saved, and all that is done with what was loaded."""

    make: Callable[[], Any]
    use: Callable[[Any], object]


def classifier(kind: str, *, several: bool = False, **options: Any) -> Variant:
    return Variant(lambda: fitted(kind, TRAIN[several], valid=NEW, **options), score)


def score(model: Any) -> None:
    logits = model.predict_logits(NEW)
    assert logits.shape == (len(NEW), len(model.labels)), logits.shape
    model.probabilities(logits)
    model.importance(NEW, np.argmax(np.nan_to_num(logits), axis=1))
    if isinstance(model, FastTextClassifier):
        vocabulary(model, min_count=1, most=50)
        token_vectors(model)


def quantizer(kind: str, **options: Any) -> Variant:
    entry, X = QUANTIZERS[kind], vectors(TRAIN[False])
    config = entry.Config.model_validate({"parts": 3, "codewords": 8, "iterations": 3, **options})
    return Variant(lambda: entry(config).fit(X, seed=0), quantize)


def quantize(book: Any) -> None:
    X = vectors(NEW, "image")
    codes = book.encode(X).codes
    book.decode(codes), book.errors(X, codes), book.part_errors(X, codes)


def tabular(**options: Any) -> Variant:
    def encode(encoder: Tabular) -> None:
        encoder.encode(TABLE, missing=np.nan), encoder.indices(TABLE), encoder.names()

    return Variant(lambda: Tabular.fit([TABLE], TabularConfig.model_validate(options), seed=0), encode)


CODER: dict[str, Any] = {"inputs": ["image", "text"], "hidden": 4, "inner": 3, "code": 2, "epochs": 1}


def encoded(one: Autoencoder) -> None:
    """Take codes and errors."""
    assert one.codes(NEW).shape == (len(NEW), one.width)
    one.errors(NEW)


VARIANTS: dict[str, Variant] = {
    **{kind: classifier(kind, **FEW) for kind in (
        "text", "image", "additive", "max", "gated", "bilinear", "bilinear_gated", "pq", "rspq", "avg_probs",
    )},
    "text hs": classifier("text", **HASHED, loss="hs"),
    "text ns": classifier("text", **FEW, loss="ns"),
    "additive ova": classifier("additive", several=True, **HASHED, loss="ova"),
    "lightgbm": classifier("lightgbm", **TREES),
    "lightgbm several": classifier("lightgbm", several=True, **TREES),
    "tfidf_linear": classifier("tfidf_linear"),
    "avg_tfidf": classifier("avg_tfidf", **FEW),
    "gmu": classifier("gmu", dim=4, epochs=1),
    "image_cnn": classifier("image_cnn", architecture="mobilenet_v2", epochs=1),
    "towers": classifier("towers", architecture="mobilenet_v2", epochs=1, texts=["text"], tuning=4),
    "fixed_mean": classifier("fixed_mean", models=["a", "b"]),
    "fixed_max": classifier("fixed_max", models=["a", "b"]),
    "avg_weighted": classifier("avg_weighted", models=["a", "b"]),
    "ensemble": classifier("ensemble", models=["a", "b"], rounds=3),
    "policy": classifier("policy", models=["a", "b"], epochs=1, steps=1),
    "policy both": classifier("policy", models=["a", "b"], inputs="both", layers=1, epochs=1, steps=1),
    "text_cnn": classifier("text_cnn", **NET, maps=3, widths=[2, 3]),
    "concat_frozen": classifier("concat_frozen", **NET),
    "highway_gate": classifier("highway_gate", **NET),
    "cross_product": classifier("cross_product", **NET),
    "concat_e2e": classifier("concat_e2e", **NET, maps=3, widths=[2, 3], units=4),
    "deep_sets": classifier("deep_sets", **SETS),
    "concat_placeholder": classifier("concat_placeholder", **SETS),
    "concat_padded": classifier("concat_padded", **SETS),
    "attention": classifier("attention", **NET, vectors=["text"], maps=3, widths=[2, 3], size=4, units=4, pixels=None),
    "attention joint": classifier(
        "attention", **NET, vectors=["text"], sequence=None, blocks=[1], growth=4, codes=["image"], size=4, units=4,
        joint={"inputs": ["text", "pixels"], "pooled": 2, "hidden": 4, "inner": 3, "code": 2},
    ),
    "soft_policy": classifier("soft_policy", epochs=1, lr=0.01),
    "quantizer pq": quantizer("pq"),
    "quantizer rspq": quantizer("rspq", repeats=2),
    "encoder tabular": tabular(),
    "encoder tabular bins": tabular(numeric="quantile", bins=3),
    "autoencoder": Variant(
        lambda: Autoencoder(AutoencoderConfig(**CODER)).fit(Blocks(TRAIN[False]), seed=0), lambda one: encoded(one)
    ),
    "shared_space": Variant(
        lambda: SharedSpace(SharedSpaceConfig(dimensions=3)).fit(Blocks(TRAIN[False])),
        lambda one: one.similarities(NEW),
    ),
    "regressor": Variant(
        lambda: Regressor(RegressorConfig(vectors=("text",), dim=3, epochs=1)).fit(
            Blocks(TRAIN[False]), "embed/image", seed=0
        ),
        lambda one: one.estimate(NEW),
    ),
    "encoder vocabulary": Variant(
        lambda: ClassIndex.fit([LISTS], ClassIndexConfig()), lambda encoder: encoder.encode(LISTS)
    ),
}  # fmt: skip
KINDS = {name: name.removeprefix("quantizer ").removeprefix("encoder ").split(" ")[0] for name in VARIANTS}


def change_bytes(file: Path, rng: np.random.Generator) -> str:
    """Change bits, bytes or the length of a file."""
    data = bytearray(file.read_bytes())
    at, how = int(rng.integers(len(data))), int(rng.integers(4))
    if how == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif how == 1:
        data[at] = int(rng.integers(256))
    elif how == 2:
        del data[at:]
    else:
        data[at:at] = data[at : at + int(rng.integers(1, 40))]
    file.write_bytes(data)
    return f"{file.name}: bytes, way {how} at {at}"


def change_json(file: Path, rng: np.random.Generator) -> str:
    """Put another value in one place of a JSON file, or take it out."""
    root = json.loads(file.read_text())
    places = list(spots(root))
    parent, key = places[int(rng.integers(len(places)))]
    old = parent[key]
    others = [None, -1, 0, 1, 7, 1e308, 2**31, 2**64, "", "x", "num_x", "\ud800", [], {}, True, [old], [old, old],
              {"x": old}, old + old if isinstance(old, list | str) else [None], str(old), float("nan")]  # fmt: skip
    pick = int(rng.integers(len(others) + 1))
    if pick == len(others):
        del parent[key]
    else:
        parent[key] = others[pick]
    file.write_text(json.dumps(root))
    return f"{file.name}: {key!r} {str(old)[:40]!r} -> {'gone' if pick == len(others) else str(others[pick])[:60]!r}"


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (parent, key) below a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from spots(inner)


def change_array(file: Path, rng: np.random.Generator) -> str:
    """Change numbers, type or shape of one array, in a file that is sound otherwise."""
    arrays = {name: array.copy() for name, array in load(file.read_bytes()).items()}
    name = sorted(arrays)[int(rng.integers(len(arrays)))]
    array, how = arrays[name], int(rng.integers(7))
    flat = array.reshape(-1)
    if how <= 2 and flat.size:
        extremes = [-1, 0, 1, 255, 2**31 - 1, -(2**31), 2**62, 1e38, np.nan, np.inf]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = np.array(extremes[int(rng.integers(len(extremes)))]).astype(array.dtype)
        flat[rng.integers(flat.size, size=int(rng.integers(1, 4)))] = value
    elif how == 3:
        rows = np.atleast_1d(array)
        arrays[name] = rows[: int(rng.integers(len(rows) + 1))].copy()
    elif how == 4:
        arrays[name] = np.concatenate([np.atleast_1d(array)] * 2)
    elif how == 5:
        arrays[name] = array.astype([np.int64, np.float64, np.uint8, np.int32][int(rng.integers(4))])
    else:
        arrays[name] = flat.copy() if rng.integers(2) else np.ascontiguousarray(array.T)
    file.write_bytes(save(arrays))
    return f"{file.name}: {name}, way {how}"


def change_text(file: Path, rng: np.random.Generator) -> str:
    """Change a number or a line of a text."""
    lines = file.read_text().split("\n")
    at = int(rng.choice([number for number, line in enumerate(lines) if line]))
    how, old = int(rng.integers(4)), lines[at]
    if how <= 1 and "=" in old:
        name, _, values = old.partition("=")
        words = values.split(" ")
        words[int(rng.integers(len(words)))] = str(
            rng.choice(["-1", "0", "1", "3", "99", "2147483647", "-99", "x", ""])
        )
        lines[at] = f"{name}={' '.join(words)}"
    elif how == 2:
        lines.insert(at, old)
    else:
        del lines[at]
    text = "\n".join(lines)
    # With sizes that fit, so that the parser comes to what was changed.
    blocks = text.partition("\n\n")[2].split("end of trees")[0].split("Tree=")[1:]
    sizes = " ".join(str(len(f"Tree={block}")) for block in blocks)
    if rng.integers(4):
        text = "\n".join(f"tree_sizes={sizes}" if line.startswith("tree_sizes=") else line for line in text.split("\n"))
    file.write_text(text)
    return f"{file.name}: line {at} {old[:40]!r}, way {how}"


WAYS = {".json": change_json, ".safetensors": change_array, ".txt": change_text}


def mutate(folder: Path, rng: np.random.Generator) -> str:
    """Change one file of a checkpoint; return what was done."""
    files = sorted(folder.iterdir())
    file = files[int(rng.integers(len(files)))]
    way = change_bytes if rng.integers(4) == 0 else WAYS[file.suffix]
    if file.suffix == ".safetensors" and not load(file.read_bytes()):
        way = change_bytes
    return way(file, rng)


def try_one(variant: Variant, cls: Any, folder: Path) -> str:
    """Load and use a checkpoint; return what came of it."""
    try:
        thing = cls.load(folder)
    except CheckpointError as error:
        return "refused in several lines" if "\n" in str(error) else "refused"
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            variant.use(thing)
    except ValueError as error:
        return f"declined: {error}"
    return "used"


def main(seed: int, count: int, names: list[str]) -> None:
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries write where they like
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a loop without end in compiled code ends the process
    for name in names or VARIANTS:
        variant, rng = VARIANTS[name], np.random.default_rng([seed, sorted(VARIANTS).index(name)])
        with tempfile.TemporaryDirectory() as place:
            whole, broken = Path(place) / "whole", Path(place) / "broken"
            whole.mkdir()
            thing = variant.make()
            thing.save(whole)
            first = try_one(variant, type(thing), whole)
            assert first == "used", first
            for number in range(count):
                shutil.rmtree(broken, ignore_errors=True)
                shutil.copytree(whole, broken)
                row = {"variant": name, "number": number, "mutation": mutate(broken, rng)}
                print(json.dumps(row), file=told)
                signal.alarm(SECONDS)
                outcome = try_one(variant, type(thing), broken)
                signal.alarm(0)
                print(json.dumps({"variant": name, "outcome": outcome}), file=told)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
