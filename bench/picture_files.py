"""Towers over what the feature store holds, beside the same network over image files that every epoch decodes again."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image

from fuseline.models.classifiers.towers import Towers, TowersConfig
from fuseline.models.columns import Column, Dense
from fuseline.models.features import Block, embedding_name
from fuseline.models.frames import resized
from fuseline.models.image_layers import image_tower
from fuseline.models.image_networks import SCALES, ImageNetworkConfig
from fuseline.models.layers import Concat, Panel, Tuning
from fuseline.stores.layouts.zarr import ZarrStore
from fuseline.stores.manifest import FileRecord
from fuseline.stores.places import open_root
from fuseline.stores.schemas import embedding
from fuseline.tasks.engine.images import ImageLimits, decode

F32 = NDArray[np.float32]
WIDTH, HEIGHT, SIDE, CLASSES, TEXT, BATCH, LR, EPOCHS = 500, 375, 96, 8, 64, 32, 0.002, 10
TOWER = ImageNetworkConfig(architecture="efficientnet_lite2", pretrained=True, freeze_fraction=1.0)
LIMITS = ImageLimits()


def draw(folder: Path, y: NDArray[np.int64]) -> list[Path]:
    """Write a photo-sized JPEG per document: stripes whose direction tells a half of its class, under noise."""
    rng, files = np.random.default_rng(0), []
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / 40
    for number, c in enumerate(y):
        angle = np.pi * (c // 2) / (CLASSES // 2)
        stripes = np.sin(rows * np.sin(angle) + columns * np.cos(angle) + rng.uniform(0, 7))
        noise = rng.normal(0, 40, (HEIGHT, WIDTH, 3))
        pixels = np.clip(128 + 60 * stripes[:, :, None] + noise, 0, 255).astype(np.uint8)
        files.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=90)
    return files


def pictures(files: list[Path]) -> NDArray[np.uint8]:
    """Return the pictures (n, SIDE, SIDE, 3) of files, as the stage `pixels` makes them."""
    decoded = (decode(file.read_bytes(), limits=LIMITS, min_side=SIDE) for file in files)
    return np.stack([resized(pixels, SIDE, "stretch") for pixels in decoded])


@dataclass(frozen=True)
class Stored:
    """Documents whose columns are read from a feature store."""

    store: ZarrStore
    shards: dict[str, dict[str, FileRecord]]  # column -> its files
    labels: pa.Array
    n_rows: int
    start: int  # of its rows

    def blocks(self) -> Iterator[Block]:
        """Yield the block."""
        columns: dict[str, Column] = {}
        for name, files in self.shards.items():
            columns[embedding_name(name)] = Dense.of(self.store.read(f"{name}-{self.start}", files, None), "embedding")
        yield Block(pa.array([str(i) for i in range(self.n_rows)]), self.labels, columns)


class Documents:
    """Documents of some classes: their image files, vectors of their texts, and a store for what is made of them."""

    def __init__(self, folder: Path, n: int) -> None:
        rng = np.random.default_rng(0)
        self.y = rng.permutation(np.arange(n) % CLASSES)
        self.files = draw(folder, self.y)
        hints = np.eye(TEXT)[self.y % 2] * 2  # the other half of the class
        self.texts = {name: unit(hints + rng.normal(size=(n, TEXT))) for name in ("title", "description")}
        self.store = ZarrStore(open_root(folder / "store"))

    def stored(self, vectors: dict[str, F32], rows: slice) -> Stored:
        """Return some of the documents with vectors, as the store holds them."""
        y = self.y[rows]
        ids, ok, here = pa.array([str(i) for i in range(len(y))]), pa.array(["ok"] * len(y)), pa.array([True] * len(y))
        shards = {}
        for name, X in vectors.items():
            flat = pa.FixedSizeListArray.from_arrays(pa.array(X[rows].reshape(-1)), X.shape[1])
            table = pa.Table.from_arrays([ids, ok, here, flat], schema=embedding(X.shape[1], pa.float32()))
            self.store.delete(f"{name}-{rows.start}")
            shards[name] = self.store.write(f"{name}-{rows.start}", table)
        return Stored(self.store, shards, pa.array([[f"c{c}"] for c in y]), len(y), rows.start)


def unit(X: NDArray[np.floating]) -> F32:
    """Return X (n, D) with rows of length 1."""
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True), np.float32)


class UnitTower(torch.nn.Module):
    """A frozen tower whose features have length 1, as vectors of a store are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = image_tower(TOWER, 1, SCALES["lite"], side=SIDE, file=TOWER.weight_file())[0]
        self.width = self.tower.width

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return features (n, width)."""
        return torch.nn.functional.normalize(self.tower(pixels))


def panel(image: torch.nn.Module) -> Panel:
    """Return the network of `Towers` with some tower for the image."""
    branches = {"image": image, **{name: Tuning(TEXT, 64, 1) for name in ("title", "description")}}
    widths = [int(branches[name].width) for name in sorted(branches)]  # type: ignore[arg-type]
    return Panel(branches, Concat(widths, 0, 0, dropout=0.0), CLASSES, dropout=0.0)


def train_on_files(made: Documents, rows: slice, epochs: int, *, seed: int) -> tuple[Panel, float]:
    """Return the network that a plain loop trains, decoding the files of every batch, and seconds of an epoch."""
    torch.manual_seed(seed)
    network = panel(UnitTower()).train()
    optimizer = torch.optim.Adam([one for one in network.parameters() if one.requires_grad], lr=LR)
    y, started = torch.from_numpy(made.y), time.process_time()
    for _ in range(epochs):
        order = rows.start + torch.randperm(rows.stop - rows.start)
        for lo in range(0, len(order), BATCH):
            batch = order[lo : lo + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(from_files(made, batch)), y[batch]).backward()
            optimizer.step()
    return network.eval(), (time.process_time() - started) / epochs


def from_files(made: Documents, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a batch whose pictures are read from their files."""
    pixels = torch.from_numpy(pictures([made.files[row] for row in rows.tolist()]))
    return {"image": pixels, **{name: torch.from_numpy(X)[rows] for name, X in made.texts.items()}}


