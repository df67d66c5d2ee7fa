"""What decisions between models are worth: beside each model, beside their oracle, and what asking fewer costs.

The oracle is right where any of the models is: an upper bound that knows the labels, and so a number, never a model.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.calibrated import at_temperature, fitted_temperature
from fuseline.models.classifiers.decision import Between, Chooser, probabilities
from fuseline.models.classifiers.policy import PolicyConfig
from fuseline.models.classifiers.stacked import is_own, right
from fuseline.models.columns import Logits
from fuseline.models.config import FrozenConfig, added
from fuseline.models.features import logits_name
from fuseline.models.labels import label_pairs
from fuseline.models.metrics.calibration import BINS, bin_sums, calibration_error
from fuseline.models.metrics.choices import call_curve, choice_scores
from fuseline.models.metrics.significance import mcnemar
from fuseline.models.registry import MODELS
from fuseline.stores.decision_schemas import CALIBRATION, CALL_RATES, DECISIONS, QUADRANTS
from fuseline.tasks.engine.nodes import Context, Read, Shards, ShardStage, Summary, ordered
from fuseline.tasks.engine.rows import STACKED
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.evaluation.evaluate import held_half, of_half, scored_rows, unseen_splits
from fuseline.tasks.label_parts import LabelsConfig, of_labels
from fuseline.tasks.stages.predict import load_classifier
from fuseline.tasks.stages.train import ModelConfig, Readable

ROLE = "decisions"
TABLES = {"decisions": DECISIONS, "quadrants": QUADRANTS, "call_rates": CALL_RATES, "calibration": CALIBRATION}
RATES = np.linspace(0, 1, 21)
CELLS = 1 << 24  # logits of one model that a temperature is fitted to, at most


class DecisionsConfig(FrozenConfig):
    """Which decision is looked into, and how."""

    model: str
    kind: str
    models: tuple[str, ...]  # between which it decides; none if it trains its own
    splits: tuple[str, ...]
    half: str | None  # that alone is scored of its split
    first: bool  # of those between the same models: only one tells what concerns these alone
    calibrated: tuple[str, ...]  # those of the models whose calibration nobody else tells
    spares: bool  # whether it looks at the first model alone, so that it spares the others where it does not call them
    others: tuple[str, ...]  # stages that only the models but the first need
    labels: LabelsConfig | None = added(None)  # that all of them learn: documents of others alone are not looked at


class Judged(NamedTuple):
    """How n labelled documents came out; every field has one entry per document."""

    right: NDArray[np.bool_]  # (n, m) each model is
    decided: NDArray[np.bool_]  # (n,) the decision is
    called: NDArray[np.bool_]  # (n,) another model than the first decides; False for what chooses none
    wish: NDArray[np.float32]  # (n,) how much that is wished for
    doubt: NDArray[np.float32]  # (n,) 1 - highest probability of the first model; inf where it has no input
    labels: pa.Array  # (n,) list<string>


def is_between(kind: str) -> bool:
    """Return whether a kind of model decides between others."""
    return issubclass(MODELS[kind], Between)


def look_into(shards: Shards, config: DecisionsConfig, context: Context) -> dict[str, pa.Table]:
    """Return DECISIONS, QUADRANTS, CALL_RATES and CALIBRATION of one decision; the second and last once per models."""
    (saved,) = context.checkpoints.values()
    classifier = load_classifier(config.kind, saved)
    if not isinstance(classifier, Between):
        raise TypeError(f"kind: expected a decision between models, got {config.kind!r}; name another kind")
    shards = of_labels(shards, config.labels, place=0)
    names, judged = names_of(classifier, config), dict[str, list[Judged]]()
    for tables in of_half(shards, config.half, place=0)():
        for split, rows in scored_rows(tables[0], config.splits):
            if pc.any(rows).as_py():
                judged.setdefault(split, []).append(judge(classifier, [t.filter(rows) for t in tables], context))
    whole = {split: joined(parts) for split, parts in judged.items()}
    chooses, of_valid = isinstance(classifier, Chooser), whole.get("valid")
    best = 0 if of_valid is None else int(of_valid.right.mean(axis=0).argmax())
    fixed = {"model": config.model, "kind": config.kind, "models": list(names)}
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for split, one in whole.items():
        known = {"split": split, "n": len(one.decided)}
        told["decisions"].append({**fixed, **known, **decision_row(one, names, best=best, chooses=chooses)})
        told["call_rates"] += [{**fixed, **known, **row} for row in curve_rows(one, config, chooses=chooses)]
        if config.first:
            told["quadrants"] += [{"models": list(names), "split": split, **row} for row in quadrant_rows(one, names)]
    if config.calibrated:
        told["calibration"] += calibration_rows(shards, classifier, config, context)
    return {name: pa.Table.from_pylist(told[name], schema=schema) for name, schema in TABLES.items()}


def names_of(classifier: Between, config: DecisionsConfig) -> tuple[str, ...]:
    """Return what the models are called; those that a decision trains itself are not taken for others of that name."""
    names = classifier.between()
    return names if config.models else tuple(f"{name} of {config.model}" for name in names)


def judge(classifier: Any, tables: list[pa.Table], context: Context) -> Judged:
    """Return how the labelled documents of a part of a shard came out: those of the models, then of the decision."""
    block = block_of(context.reads, tables)
    columns = classifier.columns(block)
    predicted = tables[-1]["label"].combine_chunks()
    best = pc.fill_null(pc.index_in(predicted, value_set=pa.array(classifier.labels, pa.string())), -1)
    decided = is_own(np.asarray(best).astype(np.int64)[:, None], tuple(classifier.labels), block.labels)[:, 0]
    decided &= np.asarray(predicted.is_valid())
    chosen, wish = np.zeros(len(block), np.int64), np.zeros(len(block), np.float32)
    if isinstance(classifier, Chooser):
        chosen, wish = classifier.choose(block)
    first = columns[0]
    doubt = np.where(first.present, 1 - probabilities(first).max(axis=1), np.inf).astype(np.float32)
    return Judged(right(columns, block.labels), decided, chosen > 0, wish, doubt, block.labels)


def joined(parts: Sequence[Judged]) -> Judged:
    """Return the documents of several parts as one."""
    *arrays, labels = zip(*parts, strict=True)
    true, decided, called, wish, doubt = map(np.concatenate, arrays)
    return Judged(true, decided, called, wish, doubt, pa.concat_arrays(labels))


def decision_row(one: Judged, names: Sequence[str], *, best: int, chooses: bool) -> dict[str, Any]:
    """Return what DECISIONS says of a split; `best` is the place of the single model that is best on valid."""
    single = one.right[:, best]
    better, worse = int((one.decided & ~single).sum()), int((single & ~one.decided).sum())
    row = {
        "accuracy": one.decided.mean(), "first_accuracy": one.right[:, 0].mean(),
        "others_accuracy": one.right[:, 1:].mean(axis=0).tolist(), "oracle_accuracy": one.right.any(axis=1).mean(),
        "best": names[best], "best_accuracy": single.mean(), "better": better, "worse": worse,
        "p": mcnemar(one.decided, single),
    }  # fmt: skip
    if chooses:
        should = ~one.right[:, 0] & one.right[:, 1:].any(axis=1)
        scores = choice_scores(should, one.called, one.wish)._asdict()
        row |= {f"choice_{name}": value for name, value in scores.items()}
        row |= {"called": one.called.mean(), "should_call": should.mean()}
    return row


def quadrant_rows(one: Judged, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield how many documents exactly these models are right on: of all, then of each label."""
    codes = one.right @ (1 << np.arange(len(names)))
    total = np.bincount(codes, minlength=1 << len(names))
    labels = pc.unique(pc.list_flatten(one.labels)).sort()
    rows, classes, _ = label_pairs(one.labels, labels)
    each = Counter(zip(classes.tolist(), codes[rows].tolist(), strict=True))
    sets = {code: [name for at, name in enumerate(names) if code >> at & 1] for code in range(len(total))}
    yield from ({"label": None, "right": sets[code], "n": int(n)} for code, n in enumerate(total) if n)
    of = labels.to_pylist()
    yield from ({"label": of[y], "right": sets[code], "n": n} for (y, code), n in sorted(each.items()))


