"""What a report is made from: plain tables, nothing that has to be computed from documents again."""

from dataclasses import dataclass, field

import pyarrow as pa

from fuseline.stores.schemas import DRIFT, MODELS, QUARANTINE, RESULTS, STATISTICS, TOKENS

STAGES = pa.schema(
    [
        ("stage", pa.string()),
        ("fresh", pa.int64()),  # shards that had nothing to do
        ("computed_shards", pa.int64()),
        ("rows_computed", pa.int64()),
        ("rows_reused", pa.int64()),
        ("seconds", pa.float64()),
        # kind of work (read, decode, prepare, compute, write, wait) -> share of the stage's work, 0..1
        ("shares", pa.map_(pa.string(), pa.float64())),
    ]
)

PUBLISHED = pa.schema([("measure", pa.string()), ("published", pa.int64()), ("found", pa.int64())])

# What stages that look at every document by itself made, in documents.
PRESENCE = pa.schema([("stage", pa.string()), *((name, pa.int64()) for name in ("present", "missing", "failed"))])


@dataclass(frozen=True)
class ReportData:
    """The content of one report.

    Tables may hold rows of several models and splits; the report chooses. An empty or absent table leaves its section
    out. Times are given, never taken: rendering the same data gives the same bytes.
    """

    title: str
    run: str  # name of the run
    created: str  # when, as it shall be printed
    metrics: pa.Table = field(default_factory=RESULTS.empty_table)
    statistics: pa.Table = field(default_factory=STATISTICS.empty_table)
    # measure (documents, labels or a split), published, found; empty when the source has no published counts
    presence: pa.Table = field(default_factory=PRESENCE.empty_table)
    published: pa.Table = field(default_factory=PUBLISHED.empty_table)
    # model, split, label, precision, recall, f1, support, predicted
    classes: pa.Table | None = None
    # model, split, label, predicted (null = none), n
    confusion: pa.Table | None = None
    # kind (right, wrong, confident_error), model, split, id, labels, top_k, importance, text, thumbnail (WebP bytes)
    gallery: pa.Table | None = None
    # id, status, picture (WebP bytes), words, found (list of detector, n)
    contact_sheet: pa.Table | None = None
    detectors: dict[str, str] = field(default_factory=dict)  # name -> CSS colour of its boxes
    # model, split, modality, share (0..1), n
    importance: pa.Table | None = None
    models: pa.Table = field(default_factory=MODELS.empty_table)
    drift: pa.Table = field(default_factory=DRIFT.empty_table)
    tokens: pa.Table = field(default_factory=TOKENS.empty_table)
    stages: pa.Table = field(default_factory=STAGES.empty_table)
    quarantine: pa.Table = field(default_factory=QUARANTINE.empty_table)
    lineage: dict[str, str] = field(default_factory=dict)  # dataset or model -> key
    versions: dict[str, str] = field(default_factory=dict)  # package -> version
    config_yaml: str = ""
    baseline: str = "text"  # the model that the delta column compares with
    multi_label: bool = False
    notes: tuple[str, ...] = ()  # sentences for the top of the page, such as "fitted on 90 of 100 training documents"
