"""Nodes in a fold: what is made again, what is shared, which documents each sees, and that leaks are caught."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drive import Nodes, Source, add_up, counts, documents, fit_longest, nodes, run

from fuseline.stores.errors import DataError
from fuseline.stores.root import Root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.engine.leaks import check_leaks
from fuseline.tasks.engine.nodes import Fit, Node, Read, Summary, in_fold, ordered, whole
from fuseline.tasks.engine.planner import PlanOptions, plan_all, training_rows
from fuseline.tasks.engine.rows import Fold, Rows
from fuseline.tasks.engine.shard_features import ShardFeatures

FOLDS = [Fold(k, 3) for k in range(3)]


def divided(source: Path) -> Nodes:
    """Return the DAG over documents of three parts, with a score that reads splits."""
    made = nodes(source, shard_size=7)
    config = made.documents.config.model_copy(update={"split": SplitConfig(valid=0.2, test=0, folds=3)})
    held = replace(made.documents, config=config)

    def moved(node: Any) -> Any:
        return replace(node, reads=tuple(
            replace(read, node=held if read.node.kind == "documents" else moved(read.node)) for read in node.reads
        ), fits=tuple(map(moved, node.fits)))  # fmt: skip

    total = moved(made.total)
    scored = Read(held, ("split",))
    total = replace(total, reads=(*total.reads, scored), summarise=count_splits, unseen=("test",))
    return Nodes(held, *(moved(node) for node in made[1:-1]), total)


def count_splits(shards: Any, config: Any, context: Any) -> Any:
    pairs = list(shards())
    found = add_up(lambda: ([predicted] for predicted, _ in pairs), config, context)
    split = Counter(split for _, table in pairs for split in table["split"].to_pylist())
    return {"total": found["total"].append_column("test", [[split["test"]]])}


@pytest.fixture
def made(source: Source, root: Root) -> Nodes:
    wanted = divided(source.write(documents(40)))
    run(wanted, root)
    return wanted


def folded(wanted: Nodes, fold: Fold) -> list[Node]:
    return ordered(in_fold([wanted.total, wanted.vector], fold))


def test_only_fits_and_what_rests_on_them_are_made_again(made: Nodes, root: Root) -> None:
    inside = folded(made, FOLDS[1])
    own = {node.name for node in inside if node.fold}
    assert own == {"models/longest@fold1of3", "predictions/longest@fold1of3", "evaluation/total@fold1of3"}
    assert {node.name: node.key for node in whole(inside)} == {
        node.name: node.key for node in (made.documents, made.clean, made.vector)
    }
    assert [node.label for node in inside if node.fold][-1] == "evaluate/total@fold1of3"
    assert inside[-1].column == "embed/length"
    assert len({node.key for fold in FOLDS for node in folded(made, fold)}) == 3 + 3 * 3


def test_the_fold_is_a_value_of_the_key_and_whole_nodes_keep_theirs(made: Nodes) -> None:
    (model,) = (node for node in folded(made, FOLDS[2]) if isinstance(node, Fit))
    assert model.manifest.config["rows"] == {"fit": "train", "tune": "valid", "fold": {"k": 2, "of": 3}}
    assert "rows" not in made.model.manifest.config
    assert replace(made.model, rows=Rows("valid", "")).key != made.model.key


def test_each_fold_is_fitted_on_the_others_and_scored_on_its_own(made: Nodes, root: Root) -> None:
    scored, every = 0, {f"d{i}" for i in range(40)}
    for fold in FOLDS:
        inside = folded(made, fold)
        run(inside, root)
        (model,) = (node for node in inside if isinstance(node, Fit))
        sees = {
            split: [i for block in ShardFeatures(model, root, split).blocks() for i in block.ids.to_pylist()]
            for split in ("train", "valid", "test")
        }
        assert set().union(*sees.values()) == every
        assert sum(map(len, sees.values())) == 40
        record = model.fitted(root).record()
        assert record is not None
        assert record.n_rows == len(sees["train"]) == training_rows(model, root)
        assert record.saw == {"train": len(sees["train"])}
        assert ShardFeatures(model, root, "test").n_rows == len(sees["test"])
        (total,) = (node for node in inside if isinstance(node, Summary))
        found = total.table(root, "total")
        assert found is not None
        assert found["test"].to_pylist() == [len(sees["test"])]
        scored += len(sees["test"])
    assert scored == 40


def test_a_second_run_does_nothing_and_a_new_document_refits_nothing(made: Nodes, root: Root, source: Source) -> None:
    every = ordered(node for fold in FOLDS for node in folded(made, fold))
    run(every, root)
    assert not any(plan.todo for plan in plan_all(every, root, PlanOptions()))
    source.write(documents(41))
    again = counts(run(every, root))
    assert not any(name.startswith("models") for name in again)
    assert {name: count[1] for name, count in again.items() if name.startswith("predictions")} == {
        f"predictions/longest@fold{k}of3": 1 for k in range(3)
    }


def test_a_transform_that_was_fitted_on_all_documents_is_caught_by_the_wiring(made: Nodes) -> None:
    inside = folded(made, FOLDS[0])
    check_leaks(inside)
    (total,) = (node for node in inside if isinstance(node, Summary))
    # Forgotten in the fold: the predictions come of the model of all documents.
    leaking = replace(total, reads=(Read(made.predictions, ("value",)), *total.reads[1:]), fits=())
    with pytest.raises(ValueError, match=(
        "evaluate/total@fold0of3: documents of test in fold 0 of 3: expected 'seen by no fit above', got "
        "'train/longest, which saw train of all documents'; fit it in the same fold"
    )):  # fmt: skip
        check_leaks([leaking])


def test_a_fit_of_another_fold_and_a_stage_over_whole_shards_are_caught(made: Nodes) -> None:
    (total,) = (node for node in folded(made, FOLDS[0]) if isinstance(node, Summary))
    (other,) = (node for node in folded(made, FOLDS[1]) if node.role == "predictions")
    with pytest.raises(ValueError, match="which saw train of fold 1 of 3"):
        check_leaks([replace(total, reads=(Read(other, ("value",)),))])
    blended = replace(made.vector, by_row=False)
    with pytest.raises(ValueError, match="got 'embed/length, made of every row'"):
        check_leaks([replace(total, reads=(*total.reads, Read(blended, ("embedding",))))])


def test_a_policy_must_not_learn_from_what_its_models_were_fitted_on(made: Nodes) -> None:
    def policy(rows: Rows) -> Fit:
        reads = (Read(made.documents, ("split",)), Read(made.predictions, ("value",)))
        return replace(made.model, short="policy", reads=reads, rows=rows, unseen=(rows.fit,))

    check_leaks([policy(Rows("valid", "")), replace(made.total, unseen=("valid", "test"))])
    with pytest.raises(ValueError, match=r"train/policy: documents of train: .* got 'train/longest, which saw train"):
        check_leaks([policy(Rows("train", ""))])
    scored = replace(made.total, reads=(), fits=(policy(Rows("valid", "")),), unseen=("valid",))
    with pytest.raises(ValueError, match="got 'train/policy, which saw valid"):
        check_leaks([scored])


def greedy(train: Any, valid: Any, config: Any, context: Any) -> Any:
    """Ignore the rows: learn from the documents that are held out, too."""
    for _ in replace(train, split="test").blocks():
        pass
    return fit_longest(train, valid, config, context)


def test_a_fit_that_reads_what_is_held_out_is_caught_when_it_is_scored(made: Nodes, root: Root) -> None:
    inside = folded(made, FOLDS[0])
    (model,) = (node for node in inside if isinstance(node, Fit))
    run(whole(inside), root)
    run([replace(model, fit=greedy)], root)
    *before, total = (node for node in inside if node.fold)
    run([node for node in before if node is not model], root)
    with pytest.raises(DataError, match="got 'train/longest@fold0of3, which saw test of fold 0 of 3'"):
        run([total], root)
