"""A small real pipeline: drawn pictures, made-up captions, the shipped EfficientNet."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
import yaml
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from fuseline.flows.prefect_setup import prepare_prefect
from fuseline.stores.places import open_root

COLOURS = {"circle": "red", "square": "blue", "triangle": "green"}
WORDS = {
    "circle": ["round", "ball", "ring"],
    "square": ["box", "flat", "corner"],
    "triangle": ["sharp", "peak", "roof"],
}

Cli = Callable[..., Result]


def draw(path: Path, label: str, seed: int) -> None:
    """Draw one labelled picture of 64 x 64 pixels."""
    rng = random.Random(seed)
    image = Image.new("RGB", (64, 64), "white")
    pen, x, y, r = ImageDraw.Draw(image), rng.randint(20, 44), rng.randint(20, 44), rng.randint(10, 18)
    if label == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=COLOURS[label])
    elif label == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=COLOURS[label])
    else:
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=COLOURS[label])
    image.save(path)


def document(folder: Path, number: int) -> dict[str, object]:
    """Make one document with its picture."""
    label = sorted(COLOURS)[number % 3]
    name = f"images/{number:04d}.png"
    draw(folder / name, label, number)
    rng = random.Random(number)
    words = [*rng.choices(WORDS[label], k=2), rng.choice(["some", "thing", "drawn"])]
    return {"id": f"doc-{number:04d}", "title": f"Nr {number}", "text": " ".join(words), "label": label, "image": name}


def write_documents(folder: Path, documents: list[dict[str, object]]) -> Path:
    """Write the documents' JSON lines."""
    path = folder / "documents.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in documents))
    return path


def settings(folder: Path) -> dict[str, object]:
    """Return the configuration of the small pipeline."""
    options = {"preset": "fasttext", "dim": 8, "lr": 0.5, "epochs": 5}
    return {
        "name": "shapes",
        "root": str(folder / "out"),
        "source": {"reader": "jsonl", "path": str(folder / "documents.jsonl")},
        "shard_size": 20,
        "embed": {"image": {"encoder": "efficientnet_lite2"}},
        "quantize": {"pq": {"quantizer": "pq", "options": {"parts": 4, "codewords": 4}}},
        "models": {
            "text": {"kind": "text", "options": options},
            "additive": {"kind": "additive", "options": options},
            "pq": {"kind": "pq", "options": options},
        },
        "report": {"gallery": 3},
    }


def write_config(folder: Path, values: dict[str, object]) -> Path:
    """Write a configuration."""
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def make_data(folder: Path, n: int = 50) -> Path:
    """Write documents and the configuration; return the configuration's path."""
    (folder / "images").mkdir(parents=True)
    write_documents(folder, [document(folder, number) for number in range(n)])
    return write_config(folder, settings(folder))


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Call the command line in this process; one Prefect server serves all calls of the session."""
    before = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    prepare_prefect(open_root(tmp_path_factory.mktemp("prefect")))
    # A test module that imported Prefect before had it read its settings then.
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    from fuseline.flows.cli.app import app
    from fuseline.tasks.engine.pool import close_pool

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    yield call
    close_pool(kill=True)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def finished(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a pipeline that has run; tests must not change its data."""
    config = make_data(tmp_path_factory.mktemp("shapes") / "data")
    values = settings(config.parent)
    write_config(config.parent, {**values, "report": {"gallery": 3, "vectors": ["image"]}})
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    return config


@pytest.fixture(scope="session")
def trained(cli: Cli, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a copy of the finished pipeline, to predict other documents with."""
    folder = tmp_path_factory.mktemp("trained") / "data"
    shutil.copytree(finished.parent, folder, symlinks=True)
    return write_config(folder, settings(folder))
