"""Codebooks in the pipeline: what teaches them, what frozen means, and that versions are never mixed."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from drive import Source, counts, make_shard, run
from visual import Visual, pictures, visual

from fuseline.models.quantizers import PQ, RSPQ
from fuseline.stores.errors import DataError, MismatchError
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.engine.fit import make_fit
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.engine.planner import PlanOptions, plan_node
from fuseline.tasks.stages.quantize import QuantizeConfig, fit_codebook
from tests.models.synthetic import make_block

CONTEXT = Context("", {}, {})


class Stream:
    """Vectors as the blocks of a training set."""

    def __init__(self, *blocks: np.ndarray, present: bool = True) -> None:
        self.parts, self.there = blocks, present
        self.n_rows = sum(map(len, blocks))

    def blocks(self):
        for X in self.parts:
            n = len(X)
            text, labels = pa.array([""] * n), pa.array([[]] * n, pa.list_(pa.string()))
            yield make_block(text, text, labels, {"image": X}, {}, {"image": np.full(n, self.there)})


def codebook(*blocks: np.ndarray, folder: Path, quantizer: str = "pq", **options: object) -> PQ:
    spec = {"parts": 2, "codewords": 4, "unit": False, **options}
    save, n_rows, _ = fit_codebook(
        Stream(*blocks), Stream(), QuantizeConfig(quantizer=quantizer, options=spec), CONTEXT
    )
    assert n_rows == sum(map(len, blocks))
    folder.mkdir()
    save(folder)
    return (PQ if quantizer == "pq" else RSPQ).load(folder)


def normal(n: int, seed: int = 0, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def test_rows_that_cannot_be_used_teach_nothing_and_take_no_place(tmp_path):
    X = normal(200)
    dirty = np.full((1000, 8), np.nan, np.float32)
    dirty[::5] = X
    dirty[1::5] = 0
    dirty[2::5, 3] = np.inf
    clean = codebook(X, folder=tmp_path / "clean", unit=True, sample=150)
    soiled = codebook(dirty[:333], dirty[333:], folder=tmp_path / "dirty", unit=True, sample=150)
    np.testing.assert_array_equal(clean.centroids, soiled.centroids)
    assert clean.usage.sum(axis=1).tolist() == [150, 150]


def test_absent_rows_teach_nothing():
    spec = QuantizeConfig(options={"parts": 2, "codewords": 4, "unit": False})
    with pytest.raises(ValueError, match="expected at least codewords=4, got 0; lower codewords"):
        fit_codebook(Stream(normal(50), present=False), Stream(), spec, CONTEXT)
    with pytest.raises(ValueError, match="expected at least codewords=4, got 0; lower codewords"):
        fit_codebook(Stream(), Stream(), spec, CONTEXT)


def test_a_fit_remembers_a_sample_and_not_the_stream(tmp_path):
    """Peak memory follows the sample, not the number of training documents."""
    peaks = []
    for blocks in (35, 70):
        parts = Parts(blocks)
        tracemalloc.start()
        spec = QuantizeConfig(options={"parts": 2, "codewords": 4, "sample": 30_000, "iterations": 1})
        _, _, facts = fit_codebook(parts, Stream(), spec, CONTEXT)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (facts["vectors"], facts["usable"]) == (30_000, 1000 * blocks)
    sample = 30_000 * 64 * 4
    assert peaks[1] < 1.05 * peaks[0]
    assert peaks[1] < 3.5 * sample  # the sample, its rows at unit length, a part of them, a block


class Parts:
    """Many blocks that are made when they are asked for."""

    def __init__(self, blocks: int) -> None:
        self.n, self.n_rows = blocks, 1000 * blocks

    def blocks(self):
        for number in range(self.n):
            yield from Stream(normal(1000, number, 64)).blocks()


def codes_of(nodes: Visual, root: Root, index: int) -> pa.Table:
    dataset = nodes.codes.dataset(root)
    return dataset.read(dataset.record(index))


def test_a_document_without_a_vector_has_no_visual_token(source, root):
    nodes = visual(source.write(pictures(40)))
    run(nodes, root)
    table = codes_of(nodes, root, 0)
    absent = [i for i, there in enumerate(table["present"].to_pylist()) if not there]
    assert absent == [3, 13]
    assert [table["error"][i].as_py() for i in absent] == [None, None]
    # What such a document scores with: its words alone, not codeword 0.
    dataset = nodes.predictions.dataset(root)
    shares = dataset.read(dataset.record(0))["importance"][3].as_py()
    assert {part["modality"]: part["share"] for part in shares} == {"image": 0.0, "text": 1.0}


def test_new_shards_are_encoded_with_the_frozen_codebook(source, root):
    nodes = visual(source.write(pictures(40)))
    run(nodes, root)
    frozen = nodes.codebook.fitted(root).record()
    source.write(pictures(40) + pictures(20, start=40, shift=3))
    made = counts(run(nodes, root))
    assert made["quantize/q"] == (1, 20, 0)
    assert "codebooks/q" not in made
    assert nodes.codebook.fitted(root).record() == frozen
    book = PQ.load(nodes.codebook.fitted(root).folder.local(frozen.name))
    dataset = nodes.embed.dataset(root)
    X = np.array(dataset.read(dataset.record(2))["embedding"].to_pylist(), np.float32)
    there = np.array(codes_of(nodes, root, 2)["present"].to_pylist())
    np.testing.assert_array_equal(codes_of(nodes, root, 2)["codes"].to_pylist(), book.encode(X, there).codes)


def test_a_codebook_learns_from_training_rows_alone(source, root):
    rows = pictures(40)
    train = [row for row in rows if row["split"] == "train"]
    nodes = visual(source.write(rows))
    run(nodes[:4], root)
    others = visual(Source(source.path.parent / "y.jsonl").write(train))
    run(others[:4], open_root(root.local().parent / "other"))
    first, second = nodes.codebook.fitted(root), others.codebook.fitted(open_root(root.local().parent / "other"))
    assert first.record().digest == second.record().digest
    assert first.record().n_rows == len(train) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 3}, r"expected a divisor of the dimension 4, got 3; choose one of \[1, 2, 4\]"),
        ({"codewords": 64}, "expected at least codewords=64, got 20; lower codewords"),
    ],
)
def test_a_codebook_that_cannot_be_fitted_says_why(source, root, options, message):
    nodes = visual(source.write(pictures(40)), **options)
    run(nodes[:3], root)
    with pytest.raises(DataError, match=f"quantize/codebooks-q: .*{message}"):
        run([nodes.codebook], root)


class TestVersions:
    """Codes of one version of a codebook mean nothing to a model that was trained on another's."""

    @pytest.fixture
    def nodes(self, source, root):
        """Return nodes whose codebook was fitted again, and nothing after it."""
        nodes = visual(source.write(pictures(40)))
        run(nodes, root)
        source.write(pictures(40) + pictures(40, start=40, spread=3, shift=-2))
        run(nodes[:3], root)
        before = nodes.codebook.fitted(root).record().digest
        run([nodes.codebook], root, refit="now")
        assert nodes.codebook.fitted(root).record().digest != before
        return nodes

    def test_a_model_refuses_codes_of_another_version(self, nodes, root):
        run([nodes.codes], root)
        expected = nodes.model.fitted(root).record().fitted["codebooks/q"][-12:]
        got = nodes.codebook.fitted(root).record().digest[-12:]
        message = (
            f"quantize/q shard 2 for predict/m: version of codebooks/q: expected '{expected}', got '{got}'; "
            "run `fuseline run`"
        )
        assert make_shard(nodes.predictions, root, 2).error.startswith(message)

    def test_a_model_is_not_trained_on_codes_of_several_versions(self, nodes, root):
        make_shard(nodes.codes, root, 0)
        with pytest.raises(MismatchError, match="quantize/q shard 1 for train/m: version of codebooks/q"):
            make_fit(nodes.model, root, source="")

    def test_a_run_makes_all_that_follows(self, nodes, root):
        assert plan_node(nodes.model, root, PlanOptions()).why == "codebooks/q was fitted again"
        made = counts(run(nodes, root))
        assert made["quantize/q"] == (4, 80, 0)
        assert made["models/m"][0] == 1
        assert made["predictions/m"] == (4, 80, 0)
        assert run(nodes, root) == {}
