"""One training of a sweep: fitted, scored, and for the chosen options measured and looked into."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fuseline.models.columns import Codes, Dense
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block, Classifier, Features, width
from fuseline.models.metrics.registry import scores
from fuseline.models.metrics.scores import outcomes
from fuseline.models.registry import MODELS, new_classifier
from fuseline.models.scoring import count, guesses
from fuseline.stores.digests import column_digest
from fuseline.stores.errors import mismatch
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Context, Fit, FitResult, Node
from fuseline.tasks.engine.shard_features import ShardFeatures
from fuseline.tasks.evaluation.token_dictionary import TokensConfig, has_tokens
from fuseline.tasks.evaluation.visual_words import visual_words
from fuseline.tasks.experiments.grid import TrialConfig
from fuseline.tasks.experiments.timing import machine, timed_fits
from fuseline.tasks.stages.quantize import QuantizeConfig

TRIAL = "trial.json"
TESTED = b"documents"  # in the metadata of DOCUMENTS: the digest of all ids, by which two trials tell that they agree
MASKED = ("image", "text")  # what is masked for the chosen classifiers, one at a time

# A document of the test split is a row and nothing else: what is forgotten elsewhere must not live on in scores.
DOCUMENTS = pa.schema(
    [
        ("first", pa.bool_()),  # the best label is one of its own
        ("true", pa.int32()),  # own labels
        ("predicted", pa.int32()),  # predicted labels
        ("hit", pa.int32()),  # labels that are both
    ]
)


class Found(NamedTuple):
    """What a trial is about to write."""

    metrics: dict[str, dict[str, float]]  # split -> metric -> value
    facts: dict[str, Any]
    tables: dict[str, pa.Table]


def fit_trial(train: Features, valid: Features, config: TrialConfig, context: Context) -> FitResult:
    """Train one trial and write what its phase asks for; a training that diverges is a result, told in the checkpoint.

    Test is read in scopes final and alone only. Raises ValueError when valid is empty.
    """
    if not valid.n_rows:
        raise ValueError(mismatch("valid", "documents to choose by", 0, "set `split.valid`"))
    found, reason = Found({}, {}, {}), ""
    try:
        found = PHASES[config.phase](train, valid, config)
    except TrainingError as error:
        reason = str(error)
    status = "diverged" if reason else "ok"
    told = {"options": config.options, "seed": config.seed, "phase": config.phase, "status": status, "reason": reason}
    facts = {"facts": found.facts} if found.facts else {}
    data = orjson.dumps(
        {**told, "metrics": found.metrics, **facts},
        option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY,
    )
    return lambda folder: _write(folder, data, found.tables), train.n_rows, {"status": status}


def document_table(classifier: Classifier, features: Features) -> pa.Table:
    """Return DOCUMENTS: how each labelled document of a split came out, in order; no id, but a digest of them all."""
    tables, ids = [DOCUMENTS.empty_table()], [pa.array([], pa.string())]
    for part, best, predicted in guesses(classifier, features):
        found = outcomes(part.block.labels, predicted, best=best)
        tables.append(pa.table([pa.array(column) for column in found], names=DOCUMENTS.names).cast(DOCUMENTS))
        ids.append(part.block.ids)
    return pa.concat_tables(tables).replace_schema_metadata({TESTED: column_digest(pa.chunked_array(ids))})


@dataclass
class Masked:
    """Features in which one modality is missing everywhere."""

    features: Features
    names: frozenset[str]  # of the columns that are made from it

    def __post_init__(self) -> None:
        self.n_rows = self.features.n_rows

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks without the modality."""
        for block in self.features.blocks():
            yield block.masked(self.names)


def modalities(node: Node) -> dict[str, str]:
    """Return which modality every column is made from that a node reads: text, image or tabular.

    An embedding of the words in an image is made from the image; words that `ocr` adds to a text count as text.
    """
    nodes = (read.node for read in node.reads if not read.into)
    return {node.column: node.feature.modality for node in nodes if node.feature is not None}


def outcome(node: Fit, root: Root) -> dict[str, Any] | None:
    """Return what a trial found, with seconds and training documents; None when it has not been trained."""
    fitted = node.fitted(root)
    record = fitted.record()
    if record is None:
        return None
    found: dict[str, Any] = orjson.loads(fitted.saved(record).get(TRIAL))
    return {"facts": {}, **found, "seconds": record.facts["seconds"], "documents": record.n_rows}


