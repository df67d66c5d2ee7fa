"""Which documents and classes come onto a map, and which classes lie near each other."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from fuseline.stores.errors import AlignmentError
from fuseline.stores.score_schemas import CLASS_NEIGHBOURS, MAPS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation import maps
from fuseline.tasks.evaluation.drawn_vectors import MapsConfig
from fuseline.tasks.evaluation.maps import VectorMapConfig, map_vectors
from tests.tasks.evaluation.test_evaluate import documents

CLASSES = [f"c{i}" for i in range(6)]


@pytest.fixture(autouse=True)
def no_layout(monkeypatch):
    """Places are tested with the layout itself."""
    monkeypatch.setattr(maps, "coordinates", lambda X, *, seed: np.asarray(X[:, :2], np.float32))


def stream(n, size, *, present=None):
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 6, n)
    X = (np.random.default_rng(9).normal(size=(6, 5))[truth] * 3 + rng.normal(size=(n, 5))).astype(np.float32)
    known = documents([(f"d{i}", "test" if i % 3 else "train", [CLASSES[c]]) for i, c in enumerate(truth)])
    has = np.ones(n, bool) if present is None else present
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 5)
    vectors = pa.table({"present": pa.array(has), "embedding": lists})
    return (lambda: ([one.slice(lo, size) for one in (known, vectors)] for lo in range(0, n, size))), truth, X


def answers(truth, right, size):
    """Return shards of the predictions of two models; `right` (n, 2) is whether they are."""
    tables = [
        pa.table({
            "id": [f"d{i}" for i in range(len(truth))],
            "label": [CLASSES[c] if hit else None if c % 2 else "other" for c, hit in zip(truth, own, strict=True)],
        })
        for own in right.T
    ]  # fmt: skip
    return [[one.slice(lo, size) for one in tables] for lo in range(0, len(truth), size)]


def test_who_is_right_is_told_of_every_document_on_a_map_and_of_those_of_a_class():
    shards, truth, X = stream(90, 20)
    right = np.random.default_rng(1).random((90, 2)) < 0.5
    guessed = answers(truth, right, 20)
    maps_of = MapsConfig(splits=("train", "test"), inside=("c1", "nothing has it"), documents=100)
    config = VectorMapConfig(vectors="embed/x", maps=maps_of, models=("text", "image"))
    tables = map_vectors(
        lambda: ([*one, *two] for one, two in zip(shards(), guessed, strict=True)), config, Context("", {}, {})
    )
    rows = tables["maps"].to_pylist()
    assert len(rows) == 90
    for row in rows:
        hit = right[int(row["id"][1:])]
        assert row["right"] == [name for name, one in zip(("text", "image"), hit, strict=True) if one]
        assert row["models"] == ["text", "image"]
    inner = tables["class_maps"].to_pylist()
    assert {row["id"] for row in inner} == {f"d{i}" for i in np.flatnonzero(truth == 1)}
    cosine = cosine_similarity(X, normalize(X)[truth == 1].mean(axis=0)[None])[:, 0]
    for row in inner:
        i = int(row["id"][1:])
        assert (row["label"], row["vectors"], row["cosine"]) == ("c1", "embed/x", pytest.approx(cosine[i], abs=1e-5))
        assert row["predicted"] == [("c1" if hit else None) for hit in right[i]]
        assert row["right"] == [name for name, hit in zip(("text", "image"), right[i], strict=True) if hit]


def test_without_models_nobody_is_asked():
    rows, _ = mapped(stream(40, 40)[0], splits=("test",), inside=("c1",))
    assert {(row["models"], row["right"]) for row in rows} == {(None, None)}


def test_predictions_of_other_documents_are_refused():
    shards, truth, _ = stream(20, 20)
    (guessed,) = answers(truth[::-1], np.ones((20, 1), bool), 20)
    with pytest.raises(AlignmentError, match="predictions: expected"):
        other = guessed[0].take(list(range(20))[::-1])
        config = VectorMapConfig(vectors="embed/x", maps=MapsConfig(), models=("m",))
        map_vectors(lambda: ([*one, other] for one in shards()), config, Context("", {}, {}))


def mapped(shards, **options):
    tables = map_vectors(shards, VectorMapConfig(vectors="embed/x", maps=MapsConfig(**options)), Context("", {}, {}))
    assert (tables["maps"].schema.names, tables["class_neighbours"].schema.names) == (
        MAPS.names,
        CLASS_NEIGHBOURS.names,
    )
    return tables["maps"].to_pylist(), tables["class_neighbours"].to_pylist()


@pytest.mark.parametrize("size", [120, 7])
def test_classes_and_documents_are_drawn_by_their_names_whatever_the_shards(size):
    shards, truth, _ = stream(120, size)
    rows, _ = mapped(shards, classes=3, documents=20, splits=("test",))
    whole, _ = mapped(stream(120, 120)[0], classes=3, documents=20, splits=("test",))
    assert rows == whole
    assert len(rows) == 20
    assert len({row["label"] for row in rows}) <= 3
    assert all(row["split"] == "test" and row["label"] == CLASSES[truth[int(row["id"][1:])]] for row in rows)
    more, _ = mapped(shards, classes=3, documents=25, splits=("test",))
    assert {row["id"] for row in rows} <= {row["id"] for row in more}
    other, _ = mapped(shards, classes=3, documents=20, splits=("test",), seed=1)
    assert {row["id"] for row in other} != {row["id"] for row in rows}


def test_classes_are_near_by_the_cosine_of_their_means():
    shards, truth, X = stream(150, 40)
    _, near = mapped(shards, neighbours=3, splits=("train", "test"))
    means = np.stack([normalize(X)[truth == c].mean(axis=0) for c in range(6)])
    cosine = cosine_similarity(means)
    np.fill_diagonal(cosine, -2)
    assert len(near) == 6 * 3
    for row in near:
        own = cosine[CLASSES.index(row["label"])]
        assert row["other"] == CLASSES[np.argsort(-own)[row["place"] - 1]]
        assert row["cosine"] == pytest.approx(own[CLASSES.index(row["other"])], abs=1e-5)
        assert row["documents"] == (truth == CLASSES.index(row["label"])).sum()


def test_the_most_frequent_classes_are_compared_with_one_another():
    shards, truth, X = stream(150, 40)
    config = VectorMapConfig(vectors="embed/x", maps=MapsConfig(splits=("train", "test"), similar=4))
    rows = map_vectors(shards, config, Context("", {}, {}))["class_similarity"].to_pylist()
    counts = np.bincount(truth)
    frequent = sorted(range(6), key=lambda c: (-counts[c], c))[:4]
    assert {(row["label"], row["documents"]) for row in rows} == {(CLASSES[c], counts[c]) for c in frequent}
    cosine = cosine_similarity(np.stack([normalize(X)[truth == c].mean(axis=0) for c in range(6)]))
    for row in rows:
        assert row["cosine"] == pytest.approx(
            cosine[CLASSES.index(row["label"]), CLASSES.index(row["other"])], abs=1e-6
        )
    assert len(rows) == 16
    assert sorted({row["place"] for row in rows}) == [1, 2, 3, 4]
    none = VectorMapConfig(vectors="embed/x", maps=MapsConfig(splits=("test",), similar=0))
    assert not len(map_vectors(shards, none, Context("", {}, {}))["class_similarity"])


def test_documents_without_a_vector_have_no_place():
    has = np.arange(60) % 2 == 0
    rows, near = mapped(stream(60, 25, present=has)[0], splits=("train", "test"))
    assert all(int(row["id"][1:]) % 2 == 0 for row in rows)
    assert sum({row["label"]: row["documents"] for row in near}.values()) == 30


def test_a_modality_that_is_missing_everywhere_has_no_map():
    shards, *_ = stream(30, 10, present=np.zeros(30, bool))
    assert mapped(shards) == ([], [])
    assert mapped(lambda: iter([])) == ([], [])


def test_one_document_has_a_place_and_nothing_else():
    shards, *_ = stream(2, 2)
    rows, near = mapped(shards, splits=("test",))
    assert [(row["purity"], row["silhouette"]) for row in rows] == [(None, None)]
    assert near == []