def curve_rows(one: Judged, config: DecisionsConfig, *, chooses: bool) -> Iterator[dict[str, Any]]:
    """Yield the accuracy when a share of the documents, those most wished for, goes to the best of the others.

    `policy` ranks them by the decision's own wish, `confidence` by the doubt of the first model, for two models.
    """
    if one.right.shape[1] != 2:
        return
    gains = one.right[:, 1].astype(np.int64) - one.right[:, 0]
    ways = {"confidence": (one.doubt, True)} if config.first else {}
    ways |= {"policy": (one.wish, config.spares)} if chooses else {}
    for way, (wish, spares) in ways.items():
        right_now = int(one.right[:, 0].sum()) + call_curve(gains, wish, RATES)
        for rate, n_right in zip(RATES.tolist(), right_now.tolist(), strict=True):
            spared = list(config.others) if spares else []
            yield {"by": way, "rate": rate, "accuracy": n_right / len(gains), "spared": spared}


def calibration_rows(
    shards: Shards, classifier: Any, config: DecisionsConfig, context: Context
) -> Iterator[dict[str, Any]]:
    """Yield the calibration error of each model before and after a temperature; `valid` is the half that chose none."""
    names = classifier.between()
    wanted = {at for at, name in enumerate(names) if name in config.calibrated}
    temperatures = chosen_temperatures(shards, classifier, context, wanted)
    sums: dict[tuple[int, str], list[NDArray[np.float64]]] = {}
    for tables in of_half(shards, STACKED.tune, place=0)():
        for split, rows in scored_rows(tables[0], config.splits):
            block = block_of(context.reads, [table.filter(rows) for table in tables])
            for at, column in enumerate(classifier.columns(block) if len(block) and temperatures else ()):
                there = np.flatnonzero(column.present)
                part, hit = column.at(there), right([column], block.labels)[there, 0]
                for after, temperature in enumerate((1.0, temperatures[at]) if at in temperatures else ()):
                    p = at_temperature(part.values, part.link, temperature).max(axis=1)
                    sums.setdefault((at, split), [np.zeros((BINS, 3)), np.zeros((BINS, 3))])[after] += bin_sums(
                        p.astype(np.float64), hit
                    )
    for (at, split), (before, then) in sorted(sums.items()):
        yield {
            "model": names[at], "split": split, "n": int(before[:, 0].sum()),
            "temperature": temperatures[at], "ece_before": calibration_error(before),
            "ece_after": calibration_error(then),
        }  # fmt: skip


