"""Grids: which trials there are, how they are scored, what the best is."""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sk

from fuseline.models.errors import TrainingError
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.metrics.registry import scores
from fuseline.models.registry import MODELS
from fuseline.models.scoring import count
from fuseline.stores.errors import ConfigError
from fuseline.stores.fitted import SavedCheckpoint
from fuseline.stores.places import open_root
from fuseline.stores.schemas import RESULTS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation.evaluate import count as count_shards
from fuseline.tasks.evaluation.evaluate import metric_table
from fuseline.tasks.experiments.grid import (
    Candidate,
    SweepConfig,
    TrialConfig,
    best,
    grid_points,
    point_text,
    trial_config,
    varied_points,
)
from fuseline.tasks.experiments.trial import fit_trial
from fuseline.tasks.stages.predict import PredictConfig, predict
from fuseline.tasks.stages.train import ModelConfig
from tests.models.synthetic import make_block
from tests.tasks.feature_nodes import read

WORDS = {"ant": "small legs", "bee": "yellow wings", "cat": "soft paws"}


class Rows:
    """Some documents as features; their blocks hold `size` documents."""

    def __init__(self, texts: list[str], labels: list[list[str]], *, size: int = 7) -> None:
        self.texts, self.labels, self.size, self.n_rows = texts, labels, size, len(texts)

    def tables(self) -> list[tuple[pa.Table, pa.Table]]:
        """Return documents and cleaned texts, shard by shard."""
        ids = [f"d{i}" for i in range(self.n_rows)]
        parts = [slice(start, start + self.size) for start in range(0, self.n_rows, self.size)]
        labels = pa.array(self.labels, pa.list_(pa.string()))
        return [
            (
                pa.table({"id": ids[p], "labels": labels[p.start : p.stop], "status": ["ok"] * len(ids[p]),
                          "split": ["valid"] * len(ids[p])}),
                pa.table({"id": ids[p], "text": self.texts[p]}),
            )
            for p in parts
        ]  # fmt: skip

    def blocks(self):
        """Yield the documents."""
        for documents, cleaned in self.tables():
            columns = (documents["id"], cleaned["text"], documents["labels"])
            yield make_block(*(column.combine_chunks() for column in columns))


def drawn(n: int, seed: int, *, multi: bool = False) -> Rows:
    """Draw documents: words of their labels and noise; some have no text, some no label, some a label never seen."""
    rng = np.random.default_rng(seed)
    names = sorted(WORDS)
    labels = [list(rng.choice(names, size=rng.integers(1, 3) if multi else 1, replace=False)) for _ in range(n)]
    texts = [" ".join([*(WORDS[x] for x in own), *rng.choice(["a", "legs", "soft", "wings"], 3)]) for own in labels]
    return Rows(texts, labels)


def awkward(rows: Rows) -> Rows:
    """Return documents with a text that is missing, a label that is, and one that nobody knows."""
    rows.texts[0], rows.labels[1], rows.labels[2] = "", [], ["yak"]
    return rows


def trial(kind: str = "text", *, phase: Any = "search", **point: Any) -> TrialConfig:
    return trial_config(
        ModelConfig(kind=kind, options={"preset": "fasttext", "dim": 8, "epochs": 20}), point, seed=1, phase=phase
    )


def written(train: Any, valid: Any, config: TrialConfig, folder: Any) -> dict[str, Any]:
    save, n_rows, facts = fit_trial(train, valid, config, Context("", {}, {}))
    save(folder)
    written: dict[str, Any] = orjson.loads((folder / "trial.json").read_bytes())
    assert n_rows == train.n_rows
    assert facts["status"] == written["status"]
    return written


@pytest.mark.parametrize(
    ("kind", "trials"),
    [
        ("text", 30),
        ("additive", 30),
        ("bilinear", 30),
        ("pq", 180),
        ("rspq", 180),
        ("gated", 60),
        ("bilinear_gated", 60),
    ],
)
def test_the_default_grids_are_those_of_the_paper(kind, trials):
    points = grid_points(kind, ModelConfig(kind=kind), SweepConfig())
    assert len(points) == trials
    keys = {orjson.dumps(trial_config(ModelConfig(kind=kind), p, seed=0, phase="search").options) for p in points}
    assert len(keys) == trials


def test_an_axis_without_values_or_with_one_twice_adds_no_cells():
    text = ModelConfig(kind="text", options={"preset": "fasttext"})
    assert grid_points("m", text, SweepConfig(lr=(0.1, 0.1), epochs=(), dim=(3,))) == [{"lr": 0.1, "dim": 3}]


def test_a_model_may_have_axes_of_its_own():
    grid = SweepConfig(lr=(0.1, 0.2), epochs=(1,), dim=(4,), grids={"m": {"lr": [9.0], "dropout": [0.0, 0.5, 0.5]}})
    gmu = ModelConfig(kind="gmu")
    assert grid_points("m", gmu, grid) == [
        {"lr": 9.0, "epochs": 1, "dim": 4, "dropout": 0.0},
        {"lr": 9.0, "epochs": 1, "dim": 4, "dropout": 0.5},
    ]
    assert [point["lr"] for point in grid_points("other", gmu, grid)] == [0.1, 0.2]
    lists = SweepConfig(grids={"m": {"embeddings": [["image"], ["image", "text"]]}})
    points = grid_points("m", ModelConfig(kind="lightgbm"), lists)
    assert [point["embeddings"] for point in points] == [["image"], ["image", "text"]]


