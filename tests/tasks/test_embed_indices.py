"""The stage of class indices: training rows alone are fitted, lists keep their order, objects their strength."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from drive import content, make_shard

from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.stores.schemas import DETECTIONS, ragged_indices
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Fit, Read, ShardStage
from fuseline.tasks.stages.clean import CleanConfig, clean_documents
from fuseline.tasks.stages.detect import DetectConfig, detect_elements
from fuseline.tasks.stages.embed_indices import IndexEmbedConfig, embed_indices, fit_vocabulary


def element(label: str, score: float) -> dict[str, Any]:
    return {"box": [0.0, 0.0, 1.0, 1.0], "score": score, "label": label, "text": None, "points": []}


def made(root: Root, upstream: ShardStage, tables: dict[str, pa.Table], **options: Any) -> tuple[ShardStage, Fit]:
    """Commit documents and an upstream shard by hand, then fit and make the stage."""
    where = SourceConfig(path="none")
    documents = ingest_stage("x", where, shard_size=9, split=SplitConfig(valid=0, test=0))
    spec = IndexEmbedConfig.model_validate(options)
    upstream.dataset(root).commit(0, tables["upstream"], {})
    documents.dataset(root).commit(0, tables["documents"], {})
    read = Read(upstream, (spec.column,))
    fit = Fit(
        role="encoders", short="v", flow="embed", main=False, version=1, config=spec.fit_config(), fit=fit_vocabulary,
        reads=(Read(documents, ("split",)), read),
    )  # fmt: skip
    stage = ShardStage(
        role="embed",
        short="v",
        flow="embed",
        version=1,
        config=spec,
        transform=embed_indices,
        fits=(fit,),
        reads=(read,),
    )
    make_fit(fit, root, source="")
    make_shard(stage, root, 0)
    return stage, fit


DOCUMENTS = pa.table({"id": ["a", "b", "c", "d"], "split": ["train", "train", "test", "train"]})


def test_objects_are_looked_up_strongest_first(tmp_path: Path) -> None:
    elements = [
        [element("dog", 0.7), element("cat", 0.9), element("bird", 0.1)],
        [element("cat", 0.8), element("cat", 0.95), element("cup", 0.99)],
        [element("cat", 0.9), element("bus", 0.99)],
        [],
    ]
    rows = [
        {"id": i, "status": "ok", "present": bool(some), "elements": some, "text": ""}
        for i, some in zip("abcd", elements, strict=True)
    ]
    detect = ShardStage(
        role="detect", short="objects", flow="detect", version=1, config=DetectConfig(detector="ssdlite_coco"),
        transform=detect_elements,
    )  # fmt: skip
    tables = {"documents": DOCUMENTS, "upstream": pa.Table.from_pylist(rows, schema=DETECTIONS)}
    stage, _ = made(open_root(tmp_path), detect, tables, field="labels", detections="objects", limit=2)
    record = stage.dataset(open_root(tmp_path)).record(0)
    assert record is not None
    assert stage.dataset(open_root(tmp_path)).read(record).drop_columns("row_inputs").schema.equals(ragged_indices(3))
    # By frequency among the two strongest of each training row: cat 2, cup 1, dog 1; bus stands in a test row.
    assert {i: row["indices"] for i, row in content(stage, open_root(tmp_path)).items()} == {
        "a": [1, 3], "b": [2, 1], "c": [0, 1], "d": []
    }  # fmt: skip
    assert content(stage, open_root(tmp_path))["d"]["status"] == "missing"


def test_words_keep_their_order(tmp_path: Path) -> None:
    clean = ShardStage(
        role="clean", short="text", flow="clean", version=1, config=CleanConfig(), transform=clean_documents
    )
    texts = pa.table({"id": ["a", "b", "c", "d"], "text": ["the cat", "the dog sat", "a cat", ""]})
    stage, fit = made(open_root(tmp_path), clean, {"documents": DOCUMENTS, "upstream": texts}, limit=2)
    assert [row["indices"] for row in content(stage, open_root(tmp_path)).values()] == [[1, 2], [1, 3], [0, 2], []]
    record = fit.fitted(open_root(tmp_path)).record()
    assert record is not None
    assert record.facts["values"] == 3
