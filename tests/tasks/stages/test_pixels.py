"""The stage of pictures: what becomes of images, what is kept of them, and how a fit reads them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuseline.flows.config import Config, parse_config
from fuseline.flows.graph import build
from fuseline.models.columns import Pixels
from fuseline.models.features import embedding_name
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.tasks.engine.inputs import upstream_tables
from fuseline.tasks.engine.nodes import Read, ShardStage
from fuseline.tasks.engine.shard_features import ShardFeatures
from tests.drive import counts, run, todo

SIDE = 8
ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(width: int, height: int) -> Image.Image:
    """Return a picture whose upper half is red and whose lower half is blue."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, width, height // 2))
    return image


def exif() -> Image.Exif:
    """Return the note of a camera that was held sideways."""
    note = Image.Exif()
    note[ORIENTATION] = 6
    return note


IMAGES = {
    "upright.png": encoded(halves(16, 16)),
    "turned.jpg": encoded(halves(16, 16).rotate(90), "JPEG", exif=exif(), quality=100, subsampling=0),
    "wide.png": encoded(halves(32, 16)),
    "clear.png": encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0))),
    "cut.png": encoded(halves(16, 16))[:60],
    "page.png": b"<!doctype html><title>404</title>",
}


def stage(**options: Any) -> dict[str, Any]:
    return {"stage": "pixels", "options": options}