def test_an_axis_that_the_model_does_not_have_is_refused_with_the_nearest_name():
    grid = SweepConfig(grids={"m": {"droput": [0.0]}})
    with pytest.raises(ConfigError, match=r"sweep.grids.m: expected .*'droput'; did you mean 'dropout'"):
        grid_points("m", ModelConfig(kind="gmu"), grid)


def test_a_grid_over_dim_is_refused_for_a_model_that_starts_from_word_vectors(tmp_path):
    (tmp_path / "own.vec").write_text("1 2\nsun 1 2\n")
    model = ModelConfig(
        kind="text", options={"preset": "fasttext", "dim": 2, "pretrained_vectors": str(tmp_path / "own.vec")}
    )
    with pytest.raises(
        ConfigError, match=r"sweep.dim for m: expected \[2\], got \[20, 100\]; set sweep.grids.m.dim to"
    ):
        grid_points("m", model, SweepConfig())
    assert len(grid_points("m", model, SweepConfig(grids={"m": {"dim": (2,)}}))) == 15
    assert len(grid_points("m", model, SweepConfig(grids={"m": {"dim": ()}}))) == 15
    both = SweepConfig(grids={"m": {"pretrained_vectors": (None, str(tmp_path / "own.vec"))}})
    with pytest.raises(ConfigError, match="expected \\[2\\]"):
        grid_points("m", ModelConfig(kind="text", options={"preset": "fasttext"}), both)


def test_a_cell_keeps_the_other_options_and_is_alone_on_its_thread():
    model = ModelConfig(kind="text", options={"preset": "fasttext", "minn": 2, "maxn": 3, "lr": 9.0, "threads": 2})
    config = trial_config(model, {"lr": 0.5}, seed=3, phase="search")
    assert (config.options["lr"], config.options["maxn"], config.options["deterministic"]) == (0.5, 3, True)
    assert config.runtime_options == {"threads": 1}
    assert set(config.options) < set(FastTextConfig.model_fields)


def test_a_value_that_the_model_refuses_is_named():
    with pytest.raises(ConfigError, match=r"sweep.lr.*greater than 0.*-1"):
        trial_config(ModelConfig(kind="text", options={"preset": "fasttext"}), {"lr": -1.0}, seed=0, phase="search")


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_scores_are_those_of_the_predictions_of_the_same_classifier(multi, loss, tmp_path):
    options = {
        "preset": "fasttext",
        "dim": 8,
        "epochs": 20,
        "loss": loss,
        "task": "multi" if multi else "single",
        "deterministic": True,
    }
    entry = MODELS["text"]
    valid = awkward(drawn(60, 2, multi=multi))
    classifier = entry(entry.Config(**options)).fit(drawn(80, 1, multi=multi), None, seed=0)
    classifier.save(tmp_path)
    config = PredictConfig(model="m", kind="text", top_k=3)
    reads = (read("documents/d"), read("clean/text"))
    context = Context(
        "",
        {"models/m": SavedCheckpoint(open_root(tmp_path.parent), tmp_path.name)},
        {"models/m": "key", "self": "key"},
        reads,
    )
    shards = valid.tables()
    predictions = [predict(list(tables), config, context) for tables in shards]
    multi_label = classifier.multi_label
    tallies = count_shards(iter(predictions), (d for d, _ in shards), splits=["valid"], multi_label=multi_label)
    table = metric_table(tallies, model="m", seed=0, multi_label=multi_label)
    wanted = {row["metric"]: (row["value"], row["n"]) for row in table.to_pylist()}
    got = scores(count(classifier, valid), multi_label=classifier.multi_label)
    assert got["accuracy"][1] == 59
    assert got["no_input"] == (1, 59)
    assert got == {name: (pytest.approx(value), n) for name, (value, n) in wanted.items() if name in got}
    assert set(wanted) - set(got) == {f"{n}_{b}" for n in ("accuracy", "p_at_1", "f1_micro") for b in ("low", "high")}


def test_a_trial_writes_its_options_and_scores_on_valid_as_rows_of_the_results_table(tmp_path):
    train, valid = drawn(80, 1), drawn(40, 2)
    record = written(train, valid, trial(lr=0.5), tmp_path)
    assert (record["status"], record["seed"], record["options"]["lr"]) == ("ok", 1, 0.5)
    entry = MODELS["text"]
    model = entry(entry.Config(**record["options"])).fit(train, valid, seed=1)
    truth = [own[0] for own in valid.labels]
    guess = [model.labels[c] for b in valid.blocks() for c in model.predict_logits(b).argmax(axis=1)]
    results = pq.read_table(tmp_path / "results.parquet")
    assert results.schema.equals(RESULTS)
    rows = {row["metric"]: row for row in results.to_pylist()}
    assert {(row["split"], row["seed"], row["fold"], row["condition"]) for row in rows.values()} == {
        ("valid", 1, None, None)
    }
    assert rows["accuracy"]["value"] == pytest.approx(sk.accuracy_score(truth, guess))
    assert rows["accuracy"]["value"] > 0.8
    assert rows["accuracy"]["n"] == 40