def train_on_store(train: Stored, epochs: int, *, seed: int) -> tuple[Towers, float]:
    """Return what ours trains on the store, and the processor seconds that it took."""
    options = {"pixels": None, "image": "image", "tuning": 64, "lr": LR, "batch": BATCH, "epochs": epochs}
    started = time.process_time()
    return Towers(TowersConfig.model_validate(options)).fit(train, None, seed=seed), time.process_time() - started


def towers_vs_files(args: argparse.Namespace) -> float:
    """Return how many times faster an epoch is over the store, which holds what a frozen tower makes of pictures.

    The plain loop trains the same network over photo-sized files, which it decodes and scales in every epoch. Of a
    fiftieth of the documents one half is trained on, the other tells how right both are.
    """
    n = max(2 * CLASSES, args.documents // 50)
    halves = slice(0, n // 2), slice(n // 2, n)
    with tempfile.TemporaryDirectory() as folder:
        made = Documents(Path(folder), n)
        tower, places = UnitTower().eval(), torch.arange(n)
        with torch.inference_mode():
            parts = [tower(from_files(made, places[lo : lo + BATCH])["image"]) for lo in range(0, n, BATCH)]
        train, test = (made.stored({**made.texts, "image": torch.cat(parts).numpy()}, half) for half in halves)
        slow, fast, many = list[float](), list[float](), 20 * args.epochs
        for seed in range(args.rounds):
            slow.append(train_on_files(made, halves[0], args.epochs, seed=seed)[1])
            fast.append((train_on_store(train, 1 + many, seed=seed)[1] - train_on_store(train, 1, seed=seed)[1]) / many)
        medians = statistics.median(slow), statistics.median(fast)
        if not args.json:
            sys.stdout.write(f"towers: an epoch over files {medians[0]:.3f} s, over the store {medians[1]:.4f} s\n")
            sys.stdout.write(accuracies(made, train, test, halves[0], args.rounds))
    return medians[0] / medians[1]


def accuracies(made: Documents, train: Stored, test: Stored, rows: slice, seeds: int) -> str:
    """Return a line that says how right both are on documents that they were not trained on."""
    (block,), y = test.blocks(), made.y[rows.stop :]
    files, store = list[float](), list[float]()
    for seed in range(seeds):
        network = train_on_files(made, rows, EPOCHS, seed=seed)[0]
        with torch.inference_mode():
            logits = network(from_files(made, torch.arange(rows.stop, len(made.y))))
        files.append(float((logits.argmax(dim=1).numpy() == y).mean()))
        model = train_on_store(train, EPOCHS, seed=seed)[0]
        best = model.predict_logits(block).argmax(axis=1)
        store.append(float(np.mean([model.labels[at] == f"c{c}" for at, c in zip(best, y, strict=True)])))
    over = [f"{np.mean(one):.3f} +- {np.std(one):.3f}" for one in (files, store)]
    return f"towers: accuracy after {EPOCHS} epochs, {seeds} seeds: over files {over[0]}, over the store {over[1]}\n"
