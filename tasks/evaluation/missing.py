"""What a classifier loses with an input missing: in every document, or at random in a share of them (paper M, 5.3).

Whether a document lacks an input is decided by its id and a seed, never by its shard; who lacks it at one share lacks
it at every larger one. A document is scored twice, whole and masked: every share is made of these two answers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig, added
from fuseline.models.features import inputs_of
from fuseline.models.metrics.registry import Documents, counted
from fuseline.models.metrics.scores import Tally
from fuseline.models.scoring import judged
from fuseline.stores.conditions import Masking
from fuseline.stores.schemas import RESULTS
from fuseline.stores.score_schemas import MASKED_CLASSES
from fuseline.tasks.engine.nodes import Context, Fit, Read, Shards, Summary
from fuseline.tasks.engine.shard_features import block_of
from fuseline.tasks.evaluation.evaluate import class_table, held_half, metric_table, of_half, scored_rows, unseen_splits
from fuseline.tasks.label_parts import LabelsConfig, of_labels
from fuseline.tasks.splits import hashed
from fuseline.tasks.stages.predict import load_classifier
from fuseline.tasks.stages.train import MULTI_LABEL, ModelConfig, Readable

ROLE = "missing"
TABLES = ("metrics", "masked_classes")
Share = Annotated[float, Field(gt=0, lt=1)]


class MissingConfig(FrozenConfig):
    """Evaluations of every model with one of its inputs masked."""

    splits: tuple[str, ...] = Field(("test",), min_length=1, description="Splits that are scored so")
    shares: tuple[Share, ...] = Field(
        tuple(tenth / 10 for tenth in range(1, 10)), description="Shares of documents that lack the input at random"
    )
    seed: int = Field(0, description="Seed of which documents those are")


class MaskedConfig(FrozenConfig):
    """One model's evaluations with its inputs masked."""

    model: str
    kind: str
    seed: int  # that it was fitted with
    missing: MissingConfig
    half: str | None = added(None)  # of its split that alone is scored
    labels: LabelsConfig | None = added(None)  # that it learns: documents of others alone are not scored


def maskings(reads: Sequence[Read], wanted: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return name -> columns for each input that is masked, and for each modality of which there are several.

    reads: what a model reads; wanted: the columns that it declares. An input is called by its dataset's short name,
    such as "image", in full where two share that; the columns of a modality together are "every image input".
    """
    nodes = {read.node.column: read.node for read in reads if read.node.column in wanted and not read.into}
    shorts = Counter(node.short for node in nodes.values())
    masked = {node.short if shorts[node.short] == 1 else name: frozenset({name}) for name, node in nodes.items()}
    modalities: dict[str, set[str]] = {}
    for name, node in nodes.items():
        modalities.setdefault(node.feature.modality if node.feature else "", set()).add(name)
    several = {
        f"every {modality} input": frozenset(names)
        for modality, names in modalities.items()
        if modality and 1 < len(names) < len(nodes)
    }
    return dict(sorted(masked.items())) | dict(sorted(several.items()))


def lacking(ids: pa.Array, share: float, *, seed: int) -> NDArray[np.bool_]:
    """Return which documents (n,) lack an input when about `share` of all do.

    The keys differ from those of splits, which the same seed would tie to the answer.
    """
    keys = pa.array([f"missing {name}" for name in ids.to_pylist()], pa.string())
    return np.asarray(hashed(keys, seed=seed) / 2.0**64 < share)


def mixed(whole: Documents, masked: Documents, lacks: NDArray[np.bool_]) -> Documents:
    """Return the answers to documents (n,) of which some lack an input."""
    places = pa.array(np.arange(len(lacks)) + len(lacks) * lacks)
    return Documents(*(pa.concat_arrays([a, b]).take(places) for a, b in zip(whole, masked, strict=True)))


def count_masked(shards: Shards, config: MaskedConfig, context: Context) -> dict[Masking, dict[str, Tally]]:
    """Return the tallies of every masking by split; documents that `evaluate` leaves out are left out."""
    (saved,) = context.checkpoints.values()
    classifier, missing = load_classifier(config.kind, saved), config.missing
    named = maskings(context.reads, [one.name for one in inputs_of(type(classifier), classifier.config)])
    parts = [Masking(name, share) for name in named for share in (*missing.shares, 1.0)]
    totals = {part: {split: Tally() for split in missing.splits} for part in parts}
    for tables in of_labels(of_half(shards, config.half, place=0), config.labels, place=0)():
        for split, rows in scored_rows(tables[0], missing.splits):
            block = block_of(context.reads, [table.filter(rows) for table in tables])
            if not len(block):
                continue
            whole = judged(classifier, block)
            masked = {name: judged(classifier, block.masked(columns)) for name, columns in named.items()}
            for part in parts:
                lacks = lacking(block.ids, part.share, seed=missing.seed)
                totals[part][split] += counted(mixed(whole, masked[part.name], lacks))
    return totals


def score_masked(shards: Shards, config: MaskedConfig, context: Context) -> dict[str, pa.Table]:
    """Return metrics of every masking, and class scores of those that mask an input in every document."""
    (facts,) = context.facts.values()
    totals = count_masked(shards, config, context)
    return {
        "metrics": pa.concat_tables(
            [RESULTS.empty_table(), *_metrics(totals, config, multi_label=bool(facts[MULTI_LABEL]))]
        ),
        "masked_classes": pa.concat_tables([MASKED_CLASSES.empty_table(), *_classes(totals, config)]),
    }


def _metrics(
    totals: Mapping[Masking, dict[str, Tally]], config: MaskedConfig, *, multi_label: bool
) -> Iterator[pa.Table]:
    for part, tallies in totals.items():
        yield metric_table(tallies, model=config.model, seed=config.seed, multi_label=multi_label, condition=str(part))


def _classes(totals: Mapping[Masking, dict[str, Tally]], config: MaskedConfig) -> Iterator[pa.Table]:
    for part, tallies in totals.items():
        if part.share == 1:
            table = class_table(tallies, model=config.model)
            condition = pa.array([str(part)] * len(table), pa.string())
            yield table.append_column("condition", condition).select(MASKED_CLASSES.names).cast(MASKED_CLASSES)


def stage(name: str, spec: ModelConfig, sources: Readable, fit: Fit, missing: MissingConfig) -> Summary:
    """Return the node of a model's scores with its inputs masked."""
    config = MaskedConfig(
        model=name, kind=spec.kind, seed=spec.seed, missing=missing, half=held_half(fit), labels=spec.labels
    )
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, config=config, tables=TABLES, fits=(fit,),
        reads=sources.reads(spec, "status", "split", "labels"), summarise=score_masked,
        unseen=unseen_splits(missing.splits, config.half),
    )  # fmt: skip