def config(folder: Path, **changed: Any) -> Config:
    """Write documents with their images; return the configuration of their pictures."""
    for name, data in IMAGES.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(data)
    names = [*IMAGES, "absent.png", None]
    rows = [{"id": f"d{n}", "label": "ab"[n % 2], "image": name, "split": "train" if n < 6 else "test"}
            for n, name in enumerate(names)]  # fmt: skip
    (folder / "documents.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    source = {"reader": "jsonl", "path": str(folder / "documents.jsonl")}
    values = {"root": str(folder / "root"), "source": source, "stages": {"small": stage(side=SIDE)}}
    return parse_config({**values, **changed})


def pictures(made: Config) -> ShardStage:
    """Return the node of the pictures."""
    (node,) = (node for node in build(made) if node.role == "embed")
    assert isinstance(node, ShardStage)
    return node


def content(made: Config) -> tuple[list[str], NDArray[np.uint8], NDArray[np.bool_]]:
    """Return statuses, pictures and who has one, of all shards."""
    dataset = pictures(made).dataset(open_root(made.root))
    tables = [dataset.read(record) for _, record in sorted(dataset.records().items())]
    columns = [Pixels.of(table, "pixels") for table in tables]
    whole = Pixels.join(columns)
    status = [one for table in tables for one in table["status"].to_pylist()]
    return status, whole.take(np.arange(len(whole))), whole.present


def test_images_become_pictures_of_one_size_and_bad_ones_are_marked(tmp_path: Path) -> None:
    made = config(tmp_path)
    run(build(made), open_root(made.root), source=str(tmp_path))
    status, pixels, present = content(made)
    assert status == ["ok", "ok", "ok", "ok", "bad_image", "bad_image", "no_image", "missing"]
    assert present.tolist() == [one == "ok" for one in status]
    assert pixels.shape == (8, SIDE, SIDE, 3)
    assert (pixels[0][:3] == (255, 0, 0)).all()
    assert (pixels[0][-3:] == (0, 0, 255)).all()
    np.testing.assert_allclose(pixels[1].astype(int), pixels[0], atol=20)  # turned upright
    np.testing.assert_array_equal(pixels[2], pixels[0])  # its centre square
    assert (pixels[3] == 255).all()
    assert not pixels[4:].any()


def test_the_whole_image_may_be_stretched(tmp_path: Path) -> None:
    left = Image.new("RGB", (32, 16), (0, 0, 0))
    left.paste((255, 255, 255), (0, 0, 8, 16))
    (tmp_path / "wide.png").write_bytes(encoded(left))
    crop, stretch = (config(tmp_path, stages={"small": stage(side=4, frame=frame)}) for frame in ("crop", "stretch"))
    for made in (crop, stretch):
        run(build(made), open_root(made.root), source=str(tmp_path))
    assert pictures(crop).key != pictures(stretch).key
    assert content(crop)[1][2, :, 0].max() < 128
    assert content(stretch)[1][2, :, 0].min() > 128


def test_a_mended_image_is_tried_again_and_the_others_stay(tmp_path: Path) -> None:
    made = config(tmp_path)
    root = open_root(made.root)
    run(build(made), root, source=str(tmp_path))
    before = content(made)[1]
    assert todo(build(made), root, source=str(tmp_path)) == {}
    (tmp_path / "cut.png").write_bytes(IMAGES["upright.png"])
    again = counts(run(build(made), root, source=str(tmp_path), retry_failed=True))
    assert again["embed/small"][1] == 3  # of 8 rows: bad_image twice, no_image
    status, pixels, _ = content(made)
    assert status[:5] == ["ok"] * 5
    np.testing.assert_array_equal(pixels[4], pixels[0])
    np.testing.assert_array_equal(pixels[:4], before[:4])


@pytest.mark.parametrize("shard_size", [3, 100])
def test_a_fit_reads_pictures_of_its_split_when_they_are_taken(
    tmp_path: Path, shard_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path, shard_size=shard_size)
    root = open_root(made.root)
    run(build(made), root, source=str(tmp_path))
    documents = next(node for node in build(made) if node.role == "documents")
    fit = ShardStage(
        role="x", short="x", flow="x", version=1, config=made.clean, transform=lambda *_: None,
        reads=(Read(documents, ("split", "labels")), Read(pictures(made), ("present", "pixels"))),
    )  # fmt: skip
    for split, ids in (("train", ["d0", "d1", "d2", "d3", "d4", "d5"]), ("test", ["d6", "d7"])):
        features = ShardFeatures(fit, root, split)
        blocks = list(features.blocks())
        assert [i for block in blocks for i in block.ids.to_pylist()] == ids
        columns = [block.column(embedding_name("small"), Pixels) for block in blocks]
        assert sum(column.nbytes for column in columns) < 20 * len(ids)
        taken = np.concatenate([column.take(np.arange(len(column))) for column in columns])
        rows = [int(i[1:]) for i in ids]
        np.testing.assert_array_equal(taken, content(made)[1][rows])
        assert [table.num_rows for tables in features.tables() for table in tables] == [
            len(b) for b in blocks for _ in "ab"
        ]
    assert upstream_tables(fit, root, 0)[1]["pixels"].type.list_size == SIDE * SIDE * 3


def test_a_stage_of_pictures_is_no_embedding_of_vectors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"options.side: .*greater than or equal to 1"):
        config(tmp_path, stages={"small": stage(side=0)})
    with pytest.raises(ConfigError, match=r"quantize.pq.embedding: expected \[\], got 'small'"):
        config(tmp_path, quantize={"pq": {"quantizer": "pq", "embedding": "small"}})


def test_a_network_learns_from_the_store_and_never_from_the_files(tmp_path: Path) -> None:
    options = {"pixels": "small", "architecture": "mobilenet_v2", "epochs": 1}
    models = {"cnn": {"kind": "image_cnn", "options": options}}
    made = config(tmp_path, models=models, shard_size=3)
    root, nodes = open_root(made.root), build(made)
    run([node for node in nodes if node.role in ("documents", "embed")], root, source=str(tmp_path))
    for name in IMAGES:
        (tmp_path / name).unlink()
    wanted = [node for node in nodes if node.role in ("models", "predictions")]
    assert run(wanted, root, source=str(tmp_path)).keys() == {"models/cnn", "predictions/cnn"}
    rows = [row for node in wanted[1:] for record in node.dataset(root).records().values()
            for row in node.dataset(root).read(record).to_pylist()]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["no_input"] * 4
    with pytest.raises(ConfigError, match=r"options \(pixels\): expected \['small'\], got 'large'"):
        config(tmp_path, models={"cnn": {"kind": "image_cnn", "options": {"pixels": "large"}}})
