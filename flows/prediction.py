"""Predict other documents with a trained model: the same readers and stages, frozen codebooks and models."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from fuseline.flows.config import Config
from fuseline.flows.config_files import parse_overrides
from fuseline.flows.graph import build_prediction
from fuseline.flows.recorded import recorded_flow
from fuseline.flows.results.output import check_output, written
from fuseline.flows.step import RunOptions, run_nodes
from fuseline.stores.dataset import manifest_in, versions
from fuseline.stores.digests import key_digest
from fuseline.stores.errors import ConfigError, FuselineError, MismatchError, mismatch
from fuseline.stores.manifest import Manifest
from fuseline.stores.places import open_root
from fuseline.stores.redaction import redacted
from fuseline.stores.root import Root
from fuseline.stores.schemas import PREDICTIONS
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.engine.nodes import Fit, Node
from fuseline.tasks.readers import READERS

# Options that hold for the documents of the configuration, not for new ones: where images are, which rows to drop.
OWN = ("root", "unknown_label")
# New documents need no such columns: where the configuration names one that is absent, they have none.
UNASKED = ("labels", "split", "group")


class Predicted(NamedTuple):
    """What predicting other documents made."""

    rows: int
    nodes: list[Node]


def predict_new(
    config: Config,
    model: str,
    source: str,
    output: str,
    *,
    reader: str | None = None,
    options: Sequence[str] = (),
) -> Predicted:
    """Predict the documents of `source` with one trained model into one Parquet file; return what was made.

    Raises:
        ConfigError: no such model, the source cannot be read that way, or the output cannot be written.
        MismatchError: the model was trained on features of another encoder or codebook.
    """
    if model not in config.models:
        raise ConfigError(mismatch("--model", sorted(config.models), model, _nearest(model, list(config.models))))
    check_output(output, source)
    given = given_source(config, source, reader, parse_overrides(options))
    place = redacted(source) if "://" in source else str(Path(source).absolute())
    name = f"{config.name}-new-{key_digest([given.reader, place])[:8]}"
    fit, nodes = build_prediction(config, model, given, name=name)
    check_trained(fit, open_root(config.root))
    images = given.image_root()

    # Prefect records the arguments of a flow; nodes and locations do not belong there.
    @recorded_flow("predict-new", validate_parameters=False)
    def predict_new_documents(config: Config) -> list[dict[str, Any]]:
        return run_nodes(nodes, config, RunOptions(), source=images)

    predict_new_documents(config)
    return Predicted(_gather(nodes[-1], open_root(config.root), output), nodes)


def check_trained(fit: Fit, root: Root) -> None:
    """Raise unless the model was trained on exactly the features that the configuration makes."""
    if (record := fit.fitted(root).record()) is not None:
        for book in fit.fits:
            now, cure = book.fitted(root).record(), "run `fuseline run`, which trains it again"
            if now is None or record.fitted.get(book.name) != now.digest:
                got = None if now is None else now.name
                what = f"{book.name} of model {fit.short}"
                raise MismatchError(mismatch(what, "the version it was trained on", got, cure))
        return
    for trained in (dataset.manifest for dataset in versions(root, fit.name)):
        changed = [n for n in fit.upstream if trained.upstream.get(n.name, n.key) != n.key]
        if changed and trained.config == fit.manifest.config:
            raise MismatchError(_other_features(fit, changed[-1], trained, root))
    raise FuselineError(
        mismatch(fit.label, "a trained model", "none under this configuration", "run `fuseline run` first")
    )


def _other_features(fit: Fit, node: Node, trained: Manifest, root: Root) -> str:
    key = trained.upstream[node.name]
    manifest, old = manifest_in(root, f"{node.name}/{key}"), f"key {key}"
    if manifest is not None:
        old = f"{manifest.config.get('encoder', node.name)} (key {key}, weights {manifest.config.get('weights', '-')})"
    now = node.manifest.config
    new = f"{now.get('encoder', node.name)} (key {node.key}, weights {now.get('weights', '-')})"
    cure = "give the configuration it was trained with, or train again with `fuseline run`"
    return mismatch(f"features {node.name} of model {fit.short}", old, new, cure)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose a model of the configuration"


def given_source(config: Config, path: str, reader: str | None, options: dict[str, Any]) -> SourceConfig:
    """Return new documents as a source: read as the configuration's own, labels and splits aside, if `reader` is its.

    Raises ConfigError for options that the reader does not have.
    """
    same = reader is None or reader == config.source.reader
    inherited = {k: v for k, v in config.source.options.items() if k not in OWN} if same else {}
    chosen = reader or config.source.reader
    if chosen in READERS and "optional" in READERS[chosen].options.model_fields:
        inherited["optional"] = UNASKED
    try:
        return SourceConfig(reader=chosen, path=path, options={**inherited, **options})
    except ValidationError as error:
        known = ", ".join(READERS[chosen].options.model_fields) if chosen in READERS else ", ".join(sorted(READERS))
        first = error.errors(include_url=False)[0]
        raise ConfigError(mismatch("--reader/--option", known, first.get("input"), first["msg"])) from error


def _gather(node: Node, root: Root, output: str) -> int:
    dataset, rows = node.dataset(root), 0
    with written(output) as partial, pq.ParquetWriter(partial, PREDICTIONS, compression="zstd") as writer:
        for _, record in sorted(dataset.records().items()):
            table: pa.Table = dataset.read(record, tuple(PREDICTIONS.names))
            writer.write_table(table.cast(PREDICTIONS))
            rows += table.num_rows
    return rows