def test_a_training_that_diverges_is_a_result(tmp_path):
    record = written(drawn(80, 1), drawn(40, 2), trial(lr=1e30), tmp_path)
    assert record["status"] == "diverged"
    assert "lr" in record["reason"]
    assert not (tmp_path / "results.parquet").exists()


def test_logits_that_are_no_numbers_count_as_diverged():
    entry = MODELS["text"]
    model = entry(entry.Config(preset="fasttext", dim=4, epochs=1)).fit(drawn(20, 1), None, seed=0)
    model.params.W[:] = np.nan
    with pytest.raises(TrainingError, match="logits: expected finite"):
        count(model, drawn(5, 2))


def test_nothing_to_choose_by_is_refused(tmp_path):
    with pytest.raises(ValueError, match="valid: expected 'documents to choose by', got 0"):
        fit_trial(drawn(9, 1), Rows([], []), trial(), Context("", {}, {}))
    with pytest.raises(ValueError, match="labelled documents"):
        fit_trial(drawn(9, 1), Rows(["legs"], [[]]), trial(), Context("", {}, {}))


def candidate(value: float | None, epochs: int, dim: int) -> Candidate:
    return Candidate({"epochs": epochs, "dim": dim}, value)


def test_of_equal_trials_the_cheaper_one_is_best():
    candidates = [candidate(*one) for one in ((0.5, 5, 20), (0.9, 20, 20), (0.9, 5, 100), (0.9, 5, 20), (None, 1, 1))]
    assert best(candidates, "accuracy") is candidates[3]
    assert best(candidates[1:3], "accuracy") is candidates[2]
    assert best([candidate(None, 5, 20)], "accuracy") is None


def test_where_lower_is_better_the_lowest_trial_is_best():
    candidates = [candidate(value, 5, 20) for value in (0.75, 0.5, 0.9)]
    assert best(candidates, "log_loss") is candidates[1]


def test_options_are_the_same_text_in_whatever_order_the_axes_are_given():
    assert point_text({"lr": 0.5, "dim": 4}) == point_text({"dim": 4, "lr": 0.5}) == '{"dim":4,"lr":0.5}'


def test_a_sweep_chooses_by_any_metric_that_models_are_compared_by():
    assert SweepConfig(metric="log_loss").metric == "log_loss"
    for name in ("acuracy", "no_input"):
        with pytest.raises(ValueError, match=rf"expected one of .*got '{name}'"):
            SweepConfig(metric=name)


def test_the_chosen_point_is_varied_one_option_at_a_time() -> None:
    grid, chosen = SweepConfig(varied={"threads": [1, 4], "min_count": [1, 2, 5]}), {"lr": 0.5}
    text = ModelConfig(kind="text", options={"preset": "fasttext"})
    threads, words = [{"lr": 0.5, "threads": 4}], [{"lr": 0.5, "min_count": 2}, {"lr": 0.5, "min_count": 5}]
    assert varied_points(text, chosen, grid) == [*threads, *words]
    frequent = ModelConfig(kind="pq", options={"preset": "fasttext", "min_count": 5})
    assert [point["min_count"] for point in varied_points(frequent, chosen, grid)[1:]] == [1, 2]
    assert varied_points(ModelConfig(kind="image", options={"preset": "fasttext"}), chosen, grid) == threads
    for other in ("gmu", "avg_probs", "lightgbm"):  # what threads they have change nothing
        assert varied_points(ModelConfig(kind=other), chosen, grid) == []
    assert varied_points(text, chosen, SweepConfig()) == []


def test_threads_that_a_point_names_decide_the_trial() -> None:
    """Threads stay out of the keys of datasets, but two trials that differ in them are two trials."""
    text = ModelConfig(kind="text", options={"preset": "fasttext", "threads": 2, "memory_mb": 9})
    alone, four = (trial_config(text, point, seed=0, phase="varied") for point in ({}, {"threads": 4}))
    assert (alone.options["deterministic"], alone.runtime_options) == (True, {"threads": 1, "memory_mb": 9})
    assert four.options == {**alone.options, "deterministic": False, "threads": 4}
    assert four.runtime_options == {"memory_mb": 9}
    config = MODELS["text"].Config.model_validate({**four.options, **four.runtime_options})
    assert config.training_threads(10) == 4


def test_a_grid_of_threads_is_refused() -> None:
    """It was taken before, and every trial of it trained on one thread all the same."""
    grid = SweepConfig(grids={"m": {"threads": (1, 4)}})
    with pytest.raises(ConfigError, match=r"sweep\.varied\.threads"):
        grid_points("m", ModelConfig(kind="text", options={"preset": "fasttext"}), grid)
