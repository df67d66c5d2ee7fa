"""One trial of a sweep: hidden modalities, times, and the words of visual tokens."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fuseline.models.blocks import cut
from fuseline.models.errors import TrainingError
from fuseline.models.registry import MODELS
from fuseline.models.scoring import count
from fuseline.stores.errors import AlignmentError
from fuseline.stores.schemas import TOKENS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation.token_dictionary import TokensConfig
from fuseline.tasks.evaluation.visual_words import visual_words
from fuseline.tasks.experiments import trial as trial
from fuseline.tasks.experiments.grid import trial_config
from fuseline.tasks.experiments.paired import pairs
from fuseline.tasks.experiments.timing import REPEATS, machine, timed_fits
from fuseline.tasks.experiments.trial import DOCUMENTS, TESTED, Masked, document_table, fit_trial, modalities
from fuseline.tasks.stages.train import ModelConfig
from tests.models.synthetic import Blocks, documents, present, tokens, vectors, with_parts

OPTIONS = {"preset": "fasttext", "dim": 8, "epochs": 5, "lr": 0.5, "deterministic": True}


def fitted(kind: str, **options: Any) -> Any:
    """Return a classifier of the synthetic documents."""
    entry = MODELS[kind]
    return entry(entry.Config(**{**OPTIONS, **options})).fit(Blocks(documents(300)), None, seed=0)


def test_a_hidden_image_leaves_the_text_alone() -> None:
    block = documents(100, seed=1)
    (hidden,) = Masked(Blocks(block), frozenset({"embed/image", "quantize/pq"})).blocks()
    assert not present(hidden, "image").any()
    assert not present(hidden, "pq").any()
    assert present(hidden, "rspq").tolist() == present(block, "rspq").tolist()
    assert present(block, "image").any()  # the original is as it was
    assert hidden.text.equals(block.text)
    assert Masked(Blocks(block), frozenset()).n_rows == 100


def test_a_hidden_text_leaves_the_image_alone() -> None:
    block = documents(100, seed=1)
    (hidden,) = Masked(Blocks(block), frozenset({"clean/text", "quantize/rspq"})).blocks()
    assert set(hidden.text.to_pylist()) == {""}
    assert present(hidden, "image").tolist() == present(block, "image").tolist()
    assert not present(hidden, "rspq").any()


def test_additive_without_images_scores_as_its_text_term_does() -> None:
    """K-39: the term of a missing modality is dropped."""
    classifier, block = fitted("additive"), documents(200, seed=2)
    (hidden,) = Masked(Blocks(block), frozenset({"embed/image"})).blocks()
    hollow = with_parts(block, dense={"image": 0 * vectors(block)}, present={"image": np.zeros(200, bool)}, codes={})
    assert np.array_equal(classifier.predict_logits(hidden), classifier.predict_logits(hollow))
    assert count(classifier, Masked(Blocks(block), frozenset({"embed/image"}))).n == 200


def test_documents_are_told_one_by_one() -> None:
    classifier, features = fitted("text", task="multi", loss="ova"), Blocks(documents(80, seed=3, second_label=True), 7)
    table, total = document_table(classifier, features), count(classifier, features)
    assert table.schema.equals(DOCUMENTS)
    sums = {name: sum(table[name].to_pylist()) for name in DOCUMENTS.names}
    assert (sums["first"], sums["true"]) == (total.first, total.true.total())
    assert (sums["predicted"], sums["hit"]) == (total.predicted.total(), total.hit.total())


def test_no_table_of_a_cell_names_a_document_and_yet_tells_which_they_were(tmp_path: Path) -> None:
    """Ids lay in the trials of sweeps, where `forget` did not look for them."""
    classifier, block = fitted("text"), documents(40, seed=3)
    block = replace(block, ids=pc.binary_join_element_wise("document number ", block.ids, ""))
    table = document_table(classifier, Blocks(block, 7))
    assert not {field.type for field in table.schema} & {pa.string(), pa.large_string(), pa.binary()}
    pq.write_table(table, tmp_path / "documents.parquet")
    data = (tmp_path / "documents.parquet").read_bytes()
    assert not any(document.encode() in data for document in block.ids.to_pylist())
    again = pq.read_table(tmp_path / "documents.parquet")
    assert list(pairs({"a": [again], "b": [table]}, metric="accuracy", multi_label=False))
    fewer = document_table(classifier, Blocks(cut(block, 0, 39), 7))
    other = document_table(classifier, Blocks(replace(block, ids=pc.binary_join_element_wise(block.ids, "x", "")), 7))
    for one in (fewer, other):
        with pytest.raises(AlignmentError, match="not the same ones"):
            list(pairs({"a": [table], "b": [one]}, metric="accuracy", multi_label=False))


def test_visual_words_are_the_nearest_rows_of_u() -> None:
    classifier, features = fitted("rspq"), Blocks(documents(300), 70)
    options = TokensConfig(words=4, min_count=3)
    table = visual_words(classifier, features, model="m", parts=2, repeated=True, options=options)
    assert table.schema.equals(TOKENS)
    codes = tokens(features.block, "rspq")[present(features.block, "rspq")]
    used = {(m, c) for m in range(codes.shape[1]) for c in set(codes[:, m].tolist())}
    assert {(2 * row["repeat"] + row["part"], row["centroid"]) for row in table.to_pylist()} == used
    counts = dict(zip(classifier.dictionary.words(), classifier.dictionary.counts.tolist(), strict=True))
    U, words = classifier.params.U[:, :8].astype(np.float64), classifier.dictionary.words()
    for row in table.to_pylist():
        place = 2 * row["repeat"] + row["part"]
        token = U[classifier.dictionary.rows + 256 * place + row["centroid"]]
        cosine = U[: len(words)] @ token / np.linalg.norm(U[: len(words)], axis=1) / np.linalg.norm(token)
        ranked = [words[i] for i in np.argsort(-cosine) if words[i] != "</s>" and counts[words[i]] >= 3]
        found = [word["cosine"] for word in row["words"]]
        assert [word["word"] for word in row["words"]] == ranked[:4]
        assert found[0] == pytest.approx(cosine[words.index(ranked[0])], abs=1e-5)
        assert row["clarity"] == pytest.approx(row["coherence"] * np.mean(found), abs=1e-5)
        assert row["n_train"] == (codes[:, place] == row["centroid"]).sum()
        assert row["token"] == f"_q-_{row['repeat']}_{row['part']}_{row['centroid']}"


def test_tokens_without_words_beside_them_have_no_rows() -> None:
    options = TokensConfig(min_count=10**6)
    classifier, features = fitted("pq"), Blocks(documents(300))
    table = visual_words(classifier, features, model="m", parts=4, repeated=False, options=options)
    assert table.equals(TOKENS.empty_table())


class Slow:
    """A classifier whose fit takes no time and that says it took `told` seconds."""

    def __init__(self, log: list[Any], options: dict[str, Any], told: float | None) -> None:
        self.log, self.options, self.told = log, options, told

    def fit(self, train: Any, valid: Any, *, seed: int) -> "Slow":
        """Note the call."""
        self.log.append((self.options, valid, seed))
        return self

    def describe(self) -> dict[str, Any]:
        """Tell the time."""
        return {} if self.told is None else {"train_seconds": self.told}


@pytest.mark.parametrize("told", [None, 7.5])
def test_the_first_fit_is_not_timed(told: float | None) -> None:
    log: list[Any] = []
    rows: Any = Blocks(documents(5))

    def make(options: dict[str, Any]) -> Any:
        return Slow(log, options, told)

    times, last = timed_fits(make, rows, seed=4, warm_up=True)
    assert log == [({"epochs": 1}, None, 4)] + REPEATS * [({}, None, 4)]
    assert isinstance(last, Slow)
    assert len(times) == REPEATS
    for one in times:
        assert one.seconds == told if told else 0 <= one.seconds < 0.1
        assert 0 <= one.processor_seconds < 1
    log.clear()
    timed_fits(make, rows, seed=4, warm_up=False)
    assert len(log) == REPEATS


def test_a_long_fit_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuseline.tasks.experiments.timing.ENOUGH", -1.0)
    log: list[Any] = []
    rows: Any = Blocks(documents(5))
    times, _ = timed_fits(lambda options: Slow(log, options, 9.0), rows, seed=0, warm_up=False)  # type: ignore[arg-type,return-value]
    assert [one.seconds for one in times] == [9.0]


def test_a_machine_says_what_it_is() -> None:
    own = machine()
    assert own.cores >= 1
    assert own.python.startswith("3.")


def test_only_the_store_knows_the_test_split(tmp_path: Path) -> None:
    rows = Blocks(documents(30))
    for phase in ("final", "timing"):
        config = trial_config(
            ModelConfig(kind="text", options={"preset": "fasttext", "dim": 4}), {}, seed=0, phase=phase
        )  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="only it knows the test split"):
            fit_trial(rows, rows, config, Context("", {}, {}))


def test_a_measured_training_that_diverges_is_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def diverge(*_: Any) -> Any:
        raise TrainingError("lower lr")

    monkeypatch.setitem(trial.PHASES, "timing", diverge)
    config = trial_config(
        ModelConfig(kind="text", options={"preset": "fasttext", "dim": 4}), {}, seed=0, phase="timing"
    )
    save, _, facts = fit_trial(Blocks(documents(30)), Blocks(documents(30)), config, Context("", {}, {}))
    save(tmp_path)
    assert facts == {"status": "diverged"}
    assert [path.name for path in tmp_path.iterdir()] == ["trial.json"]


def told(first: list[int], ids: str = "abcd") -> pa.Table:
    """Return how four documents with one label each came out."""
    columns = [[bool(x) for x in first], [1] * 4, [1] * 4, first]
    made = pa.table(columns, names=DOCUMENTS.names).cast(DOCUMENTS)
    return made.replace_schema_metadata({TESTED: ids.encode()})


def test_pairs_of_models_are_compared_over_their_seeds() -> None:
    models = {"b": [told([1, 1, 0, 0]), told([1, 1, 1, 0])], "a": [told([0, 0, 0, 0])], "c": [told([1, 1, 1, 1])]}
    rows = {(pair.model, pair.other): pair for pair in pairs(models, metric="accuracy", multi_label=False)}
    assert len(rows) == 6
    assert rows["b", "a"].difference == pytest.approx(0.625)
    assert rows["b", "c"].difference == pytest.approx(-0.375)
    assert (rows["c", "a"].low, rows["c", "a"].high, rows["c", "a"].n) == (1, 1, 4)
    assert rows["c", "a"].p < 0.01
    assert 0 < rows["b", "c"].p < 1
    again = list(pairs(models, metric="accuracy", multi_label=False))
    assert again == list(rows.values())
    assert list(pairs({}, metric="accuracy", multi_label=False)) == []


def test_models_tested_on_other_documents_are_not_compared() -> None:
    models = {"a": [told([0, 0, 0, 0])], "b": [told([1, 1, 0, 0], "abce")]}
    with pytest.raises(AlignmentError, match="test documents of b"):
        list(pairs(models, metric="accuracy", multi_label=False))


def test_modalities_are_those_of_the_encoders() -> None:
    from fuseline.flows.config import Config
    from fuseline.flows.graph import build

    reads = {"embeddings": ["image", "text", "said", "columns"], "codes": ["pq", "words"]}
    values = {
        "detect": {"lines": {"detector": "rapidocr"}},
        "embed": {
            "image": {"encoder": "efficientnet_lite2"},
            "text": {"encoder": "minilm"},
            "said": {"encoder": "minilm", "field": "ocr", "detections": "lines"},
            "columns": {"encoder": "tabular"},
        },
        "quantize": {"pq": {"embedding": "image"}, "words": {"embedding": "text"}},
        "models": {"all": {"kind": "lightgbm", "options": reads}},
    }
    config = Config.model_validate(values)
    (node,) = [node for node in build(config) if node.name == "models/all"]
    assert modalities(node) == {
        "embed/image": "image", "embed/text": "text", "embed/said": "image", "embed/columns": "tabular",
        "quantize/pq": "image", "quantize/words": "text",
    }  # fmt: skip
