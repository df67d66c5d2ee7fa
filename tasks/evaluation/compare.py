"""Every two models on the same documents: paired tests, and intervals by drawing documents."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig, added
from fuseline.models.metrics.scores import Outcomes, outcomes
from fuseline.models.metrics.significance import (
    difference,
    interval,
    mcnemar,
    per_document,
    permutation,
    resampled,
    statistic,
)
from fuseline.models.scoring import single
from fuseline.stores.score_schemas import COMPARISONS
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary, fits_of
from fuseline.tasks.evaluation.evaluate import check_ids, held_half, of_half, scored_rows, unseen_splits
from fuseline.tasks.stages.train import MULTI_LABEL

ROLE = "comparisons"
SINGLE, MULTI = ("accuracy",), ("f1_micro", "p_at_1")  # what models are compared by


class CompareConfig(FrozenConfig):
    """Which models are compared, on which splits."""

    models: tuple[str, ...]
    splits: tuple[str, ...]
    seed: int = 0  # of the draws
    half: str | None = added(None)  # of its split that alone is compared on: one model learns from the other


class Answers(NamedTuple):
    """One model's answers to the documents of a split."""

    value: float
    sums: NDArray[np.float64]  # (n, K) of `per_document`
    draws: NDArray[np.float64]  # (d,) values of drawn documents


def outcomes_of(shards: Shards, config: CompareConfig, *, multi_label: bool) -> dict[str, list[Outcomes]]:
    """Return, by split, how its documents came out under each model, in the order of the models."""
    parts: dict[str, list[list[Outcomes]]] = {split: [[] for _ in config.models] for split in config.splits}
    for documents, *answers in of_half(shards, config.half, place=0)():
        for guessed in answers:
            check_ids(guessed, documents)
        for split, rows in scored_rows(documents, config.splits):
            truth = documents.filter(rows)["labels"].combine_chunks()
            for kept, guessed in zip(parts[split], answers, strict=True):
                best = guessed.filter(rows)["label"].combine_chunks()
                chosen = guessed.filter(rows)["predicted"].combine_chunks() if multi_label else single(best)
                kept.append(outcomes(truth, chosen, best=best))
    return {split: [_joined(own) for own in kept] for split, kept in parts.items() if kept and kept[0]}


def comparison_rows(
    models: Mapping[str, Outcomes], metric: str, *, multi_label: bool, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the fields of COMPARISONS from `model` on: of each model by itself, then of every ordered pair.

    A metric that counts documents that are right is tested by McNemar's exact test, another one by permutation.
    """
    n = len(next(iter(models.values())).first)
    sums = {name: per_document(metric, own, multi_label=multi_label) for name, own in models.items()}
    drawn = resampled(list(sums.values()), rng=np.random.default_rng(seed))
    answers = {
        name: Answers(float(statistic(metric, own.sum(axis=0))), own, statistic(metric, draws))
        for (name, own), draws in zip(sums.items(), drawn, strict=True)
    }
    for name, own in answers.items():
        low, high = interval(own.draws)
        yield {"model": name, "other": None, "value": own.value, "low": low, "high": high, "n": n}
    tests = {
        frozenset(pair): _test(metric, *(answers[name] for name in pair), seed=seed)
        for pair in combinations(answers, 2)
    }
    for name, other in permutations(answers, 2):
        a, b = answers[name], answers[other]
        gain, (test, p) = difference(a.value, b.value, a.draws, b.draws), tests[frozenset((name, other))]
        fixed = {"model": name, "other": other, "test": test, "p": p, "n": n}
        yield {**fixed, "value": gain.value, "low": gain.low, "high": gain.high}


def compare_models(shards: Shards, config: CompareConfig, context: Context) -> dict[str, pa.Table]:
    """Return the comparisons of all models on every split that has documents."""
    multi_label = any(facts.get(MULTI_LABEL) for facts in context.facts.values())
    rows: list[dict[str, Any]] = []
    for split, found in outcomes_of(shards, config, multi_label=multi_label).items():
        models = dict(zip(config.models, found, strict=True))
        for metric in (MULTI if multi_label else SINGLE) if len(found[0].first) else ():
            own = comparison_rows(models, metric, multi_label=multi_label, seed=config.seed)
            rows += [{"split": split, "metric": metric, **row} for row in own]
    return {ROLE: pa.Table.from_pylist(rows, schema=COMPARISONS)}


def stage(predictions: Mapping[str, ShardStage], documents: Ingest, *, splits: Sequence[str]) -> Summary:
    """Return the node that compares models."""
    names = sorted(predictions)
    half = held_half(*predictions.values())
    reads = (Read(predictions[name], ("label", "predicted")) for name in names)
    return Summary(
        role=ROLE, short="models", flow="evaluate", main=False, version=1, tables=(ROLE,), summarise=compare_models,
        config=CompareConfig(models=tuple(names), splits=tuple(splits), half=half),
        fits=fits_of(predictions[name] for name in names),
        reads=(Read(documents, ("status", "split", "labels")), *reads),
        unseen=unseen_splits(splits, half),
    )  # fmt: skip


def _test(metric: str, a: Answers, b: Answers, *, seed: int) -> tuple[str, float]:
    if metric == "f1_micro":
        return "permutation", permutation(metric, a.sums, b.sums, rng=np.random.default_rng(seed))
    return "mcnemar", mcnemar(a.sums[:, 0] > 0, b.sums[:, 0] > 0)


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