def chosen_temperatures(
    shards: Shards, classifier: Any, context: Context, wanted: AbstractSet[int]
) -> dict[int, float]:
    """Return the temperature of each model at a wanted place that has one, fitted on one half of valid."""
    logits, truth, names = list[list[Logits]](), list[NDArray[np.bool_]](), pa.array(classifier.labels, pa.string())
    room = CELLS // len(names)
    for tables in of_half(shards, STACKED.fit, place=0)():
        ((_, rows),) = scored_rows(tables[0], ("valid",))
        block = block_of(context.reads, [table.filter(rows) for table in tables]).at(slice(0, max(0, room)))
        room -= len(block)
        if len(block):
            logits.append(classifier.columns(block))
            truth.append(np.zeros((len(block), len(names)), np.bool_))
            truth[-1][label_pairs(block.labels, names)[:2]] = True
    if not logits:
        return {}
    columns, own = [Logits.join(parts) for parts in zip(*logits, strict=True)], np.concatenate(truth)
    return {
        at: fitted_temperature(column.values[column.present], column.link, own[column.present])
        for at, column in enumerate(columns)
        if at in wanted and column.link != "clipped"  # probabilities themselves
    }


def stage(
    name: str,
    spec: ModelConfig,
    sources: Readable,
    predictions: ShardStage,
    *,
    splits: tuple[str, ...],
    first: bool,
    calibrated: tuple[str, ...],
) -> Summary:
    """Return the node that looks into one decision.

    Args:
        name: of the decision.
        spec: its configuration.
        sources: what it reads.
        predictions: its own.
        splits: that are scored.
        first: whether no other node tells of the same models.
        calibrated: those of its models whose calibration no other node tells.
    """
    reads = sources.reads(spec, "status", "split", "labels")
    options = spec.parsed()
    config = DecisionsConfig(
        model=name, kind=spec.kind, models=spec.between(), splits=splits, half=held_half(predictions), first=first,
        calibrated=calibrated, labels=spec.labels,
        others=_others(reads, spec.between()),
        spares=isinstance(options, PolicyConfig) and options.of == "first" and options.inputs.startswith("cp"),
    )  # fmt: skip
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, config=config, tables=tuple(TABLES),
        fits=predictions.fits, reads=(*reads, Read(predictions, ("label",))), summarise=look_into,
        unseen=unseen_splits(splits, config.half),
    )  # fmt: skip


def _others(reads: Sequence[Read], names: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the stages that the logits of the models but the first need, and those of the first not."""
    nodes = {read.node.column: read.node for read in reads}
    models = [nodes[logits_name(name)] for name in names]
    needed = {node.name for node in ordered(models[:1])}
    return tuple(node.label for node in ordered(models[1:]) if isinstance(node, ShardStage) and node.name not in needed)
