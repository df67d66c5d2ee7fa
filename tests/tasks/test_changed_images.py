"""An image that is replaced between its ingest and the pass over it is marked, and right after one more run."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from drive import Scale, Source, content, counts, nodes, run
from PIL import Image

from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.engine.image_pass import ImageTransform, Outcome
from fuseline.tasks.engine.images import WHITE, ImageError, ImageLimits, Rgb, image_digest, open_image
from fuseline.tasks.engine.nodes import Ingest, Node, Read, ShardStage
from fuseline.tasks.engine.planner import PlanOptions, changed_images, plan_all
from fuseline.tasks.engine.shard import make_shards
from fuseline.tasks.evaluation.gallery import thumbnail

N, SHARD = 7, 4


class Red:
    """A consumer that takes the red of the first pixel."""

    limits, background, min_side, batch_size, decode_threads = ImageLimits(), WHITE, None, 2, 2

    def given(self, row: int) -> Outcome | None:
        return None

    def prepare(self, pixels: Rgb, row: int) -> int:
        return int(pixels[0, 0, 0])

    def compute(self, items: list[int]) -> list[Outcome]:
        return [Outcome("ok", item) for item in items]

    def table(self, ids: pa.Array, outcomes: list[Outcome]) -> pa.Table:
        values = pa.array([outcome.value for outcome in outcomes], pa.int64())
        return pa.table({"id": ids, "status": [outcome.status for outcome in outcomes], "red": values})


def paint(path: Path, red: int) -> None:
    """Write a picture; all take equally many bytes."""
    Image.new("RGB", (4, 4), (red, 0, 0)).save(path, "BMP")


class World(NamedTuple):
    """A folder of documents with pictures, an ingest and a stage over the pictures."""

    folder: Path

    @property
    def root(self) -> Root:
        return open_root(self.folder.parent / "root")

    @property
    def picture(self) -> Path:
        return self.folder / "5.bmp"

    def nodes(self) -> tuple[Ingest, ShardStage]:
        documents = nodes(self.folder / "x.jsonl", shard_size=SHARD).documents
        read = Read(documents, ("image",), ("image_digest",))
        transform = ImageTransform(lambda tables, config: Red())
        shared: dict[str, Any] = {"flow": "embed", "version": 1, "config": Scale()}
        return documents, ShardStage(role="embed", short="red", reads=(read,), transform=transform, **shared)

    def run(self, wanted: list[Node] | None = None) -> dict[str, tuple[int, int, int]]:
        """Bring nodes up to date, told what the flows tell the planner."""
        changed = changed_images(self.nodes(), self.root)
        return counts(run(wanted or self.nodes(), self.root, source=str(self.folder), changed=changed))

    def reds(self) -> list[int | None]:
        return [row["red"] for _, row in sorted(content(self.nodes()[1], self.root).items())]

    def why(self) -> str:
        options = PlanOptions(str(self.folder), changed=changed_images(self.nodes(), self.root))
        return plan_all(self.nodes(), self.root, options)[1].why


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return documents that were ingested, and one picture that was replaced before anyone looked at it."""
    world = World(tmp_path / "data")
    world.folder.mkdir()
    for number in range(N):
        paint(world.folder / f"{number}.bmp", number)
    Source(world.folder / "x.jsonl").write(
        {"id": f"d{number}", "text": "t", "image": f"{number}.bmp"} for number in range(N)
    )
    world.run([world.nodes()[0]])
    shutil.copy2(world.picture, world.folder.parent / "kept.bmp")
    paint(world.picture, 200)
    return world


def put_back(world: World) -> None:
    """With the time it had, so that the listing is that of before."""
    shutil.copy2(world.folder.parent / "kept.bmp", world.picture)


def leave(world: World) -> None:
    pass


def hide(world: World) -> None:
    """Leave it, but with size and time of before: no listing tells."""
    stat = (world.folder.parent / "kept.bmp").stat()
    os.utime(world.picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace_again(world: World) -> None:
    paint(world.picture, 100)


def test_a_replaced_image_is_marked_and_has_no_value(world: World) -> None:
    world.run([world.nodes()[1]])
    rows = content(world.nodes()[1], world.root)
    assert [rows[f"d{number}"]["status"] for number in range(N)] == ["ok"] * 5 + ["changed", "ok"]
    assert world.reds() == [0, 1, 2, 3, 4, None, 6]
    assert world.nodes()[1].dataset(world.root).records()[1].tallies["status"] == {"changed": 1, "ok": 2}
    assert changed_images(world.nodes(), world.root) == {1}


@pytest.mark.parametrize(
    ("then", "red"),
    [(put_back, 5), (leave, 200), (hide, 200), (replace_again, 100)],
    ids=["put back", "left", "left with size and time of before", "replaced again"],
)
def test_one_more_run_ends_right(world: World, then: Callable[[World], None], red: int) -> None:
    world.run([world.nodes()[1]])
    then(world)
    assert world.why() in ("images changed after they were ingested", "documents/x changes")
    made = world.run()
    assert made["embed/red"] == (1, 1, 2)  # the other rows of the shard are kept
    assert world.reds() == [0, 1, 2, 3, 4, red, 6]
    assert world.why() == ""
    assert world.run() == {}


def test_put_back_costs_one_image_and_no_document(world: World) -> None:
    world.run([world.nodes()[1]])
    put_back(world)
    before = world.nodes()[0].dataset(world.root).records()
    assert "documents/x" not in world.run()
    assert world.nodes()[0].dataset(world.root).records() == before


def test_an_image_that_keeps_changing_is_tried_once_a_run(world: World) -> None:
    for red in (201, 202):
        world.run([world.nodes()[0]])
        paint(world.picture, red)
        assert world.run([world.nodes()[1]])["embed/red"][1] <= N
        assert world.reds()[5] is None
    world.run()
    assert world.reds()[5] == 202


def test_bytes_without_a_digest_are_taken_as_they_are(world: World) -> None:
    """A picture that was missing at ingest has a reason where others have a digest."""
    image = {"uri": "5.bmp", "offset": None, "length": None, "bytes": None}
    data = world.picture.read_bytes()
    for digest in (None, "no_image", "too_large", image_digest(data)):
        assert open_image(image, str(world.folder), ImageLimits(), digest=digest) == data
    with pytest.raises(ImageError, match="changed"):
        open_image(image, str(world.folder), ImageLimits(), digest=image_digest(b""))


def test_the_report_shows_no_other_picture_in_its_place(world: World) -> None:
    image = {"uri": "5.bmp", "offset": None, "length": None, "bytes": None}
    options: dict[str, Any] = {"source": str(world.folder), "limits": ImageLimits()}
    assert thumbnail(image, **options, digest=image_digest(world.picture.read_bytes())) is not None
    assert thumbnail(image, **options, digest=image_digest(b"")) is None


def test_stages_share_a_pass_though_one_of_them_has_most_of_its_rows(world: World) -> None:
    documents, red = world.nodes()
    world.run()
    other = replace(red, short="other")
    paint(world.folder / "2.bmp", 90)
    world.run([documents])
    reports = make_shards([red, other], world.root, 0, source=str(world.folder))
    assert [(report.error, report.computed, report.reused) for report in reports] == [("", 1, 3), ("", 4, 0)]
    reds = [[row["red"] for row in content(node, world.root).values()][:SHARD] for node in (red, other)]
    assert reds == [[0, 1, 90, 3], [0, 1, 90, 3]]
