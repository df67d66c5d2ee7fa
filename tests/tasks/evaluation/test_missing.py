"""Evaluations with an input masked: which documents lack it, what is counted, and what it must not depend on."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifier import BaseClassifier, embedding
from fuseline.models.columns import Dense, Text
from fuseline.models.features import TEXT, Input
from fuseline.stores.conditions import Masking
from fuseline.stores.schemas import RESULTS
from fuseline.stores.score_schemas import MASKED_CLASSES
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.nodes import Context, Feature, Read, ShardStage
from fuseline.tasks.evaluation import missing
from fuseline.tasks.evaluation.missing import MaskedConfig, MissingConfig, count_masked, lacking, maskings, score_masked
from fuseline.tasks.splits import hash_split
from fuseline.tasks.stages.train import MULTI_LABEL
from tests.drive import Scale

LABELS = ["ant", "bee", "cat"]
IDS = [f"d{i}" for i in range(400)]


class Sum(BaseClassifier):
    """Logits are the sum of two vectors; an absent one is zeros."""

    kind: ClassVar[str] = "sum"
    summary: ClassVar[str] = "sum of two vectors"
    labels = LABELS
    multi_label = False
    threshold = 0.5

    @classmethod
    def inputs(cls, config):
        return Input("embed/image", Dense), Input("embed/words", Dense)

    def predict_logits(self, block):
        return embedding(block, "image", 3)[0] + embedding(block, "words", 3)[0]


def reads(*columns: tuple[str, str, str], kind=Dense) -> tuple[Read, ...]:
    """Return what a model reads: the documents, then a vector per (role, name, modality)."""
    documents = ingest_stage(
        "x", SourceConfig(path="x.jsonl"), shard_size=10, split=SplitConfig(valid=0, test=0), workers=1
    )
    stages = (
        ShardStage(role=role, short=short, flow="embed", version=1, config=Scale(), transform=lambda *_: None,
                   feature=Feature(kind, "embedding", modality))
        for role, short, modality in columns
    )  # fmt: skip
    return (Read(documents, ("status", "split", "labels")), *(Read(one, ("present", "embedding")) for one in stages))


TWO = reads(("embed", "image", "image"), ("embed", "words", "text"))


def vectors(values, present) -> pa.Table:
    flat = pa.array(np.asarray(values, np.float32).reshape(-1))
    return pa.table({"present": pa.array(present), "embedding": pa.FixedSizeListArray.from_arrays(flat, 3)})


def shards(n, size, *, has_image=True, has_words=True):
    """Return documents of three classes whose image says the class when it is even, whose words when it is not."""
    rng = np.random.default_rng(2)
    own = rng.integers(0, 3, n)
    image = np.eye(3)[np.where(np.arange(n) % 2, (own + 1) % 3, own)] * np.where(np.arange(n) % 2, 1, 3)[:, None]
    words = np.eye(3)[np.where(np.arange(n) % 2, own, (own + 2) % 3)] * np.where(np.arange(n) % 2, 3, 1)[:, None]
    documents = pa.table({
        "id": IDS[:n], "status": ["ok"] * n, "split": ["test" if i % 4 else "train" for i in range(n)],
        "labels": [[LABELS[i]] for i in own],
    })  # fmt: skip
    whole = [documents, vectors(image, [has_image] * n), vectors(words, [has_words] * n)]
    return lambda: ([table.slice(lo, size) for table in whole] for lo in range(0, n, size))


def context(columns=TWO) -> Context:
    return Context("", {"models/m": None}, {}, columns, facts={"models/m": {MULTI_LABEL: False}})


@pytest.fixture(autouse=True)
def model(monkeypatch):
    monkeypatch.setattr(missing, "load_classifier", lambda kind, saved: Sum())


def config(**options) -> MaskedConfig:
    return MaskedConfig(model="m", kind="sum", seed=7, missing=MissingConfig(**options))


def accuracy(tallies, split="test"):
    return {str(part): by[split].first / by[split].n for part, by in tallies.items() if by[split].n}


def test_every_input_is_masked_and_the_modality_of_several_together():
    image, codes, text = ("embed", "image", "image"), ("quantize", "image", "image"), ("clean", "text", "text")
    names = ["embed/image", "quantize/image", "clean/text"]
    assert maskings(reads(image, codes, text), names) == {
        "embed/image": {"embed/image"}, "quantize/image": {"quantize/image"}, "text": {"clean/text"},
        "every image input": {"embed/image", "quantize/image"},
    }  # fmt: skip
    assert maskings(reads(image, text), names) == {"image": {"embed/image"}, "text": {"clean/text"}}
    title = ("clean", "title", "text")
    assert maskings(reads(title, text), ["clean/title", "clean/text"]) == {
        "title": {"clean/title"}, "text": {"clean/text"}
    }  # fmt: skip
    assert maskings(reads(image, text), ["clean/text"]) == {"text": {"clean/text"}}


def test_words_that_are_added_to_a_text_are_no_input_of_their_own():
    (documents, words) = reads(("detect", "ocr", "image"), kind=Text)
    assert maskings((documents, Read(words.node, ("text",), into=TEXT)), [TEXT]) == {}


def test_who_lacks_an_input_at_one_share_lacks_it_at_a_larger_one():
    ids, before = pa.array(IDS), np.zeros(len(IDS), bool)
    for tenth in range(1, 10):
        lacks = lacking(ids, tenth / 10, seed=0)
        assert lacks[before].all()
        assert lacks.mean() == pytest.approx(tenth / 10, abs=0.07)
        before = lacks
    assert not np.array_equal(lacking(ids, 0.5, seed=1), lacking(ids, 0.5, seed=0))
    shuffled = np.random.default_rng(0).permutation(len(IDS))
    np.testing.assert_array_equal(
        lacking(ids.take(pa.array(shuffled)), 0.5, seed=0), lacking(ids, 0.5, seed=0)[shuffled]
    )
    assert lacking(ids, 1.0, seed=0).all()


def test_who_lacks_an_input_has_nothing_to_do_with_the_split():
    """Both are decided by hashes of ids: under one key and seed the test documents would all be those that lack it."""
    split = np.array(hash_split(pa.array(IDS), valid=0.3, test=0.3, seed=0).to_pylist())
    lacks = lacking(pa.array(IDS), 0.5, seed=0)
    for name in ("train", "valid", "test"):
        assert lacks[split == name].mean() == pytest.approx(0.5, abs=0.12)


def test_an_input_masked_everywhere_costs_the_documents_that_it_decides():
    found = accuracy(count_masked(shards(120, 50), config(shares=(0.5,)), context()))
    even = np.array([i % 2 == 0 for i in range(120) if i % 4])
    assert found["image masked"] == pytest.approx(1 - even.mean())
    assert found["words masked"] == pytest.approx(even.mean())
    ids = pa.array([IDS[i] for i in range(120) if i % 4])
    lacks = lacking(ids, 0.5, seed=0)
    assert found["image masked in 50 %"] == pytest.approx(1 - (lacks & even).mean())
    assert found["words masked in 50 %"] == pytest.approx(1 - (lacks & ~even).mean())


def test_the_shards_do_not_matter():
    one, several = (count_masked(shards(90, size), config(), context()) for size in (90, 7))
    assert list(one) == list(several)
    assert len(one) == 2 * (9 + 1)
    for part in one:
        assert accuracy({part: one[part]}) == accuracy({part: several[part]})
        assert one[part]["test"].confusion == several[part]["test"].confusion
        assert one[part]["test"].loss == pytest.approx(several[part]["test"].loss)


def test_a_modality_that_is_missing_everywhere_costs_nothing_more():
    whole, without = (
        accuracy(count_masked(shards(80, 30, has_image=has), config(), context())) for has in (True, False)
    )
    assert len({without[str(Masking("image", tenth / 10))] for tenth in range(1, 11)}) == 1
    assert without["image masked"] == whole["image masked"]
    assert without["words masked"] == 0  # nothing is left


def test_a_document_without_any_input_is_wrong_and_counted():
    counted = count_masked(shards(40, 40, has_words=False), config(shares=()), context())
    tally = counted[Masking("image")]["test"]
    assert (tally.n, tally.no_input, tally.first, tally.loss_n) == (30, 30, 0, 0)


def test_the_tables_of_one_document():
    tables = score_masked(shards(2, 2), config(shares=(0.5,)), context())
    assert set(tables) == set(missing.TABLES)
    assert (tables["metrics"].schema, tables["masked_classes"].schema) == (RESULTS, MASKED_CLASSES)
    conditions = ["image masked", "image masked in 50 %", "words masked", "words masked in 50 %"]
    assert sorted({*tables["metrics"]["condition"].to_pylist()}) == conditions
    assert {*tables["metrics"]["seed"].to_pylist()} == {7}
    assert {*tables["masked_classes"]["condition"].to_pylist()} == {"image masked", "words masked"}
    assert sum(row["support"] for row in tables["masked_classes"].to_pylist()) == 2


def test_a_split_without_documents_has_no_rows():
    tables = score_masked(shards(8, 8), config(splits=("valid",)), context())
    assert [len(table) for table in tables.values()] == [0, 0]


@pytest.mark.parametrize("shares", [(0.0,), (1.0,), (-0.1,), (1.5,)])
def test_shares_lie_between_none_and_all(shares):
    with pytest.raises(ValueError, match="shares"):
        MissingConfig(shares=shares)
