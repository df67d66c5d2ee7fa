"""One training of a sweep: fitted, scored, and for the chosen options measured and looked into."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from fuseline.models.columns import Codes, Dense
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block, Classifier, Features, width
from fuseline.models.metrics.scores import outcomes
from fuseline.models.registry import MODELS, new_classifier
from fuseline.models.scoring import count, guesses
from fuseline.plain import number
from fuseline.stores.digests import column_digest
from fuseline.stores.errors import mismatch
from fuseline.stores.root import Root
from fuseline.stores.schemas import RESULTS
from fuseline.tasks.engine.nodes import Context, Fit, FitResult, Node
from fuseline.tasks.engine.shard_features import ShardFeatures
from fuseline.tasks.evaluation.evaluate import metric_table
from fuseline.tasks.evaluation.token_dictionary import TokensConfig, has_tokens
from fuseline.tasks.evaluation.visual_words import visual_words
from fuseline.tasks.experiments.grid import Phase, TrialConfig
from fuseline.tasks.experiments.timing import FitTime, Machine, machine, timed_fits
from fuseline.tasks.stages.quantize import QuantizeConfig
from fuseline.tasks.stages.train import start_from

TRIAL = "trial.json"
SCORES = "results"  # the table of a trial's scores: RESULTS, without the model's name and the trial's options
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


@dataclass(frozen=True)
class Tested:
    """What the trials of a chosen point say beside their scores."""

    multi_label: bool


@dataclass(frozen=True)
class DocumentSizes:
    """What a document takes: mean bytes of its text, numbers of its embeddings, its codes (a byte each)."""

    text_bytes: float
    text_numbers: int
    column_numbers: int
    image_numbers: int
    image_codes: int


@dataclass(frozen=True)
class Measured:
    """What a measured training took, and what its classifier says of itself."""

    times: tuple[FitTime, ...]
    machine: Machine
    model: dict[str, Any]
    sizes: DocumentSizes


@dataclass(frozen=True)
class TrialRecord:
    """The content of `trial.json`: what was trained, and how it ended."""

    options: dict[str, Any]
    seed: int
    phase: Phase
    status: Literal["ok", "diverged"]
    reason: str  # why it diverged, else ""
    facts: Measured | Tested | None = None


@dataclass(frozen=True)
class Outcome:
    """A trial that has been trained; `results` is empty when it diverged and for a measured training."""

    record: TrialRecord
    results: pa.Table  # RESULTS, without the model's name and the trial's options
    seconds: float  # training and scoring
    documents: int  # training documents

    def valid(self, metric: str) -> float | None:
        """Return a score on valid; None when there is none."""
        own = pc.and_(pc.equal(self.results["split"], "valid"), pc.equal(self.results["metric"], metric))
        values: list[float] = self.results.filter(own)["value"].to_pylist()
        return values[0] if values else None


Fresh = Callable[[dict[str, Any]], Classifier]  # an untrained classifier, with these options beside its own


class Written(NamedTuple):
    """What a trial is about to write."""

    facts: Measured | Tested | None
    tables: dict[str, pa.Table]


def fit_trial(train: Features, valid: Features, config: TrialConfig, context: Context) -> FitResult:
    """Train one trial and write what its phase asks for; a training that diverges is a result, told in the checkpoint.

    Test is read in every phase but search. Raises ValueError when valid is empty.
    """
    if not valid.n_rows:
        raise ValueError(mismatch("valid", "documents to choose by", 0, "set `split.valid`"))
    written, reason = Written(None, {}), ""
    try:
        written = PHASES[config.phase](train, valid, config, partial(_fresh, config, context))
    except TrainingError as error:
        reason = str(error)
    status: Literal["ok", "diverged"] = "diverged" if reason else "ok"
    record = TrialRecord(config.options, config.seed, config.phase, status, reason, written.facts)
    data = orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    return lambda folder: _write(folder, data, written.tables), train.n_rows, {"status": status}


def document_table(classifier: Classifier, features: Features) -> pa.Table:
    """Return DOCUMENTS: how each labelled document of a split came out, in order; no id, but a digest of them all."""
    tables, ids = [DOCUMENTS.empty_table()], [pa.array([], pa.string())]
    for part, best, predicted in guesses(classifier, features):
        columns = outcomes(part.block.labels, predicted, best=best)
        tables.append(pa.table([pa.array(column) for column in columns], names=DOCUMENTS.names).cast(DOCUMENTS))
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


def outcome(node: Fit, root: Root) -> Outcome | None:
    """Return what came of a trial; None when it has not been trained."""
    fitted = node.fitted(root)
    record = fitted.record()
    if record is None:
        return None
    saved = fitted.saved(record)
    results = saved.table(f"{SCORES}.parquet")
    return Outcome(
        TypeAdapter(TrialRecord).validate_json(saved.get(TRIAL)),
        RESULTS.empty_table() if results is None else results,
        float(number(record.facts["seconds"])),
        record.n_rows,
    )


def outcome_table(node: Fit, root: Root, name: str) -> pa.Table | None:
    """Return a table that a trial wrote, or None."""
    fitted = node.fitted(root)
    record = fitted.record()
    return None if record is None else fitted.saved(record).table(f"{name}.parquet")


def _fresh(config: TrialConfig, context: Context, more: dict[str, Any]) -> Classifier:
    classifier = new_classifier(config.kind, {**config.options, **config.runtime_options, **more})
    start_from(classifier, config.starts, context)
    return classifier


def _scores(classifier: Classifier, config: TrialConfig, split: str, part: Features, masked: str = "") -> pa.Table:
    """Return the RESULTS rows of one split, with one modality masked if it is named."""
    return metric_table(
        {split: count(classifier, part)}, model=config.kind, seed=config.seed, multi_label=classifier.multi_label,
        condition=f"{masked} masked" if masked else None,
    )  # fmt: skip


def _search(train: Features, valid: Features, config: TrialConfig, fresh: Fresh) -> Written:
    """Score on valid alone."""
    return Written(None, {SCORES: _scores(fresh({}).fit(train, valid, seed=config.seed), config, "valid", valid)})


def _final(train: Features, valid: Features, config: TrialConfig, fresh: Fresh) -> Written:
    """Score on valid and test, and on test with one modality masked; say how each test document came out."""
    stored, test = _stored(train), _test(train)
    classifier = fresh({}).fit(train, valid, seed=config.seed)
    results, tables = [_scores(classifier, config, "valid", valid)], {}
    if test.n_rows:
        results.append(_scores(classifier, config, "test", test))
        tables["documents"] = document_table(classifier, test)
        made_from = modalities(stored.node)
        for modality in MASKED:
            names = frozenset(name for name, source in made_from.items() if source == modality)
            if names:
                results.append(_scores(classifier, config, "test", Masked(test, names), modality))
    return Written(Tested(classifier.multi_label), {SCORES: pa.concat_tables(results), **tables})


def _varied(train: Features, valid: Features, config: TrialConfig, fresh: Fresh) -> Written:
    """Score on test alone, and on valid where there is no test."""
    classifier, test = fresh({}).fit(train, valid, seed=config.seed), _test(train)
    split, part = ("test", test) if test.n_rows else ("valid", valid)
    return Written(None, {SCORES: _scores(classifier, config, split, part)})


def _timing(train: Features, valid: Features, config: TrialConfig, fresh: Fresh) -> Written:
    """Fit again and again with the process to itself; keep the times, the sizes and the words of visual tokens."""
    stored, test = _stored(train), _test(train)
    warm_up = "epochs" in MODELS[config.kind].Config.model_fields
    times, classifier = timed_fits(fresh, train, seed=config.seed, warm_up=warm_up)
    model = {key: value for key, value in classifier.describe().items() if not key.endswith("seconds")}
    sizes = _sizes(classifier, test if test.n_rows else valid, modalities(stored.node))
    tables = {"tokens": _token_table(classifier, stored, config.kind)} if has_tokens(config.kind) else {}
    return Written(Measured(tuple(times), machine(), model, sizes), tables)


def _token_table(classifier: Any, train: ShardFeatures, kind: str) -> pa.Table:
    (book,) = (read.node.config for read in train.node.reads if isinstance(read.node.config, QuantizeConfig))
    parts, repeated = book.token_names()
    return visual_words(classifier, train, model=kind, parts=parts, repeated=repeated, options=TokensConfig())


def _sizes(classifier: Classifier, features: Features, made_from: dict[str, str]) -> DocumentSizes:
    letters = documents = 0
    for block in features.blocks():
        letters += pc.sum(pc.binary_length(block.text)).as_py() or 0
        documents += len(block)
    dense = Counter[str]()
    for name, size in classifier.sizes.items():
        if size.kind == Dense.kind:
            dense[made_from.get(name, "")] += size.width
    return DocumentSizes(
        text_bytes=letters / max(1, documents),
        text_numbers=dense["text"],
        column_numbers=dense["tabular"],
        image_numbers=dense["image"],
        image_codes=width(classifier.sizes, Codes),
    )


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


PHASES: dict[str, Callable[[Features, Features, TrialConfig, Fresh], Written]] = {
    "search": _search, "final": _final, "varied": _varied, "timing": _timing,
}  # fmt: skip
