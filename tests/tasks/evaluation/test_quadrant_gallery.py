"""Which documents of quadrants and classes are shown, whatever the shards."""

import pyarrow as pa
import pytest

from fuseline.stores.errors import AlignmentError
from fuseline.stores.report_schemas import QUADRANT_GALLERY
from fuseline.tasks.evaluation.quadrant_gallery import CLASSES, QuadrantGalleryConfig, quadrant_gallery
from tests.tasks.evaluation.test_gallery import folder, shard

__all__ = ["folder"]
NAMES = ("text", "image")


def shards(n, size, *, labels=2, without=()):
    """Return shards of n documents: `text` is wrong on every third, `image` on every second one, more surely by number.

    The model `image` has no input in the documents `without`.
    """

    def parts():
        for lo in range(0, n, size):
            numbers = range(lo, min(n, lo + size))
            _, documents, cleaned = shard(numbers)
            truth = [[f"c{i % labels:02d}"] for i in numbers]
            at = documents.schema.get_field_index("labels")
            documents = documents.set_column(at, "labels", pa.array(truth))
            answers = []
            for model, every in zip(NAMES, (3, 2), strict=True):
                rows = []
                for i, (own,) in zip(numbers, truth, strict=True):
                    best, score = ("bee" if i % every == 0 else own), 0.5 + i / 1000
                    guesses = [(best, score), ("x", 0.1), ("y", 0.05), ("z", 0.01)]
                    top = [{"label": label, "score": value} for label, value in guesses]
                    gone = model == "image" and i in without
                    rows.append({"id": f"d{i}", "label": None if gone else best, "top_k": [] if gone else top})
                answers.append(pa.Table.from_pylist(rows))
            yield [documents, cleaned, *answers]

    return parts


def shown(parts, folder, **options):
    values = {"models": NAMES, "split": "test", "seed": 0, "count": 3, "of_class": 2, **options}
    table = quadrant_gallery(parts, QuadrantGalleryConfig.model_validate(values), source=str(folder))
    assert table.schema == QUADRANT_GALLERY
    return table.to_pylist()


@pytest.mark.parametrize("size", [36, 7, 1])
def test_every_quadrant_has_its_documents_whatever_the_shards(folder, size):
    rows = shown(shards(36, size), folder)
    assert sorted(map(str, rows)) == sorted(map(str, shown(shards(36, 36), folder)))
    own = [row for row in rows if row["part"] == "quadrant"]
    for right, belongs in (
        ([*NAMES], lambda i: i % 2 and i % 3),
        (["text"], lambda i: i % 3 and not i % 2),
        (["image"], lambda i: i % 2 and not i % 3),
        ([], lambda i: not i % 6),
    ):
        part = [row for row in own if row["right"] == right]
        assert [row["place"] for row in part] == [1, 2, 3]
        assert all(belongs(int(row["id"][1:])) for row in part)
        assert all(row["thumbnail"] and row["text"] for row in part)
        assert all([len(guesses) for guesses in row["answers"]] == [3, 3] for row in part)


def test_a_class_shows_those_on_which_both_disagree_most(folder):
    rows = [row for row in shown(shards(36, 10), folder) if row["part"] == "class"]
    assert {row["label"] for row in rows} == {"c00", "c01"}
    for label in ("c00", "c01"):
        own = [row for row in rows if row["label"] == label]
        assert [row["place"] for row in own] == [1, 2]
        assert own[0]["disagreement"] >= own[1]["disagreement"]
        assert all(row["labels"] == [label] for row in own)
        # `text` alone or `image` alone is right: they share what they give the other labels.
        assert all((int(row["id"][1:]) % 2 == 0) != (int(row["id"][1:]) % 3 == 0) for row in own)
        assert own[0]["disagreement"] == pytest.approx(1 - 0.16, abs=1e-6)


def test_a_document_that_one_model_cannot_read_disputes_nothing(folder):
    odd = {i for i in range(36) if i % 2}
    rows = shown(shards(36, 10, without=odd), folder)
    assert not [row for row in rows if row["part"] == "class" and row["label"] == "c01"]
    (one,) = {tuple(map(len, row["answers"])) for row in rows if int(row["id"][1:]) in odd}
    assert one == (3, 0)


def test_the_most_frequent_classes_are_shown_and_other_splits_are_not(folder):
    rows = shown(shards(38, 10, labels=CLASSES + 2), folder)
    labels = {row["label"] for row in rows if row["part"] == "class"}
    assert len(labels) == CLASSES
    assert {"c00", "c01"} <= labels  # 4 documents each, the others 3
    assert shown(shards(20, 10), folder, split="valid") == []


def test_a_picture_that_cannot_be_read_leaves_its_document(folder):
    rows = shown(shards(40, 40), folder, count=40)
    assert {row["id"] for row in rows if row["part"] == "quadrant" and row["thumbnail"] is None} == {"d39"}


def test_predictions_of_other_documents_are_refused(folder):
    one, other = next(shards(9, 9)()), next(shards(12, 12)())
    with pytest.raises(AlignmentError):
        shown(lambda: iter([[*one[:2], one[2], other[3]]]), folder)