def outcome_table(node: Fit, root: Root, name: str) -> pa.Table | None:
    """Return a table that a trial wrote, or None."""
    fitted = node.fitted(root)
    record = fitted.record()
    return None if record is None else fitted.saved(record).table(f"{name}.parquet")


def _fresh(config: TrialConfig, more: dict[str, Any]) -> Classifier:
    return new_classifier(config.kind, {**config.options, **config.runtime_options, **more})


def _fitted(train: Features, valid: Features, config: TrialConfig) -> Classifier:
    return _fresh(config, {}).fit(train, valid, seed=config.seed)


def _metrics(classifier: Classifier, features: Features) -> dict[str, float]:
    found = scores(count(classifier, features), multi_label=classifier.multi_label)
    return {**{name: value for name, (value, _) in found.items()}, "n": found["accuracy"][1]}


def _search(train: Features, valid: Features, config: TrialConfig) -> Found:
    """Score on valid alone."""
    return Found({"valid": _metrics(_fitted(train, valid, config), valid)}, {}, {})


def _final(train: Features, valid: Features, config: TrialConfig) -> Found:
    """Score on valid and test, and on test with one modality hidden; tell how each test document came out."""
    stored, test = _stored(train), _test(train)
    classifier = _fitted(train, valid, config)
    found = {"valid": _metrics(classifier, valid)}
    facts, tables = {"multi_label": classifier.multi_label}, {}
    if test.n_rows:
        found["test"] = _metrics(classifier, test)
        tables["documents"] = document_table(classifier, test)
        made_from = modalities(stored.node)
        for modality in MASKED:
            names = frozenset(name for name, source in made_from.items() if source == modality)
            if names:
                found[f"test without {modality}"] = _metrics(classifier, Masked(test, names))
    return Found(found, facts, tables)


def _timing(train: Features, valid: Features, config: TrialConfig) -> Found:
    """Fit again and again with the process to itself; tell the times, the sizes and the words of visual tokens."""
    stored, test = _stored(train), _test(train)
    warm_up = "epochs" in MODELS[config.kind].Config.model_fields
    times, classifier = timed_fits(lambda more: _fresh(config, more), train, seed=config.seed, warm_up=warm_up)
    told = {key: value for key, value in classifier.describe().items() if not key.endswith("seconds")}
    sizes = _sizes(classifier, test if test.n_rows else valid, modalities(stored.node))
    found = {"times": times, "machine": machine(), "model": told, "sizes": sizes}
    tables = {"tokens": _token_table(classifier, stored, config.kind)} if has_tokens(config.kind) else {}
    return Found({}, found, tables)


def _token_table(classifier: Any, train: ShardFeatures, kind: str) -> pa.Table:
    (book,) = (read.node.config for read in train.node.reads if isinstance(read.node.config, QuantizeConfig))
    parts, repeated = book.token_names()
    return visual_words(classifier, train, model=kind, parts=parts, repeated=repeated, options=TokensConfig())


def _sizes(classifier: Classifier, features: Features, made_from: dict[str, str]) -> dict[str, Any]:
    """Return what a document takes: mean bytes of its text, numbers of its embeddings, its codes."""
    letters = documents = 0
    for block in features.blocks():
        letters += pc.sum(pc.binary_length(block.text)).as_py() or 0
        documents += len(block)
    dense = Counter[str]()
    for name, size in classifier.sizes.items():
        if size.kind == Dense.kind:
            dense[made_from.get(name, "")] += size.width
    return {
        "text_bytes": letters / max(1, documents),
        "text_numbers": dense["text"],
        "column_numbers": dense["tabular"],
        "image_numbers": dense["image"],
        "image_codes": width(classifier.sizes, Codes),
    }


def _stored(train: Features) -> ShardFeatures:
    if not isinstance(train, ShardFeatures):
        raise TypeError(mismatch("train", ShardFeatures.__name__, type(train).__name__, "only it knows the test split"))
    return train


def _test(train: Features) -> ShardFeatures:
    return replace(_stored(train), split="test")


def _write(folder: Path, data: bytes, tables: dict[str, pa.Table]) -> None:
    (folder / TRIAL).write_bytes(data)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")


PHASES: dict[str, Callable[[Features, Features, TrialConfig], Found]] = {
    "search": _search, "final": _final, "timing": _timing,
}  # fmt: skip
