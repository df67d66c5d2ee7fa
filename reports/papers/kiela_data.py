"""What the report of a sweep is made from: plain tables."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.report_schemas import MEASURES
from fuseline.stores.results import summary
from fuseline.stores.schemas import RESULTS, TOKENS, TRIALS

METRICS = ("accuracy", "p_at_1", "f1_micro", "f1_macro", "f1_weighted", "f1_samples")

DATA = pa.schema(
    [
        ("split", pa.string()),
        ("documents", pa.int64()),
        ("words", pa.int64()),
        ("published_documents", pa.int64()),  # null when nothing is published
        ("published_words", pa.int64()),
    ]
)

SCORES = pa.schema(
    [
        ("model", pa.string()),
        ("kind", pa.string()),
        ("gate", pa.string()),  # that was chosen on valid
        ("options", pa.string()),  # JSON of the point that was chosen on valid; null while none is
        ("valid", pa.float64()),  # the metric of the choice, mean over the seeds
        *((name, pa.float64()) for name in METRICS),  # on test, mean over the seeds
        *((f"{name}_std", pa.float64()) for name in METRICS),  # with n - 1 below
        ("seeds", pa.int64()),
        ("n", pa.int64()),  # test documents
        ("published_as", pa.string()),
        ("published", pa.float64()),  # 0..1
        ("published_std", pa.float64()),
        ("gap", pa.float64()),  # our P@1 less the published accuracy
        ("gap_f1_micro", pa.float64()),  # our micro-F1 less it; null for single-label
        ("extra_correct", pa.int64()),  # documents more than `text` whose best label is right (K-36)
    ]
)

PAIRED = pa.schema(
    [
        ("metric", pa.string()),
        ("model", pa.string()),
        ("other", pa.string()),
        ("difference", pa.float64()),  # model less other on the same test documents, mean over the seeds
        ("low", pa.float64()),  # 95 % interval over documents
        ("high", pa.float64()),
        ("p", pa.float64()),  # two-sided, of no difference
        ("n", pa.int64()),
    ]
)

TIMES = pa.schema(
    [
        ("model", pa.string()),
        ("seconds", pa.float64()),  # median of the fits
        ("fastest", pa.float64()),
        ("slowest", pa.float64()),
        ("processor_seconds", pa.float64()),  # median
        ("fits", pa.int64()),
        ("ratio", pa.float64()),  # to `text`
        ("published_minutes", pa.float64()),
        ("published_ratio", pa.float64()),
        ("processor", pa.string()),
        ("cores", pa.int64()),
        ("load", pa.float64()),  # of the machine when it was measured, in running processes
    ]
)

SIZES = pa.schema(
    [
        ("model", pa.string()),
        ("parameters", pa.int64()),
        ("bytes", pa.int64()),  # of the model
        ("multiply_adds", pa.int64()),  # per document
        ("text_bytes", pa.float64()),  # of a document's text, UTF-8, mean; of its text embedding
        ("image_bytes", pa.float64()),  # of its image as this model reads it
        ("image_bytes_float16", pa.float64()),  # of its embedding at half precision; null for codes
        ("column_bytes", pa.float64()),  # of its table columns
        ("document_bytes", pa.float64()),  # all of it
    ]
)

HIDDEN = pa.schema(
    [
        ("model", pa.string()),
        ("metric", pa.string()),
        ("test", pa.float64()),
        ("without_image", pa.float64()),  # null for a model that reads no image
        ("without_image_std", pa.float64()),
        ("without_text", pa.float64()),
        ("without_text_std", pa.float64()),
        ("seeds", pa.int64()),
    ]
)


VARIED = pa.schema(
    [
        ("model", pa.string()),
        ("kind", pa.string()),
        ("option", pa.string()),  # that was changed in the chosen options
        ("value", pa.string()),  # it was changed to, JSON
        ("p_at_1", pa.float64()),  # on test with the change, mean over the seeds
        ("p_at_1_std", pa.float64()),
        ("chosen", pa.float64()),  # with the options that were chosen
        ("chosen_std", pa.float64()),
        ("seeds", pa.int64()),  # with the change
    ]
)


def scores_schema(metric: str) -> pa.Schema:
    """Return SCORES, with columns for the metric of the choice where they are not among them."""
    more = () if metric in METRICS else (pa.field(metric, pa.float64()), pa.field(f"{metric}_std", pa.float64()))
    return pa.schema([*SCORES, *more])


def chosen_means(results: pa.Table, chosen: dict[str, str | None]) -> pa.Table:
    """Return the SUMMARY rows over the seeds of the options that were chosen for every model, from RESULTS."""
    rows = [
        results.filter(pc.and_(pc.equal(results["model"], name), pc.equal(results["options"], options)))
        for name, options in chosen.items()
        if options is not None
    ]
    return summary(pa.concat_tables([RESULTS.empty_table(), *rows]))


@dataclass(frozen=True)
class MachineData:
    """What is printed of the machine that times were measured on."""

    processor: str
    cores: int
    system: str


@dataclass(frozen=True)
class GateScore:
    """The best trial of a model with one gate: text or image, whichever passes through the sigmoid."""

    model: str
    gate: str
    value: float | None  # on valid; None until one is there
    options: str | None  # as in RESULTS
    chosen: bool  # the best of all gates


@dataclass(frozen=True)
class StudyFacts:
    """What a sweep's tables do not say. Times are given, never taken: rendering the same data gives the same bytes."""

    title: str
    created: str  # when, as it shall be printed
    metric: str  # that the choice was made by
    multi_label: bool
    published: str | None  # name of the published data set
    complete: bool
    line: str  # what is there and what is missing
    gates: tuple[GateScore, ...] = ()
    machine: MachineData | None = None  # that the times were measured on


@dataclass(frozen=True)
class PaperData(StudyFacts):
    """The content of one report."""

    data: pa.Table = field(default_factory=DATA.empty_table)
    scores: pa.Table = field(default_factory=SCORES.empty_table)
    paired: pa.Table = field(default_factory=PAIRED.empty_table)
    times: pa.Table = field(default_factory=TIMES.empty_table)
    sizes: pa.Table = field(default_factory=SIZES.empty_table)
    hidden: pa.Table = field(default_factory=HIDDEN.empty_table)
    varied: pa.Table = field(default_factory=VARIED.empty_table)
    tokens: pa.Table = field(default_factory=TOKENS.empty_table)
    results: pa.Table = field(default_factory=RESULTS.empty_table)  # of every trial
    trials: pa.Table = field(default_factory=TRIALS.empty_table)
    measures: pa.Table = field(default_factory=MEASURES.empty_table)
