"""Drift of the data from a codebook: new shards compared with those that it was fitted on."""

import numpy as np
import pyarrow as pa

from fuseline.models.columns import CODEWORDS
from fuseline.models.config import FrozenConfig
from fuseline.models.quantizers import Quantizer
from fuseline.models.quantizers.drift import CodewordUsage, Drift, DriftConfig, drift
from fuseline.stores.root import Root
from fuseline.stores.schemas import DRIFT
from fuseline.tasks.engine.nodes import Context, Node, Read, Shards, ShardStage, Summary
from fuseline.tasks.stages.quantize import QuantizeConfig, load_codebook


class MeasureConfig(FrozenConfig):
    """Which codebook is watched, and when it should be fitted again."""

    codebook: str
    quantizer: str
    thresholds: DriftConfig


def measure_drift(shards: Shards, config: MeasureConfig, context: Context) -> dict[str, pa.Table]:
    """Return one DRIFT row per part of a codebook.

    New are the documents of shards that came or changed after the fit; held out are those of the other shards that
    are not in the train split.
    """
    (saved,) = context.checkpoints.values()
    book = load_codebook(config.quantizer, saved)
    shape = book.usage.shape
    new, held_out = CodewordUsage.nothing(*shape), CodewordUsage.nothing(*shape)
    for seen, (counts,) in zip(context.seen, shards(), strict=True):
        everything = _tally(counts, "n", "error", shape)
        if not seen:
            new = new.plus(everything)
            continue
        train = _tally(counts, "n_train", "error_train", shape)
        held_out = held_out.plus(CodewordUsage(everything.usage - train.usage, everything.error - train.error))
    measured = drift(book.usage, book.train_error, new=new, held_out=held_out, config=config.thresholds)
    return {ROLE: _table(measured, book, config, shards=context.seen.count(False), held_out=held_out.rows)}


def refits(nodes: list[Node], root: Root) -> dict[str, str]:
    """Return why codebooks should be fitted again, by the name of their fit: what their drift reports say.

    A report on another version of a codebook than the one in force says nothing.
    """
    warnings: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, Summary) and node.role == ROLE and node.compares is not None:
            dataset, fitted = node.dataset(root), node.compares.fitted(root).record()
            record, name = dataset.record(0), node.compares.name
            if record is None or fitted is None or record.inputs.get(name) != fitted.digest:
                continue
            if dataset.store.has(record.files):
                row = dataset.read(record, ("rows", "why")).slice(0, 1).to_pylist()[0]
                warnings |= {name: f"{row['rows']:,} new rows drifted: {row['why']}"} if row["why"] else {}
    return warnings


def _tally(counts: pa.Table, n: str, error: str, shape: tuple[int, int]) -> CodewordUsage:
    """Return the counts of one shard; every place of the codes has every document once."""
    usage = np.zeros(shape, np.int64)
    tokens = counts["token"].to_numpy()
    usage[tokens // CODEWORDS, tokens % CODEWORDS] = counts[n].to_numpy()
    return CodewordUsage(usage, float(counts[error].to_numpy()[tokens < CODEWORDS].sum()))


def _table(measured: Drift, book: Quantizer, config: MeasureConfig, *, shards: int, held_out: int) -> pa.Table:
    parts, used = book.parts, (book.usage > 0).sum(axis=1)
    compared = held_out if held_out >= config.thresholds.held_out else 0
    fixed = {
        "codebook": config.codebook,
        "shards": shards,
        "rows": measured.rows,
        "error": measured.error if measured.rows else None,
        "known_error": measured.known_error,
        "held_out": compared,
        "error_ratio": measured.error_ratio if measured.rows else None,
        "refit": measured.refit,
        "why": "; ".join(measured.reasons),
    }
    rows = [
        {
            **fixed,
            "repeat": m // parts,
            "part": m % parts,
            "used": used[m],
            "empty": measured.empty[m] if measured.rows else 0,
            "expected_empty": measured.expected[m] if measured.rows else 0.0,
            "hot": measured.hot[m],
            "divergence": measured.divergence[m] if measured.rows else None,
        }
        for m in range(book.tokens)
    ]
    return pa.Table.from_pylist(rows, schema=DRIFT)


ROLE = "drift"


def stage(name: str, spec: QuantizeConfig, counts: ShardStage) -> Summary:
    """Return the node that compares new shards with those that a codebook was fitted on."""
    (book,) = counts.fits
    return Summary(
        role=ROLE, short=name, flow="quantize", main=False, version=1, tables=(ROLE,),
        reads=(Read(counts, ("token", "n", "n_train", "error", "error_train")),), fits=(book,), compares=book,
        config=MeasureConfig(codebook=name, quantizer=spec.quantizer, thresholds=spec.drift), summarise=measure_drift,
    )  # fmt: skip
