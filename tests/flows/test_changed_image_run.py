"""An image that is replaced while a run is on its way, through the command line."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import fuseline.flows.pipeline
from fuseline.flows.config import Config, load_config
from fuseline.flows.graph import build
from fuseline.flows.step import RunOptions
from fuseline.flows.steps import legs
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Node
from fuseline.tasks.stages.embed import ImageEmbedConfig, embed_images
from tests.flows.conftest import Cli, document, draw, settings, write_config, write_documents
from tests.flows.test_run import busy, plan_of

N, NAME = 6, "images/0004.png"


def make(folder: Path) -> Path:
    """Write six documents, and the configuration of one embedding."""
    (folder / "images").mkdir(parents=True)
    write_documents(folder, [document(folder, number) for number in range(N)])
    return write_config(folder, settings(folder) | {"quantize": {}, "models": {}, "run": {"allowed_failures": 0.5}})


def published(config: Path) -> dict[str, Any]:
    """Return the row of the embedding."""
    settings = load_config(config)
    dataset = next(node for node in build(settings) if node.name == "embed/image").dataset(open_root(settings.root))
    return next(row for row in dataset.read(dataset.records()[0]).to_pylist() if row["id"] == "doc-0004")


def right(config: Path) -> list[float]:
    """Return the embedding of the picture that lies there."""
    documents = pa.table({"id": ["doc-0004"], "image": [{"uri": NAME}]})
    table = embed_images(documents, ImageEmbedConfig(encoder="efficientnet_lite2"), source=str(config.parent))
    return table["embedding"][0].as_py()  # type: ignore[no-any-return]


@pytest.mark.parametrize("back", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["put back", "left"])
def test_a_replaced_image_is_told_and_right_after_one_more_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    config = make(tmp_path / "data")
    image, kept = config.parent / NAME, tmp_path / "kept.png"
    shutil.copy2(image, kept)

    class ReplaceImage:
        def make(self, nodes: list[Node], config: Config, run_options: RunOptions) -> list[dict[str, Any]]:
            draw(image, "square", 99)
            return []

    def with_another_leg(nodes: list[Node]) -> Iterator[tuple[Any, list[Node]]]:
        ingest, *others = legs(nodes)
        yield from (ingest, (ReplaceImage(), []), *others)

    with monkeypatch.context() as patched:
        patched.setattr(fuseline.flows.pipeline, "legs", with_another_leg)
        result = cli("run", config)
    assert result.exit_code == 0, result.output
    bad = pl.read_parquet(config.parent / "out" / "latest" / "quarantine.parquet")
    assert bad.select("stage", "id", "reason").rows() == [("embed/image", "doc-0004", "changed")]
    assert published(config)["present"] is False
    if back:
        shutil.copy2(kept, image)
    assert "embed/image" in busy(plan_of(cli, config))
    assert cli("run", config).exit_code == 0
    assert published(config)["embedding"] == right(config)
    assert busy(plan_of(cli, config)) == set()
    assert cli("verify", config).exit_code == 0
