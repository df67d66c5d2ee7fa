"""The tables that are published: the one list behind latest/, the catalog with its comments, and the report."""

from typing import Literal, NamedTuple

import pyarrow as pa

from fuseline.stores.decision_schemas import CALIBRATION, CALL_RATES, DECISIONS, QUADRANTS
from fuseline.stores.importance_schemas import CLASS_IMPORTANCE, ELEMENT_IMPORTANCE, IMPORTANCES, MATRICES
from fuseline.stores.report_schemas import (
    CLASSES,
    CONFUSION,
    CONTACT_SHEET,
    GALLERY,
    IMPORTANCE,
    INSTANCES,
    LEAKS,
    MEASURES,
    PRESENCE,
    QUADRANT_GALLERY,
    RELEASE,
    STAGES,
)
from fuseline.stores.schemas import (
    CLEAN,
    DETECTIONS,
    DRIFT,
    FINDINGS,
    INGESTED,
    MODELS,
    PREDICTIONS,
    QUARANTINE,
    RESULTS,
    SEARCHES,
    STATISTICS,
    TOKENS,
    TRIALS,
    WORDS,
    codes,
    column,
    embedding,
    indices,
)
from fuseline.stores.score_schemas import (
    CLASS_MAPS,
    CLASS_NEIGHBOURS,
    CLASS_SIMILARITY,
    COMPARISONS,
    GROUPS,
    MAPS,
    MASKED_CLASSES,
    RECONSTRUCTIONS,
)
from fuseline.stores.value_schemas import ERRORS, ESTIMATES

Form = Literal["table", "report", "shards", "runs", "versions", "sweep", "query"]


class PublishedTable(NamedTuple):
    """One table: its columns, of which each says what it holds, and what a row is.

    A source's own columns (num_*, cat_*) may follow in documents and results. Forms:

    - table: a file of latest/ and a table of the catalog;
    - report: only the report shows it;
    - shards: a view of the catalog over all shards of the datasets of some roles, and with `columns` a file of latest/;
    - runs: a table of the catalog over the same table of every run that published;
    - versions: a view over every version of the datasets of some roles;
    - sweep: a table of the catalog over `file`, which is there after a sweep;
    - query: SQL over the other tables.

    Rows of `table` and `report` are those that nodes of a role wrote under this name; those of no role are made of
    records when a run publishes.
    """

    schema: pa.Schema
    summary: str
    form: Form = "table"
    roles: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    query: str = ""
    file: str = ""

    @property
    def named(self) -> bool:
        """Whether a column names the dataset that a row is of."""
        return "dataset" in self.schema.names


def _merged(*schemas: pa.Schema) -> pa.Schema:
    """Return the columns of all schemas; of several with one name the first."""
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        fields |= {field.name: field for field in schema if field.name not in fields}
    return pa.schema(fields.values())


def _lists(schema: pa.Schema) -> pa.Schema:
    """Return the schema with lists of any length in place of fixed ones, as datasets of several sizes meet."""
    return pa.schema(
        field.with_type(pa.list_(field.type.value_type)) if pa.types.is_fixed_size_list(field.type) else field
        for field in schema
    )


_DATASET = column("dataset", pa.string(), "folder of the dataset below the root, such as detect/ocr")
_OWN_STATUS = column("document_status", pa.string(), "ok, or why the document's row cannot be used, such as bad_row")
_CORRECT = column("correct", pa.bool_(), "whether `label` is one of `labels`; null for a document without labels")
_KEY = column("key", pa.string(), "dataset key of the predictions: another for every change of settings or features")
_LAST_RUN = column("run", pa.string(), "the last run that had this version; null when no run is recorded")
_LATEST = column("latest", pa.bool_(), "whether they are the predictions of the last complete run")

_FEATURE = column("dataset", pa.string(), "such as quantize/pq; embed/image only if report.vectors names image")
FEATURES = pa.schema(
    [*_lists(_merged(embedding(1, pa.float32()), codes(1), indices(1, 1))), _FEATURE]
)  # fmt: skip

_JOINED = """
SELECT d.* EXCLUDE (status), d.status AS document_status, p.* EXCLUDE (id),
    CASE WHEN len(d.labels) > 0 THEN coalesce(list_contains(d.labels, p.label), false) END AS correct
FROM documents AS d LEFT JOIN predictions AS p USING (id)
"""

_ELEMENTS = """
SELECT * EXCLUDE (parts, part), part.* FROM (SELECT * EXCLUDE (parts), parts, unnest(parts) AS part FROM importances)
"""

_DOCUMENT_COLUMNS = ("id", "source_file", "source_row", "status", "split", "fold", "labels", "title")

TABLES: dict[str, PublishedTable] = {
    "documents": PublishedTable(
        INGESTED, "one row per document, as read from the source", "shards", ("documents",), _DOCUMENT_COLUMNS
    ),
    "clean": PublishedTable(CLEAN, "one row per document: its text without markup", "shards", ("clean",)),
    "features": PublishedTable(
        FEATURES, "one row per document and feature dataset: embeddings, visual tokens, indices", "shards",
        ("embed", "quantize", "vectors"),
    ),
    "detections": PublishedTable(
        pa.schema([*DETECTIONS, _DATASET]), "one row per document and detector: what was found in its image", "shards",
        ("detect",),
    ),
    "predictions": PublishedTable(
        PREDICTIONS, "one row per document and model, of the last complete run", "shards", ("predictions",),
        tuple(PREDICTIONS.names),
    ),
    "estimates": PublishedTable(
        ESTIMATES, "one row per document and regression: its number and what is estimated", "shards", ("estimates",),
        tuple(ESTIMATES.names),
    ),
    "value_errors": PublishedTable(
        ERRORS, "one row per regression, split and scale: how far its estimates lie from the truth",
        roles=("value_errors",),
    ),
    "predictions_history": PublishedTable(
        pa.schema([*PREDICTIONS, _KEY, _LAST_RUN, _LATEST]), "predictions of every version of a model that gc has left",
        "versions", ("predictions",),
    ),
    "results": PublishedTable(
        pa.schema(
            [
                *INGESTED.remove(INGESTED.get_field_index("status")),
                _OWN_STATUS,
                *PREDICTIONS.remove(PREDICTIONS.get_field_index("id")),
                _CORRECT,
            ]
        ),
        "one row per document and model: the document, its labels and what the model said", "query", query=_JOINED,
    ),
    "importances": PublishedTable(
        IMPORTANCES, "one row per document and model: what inputs and elements had, where `evaluation.importance` asks",
        "shards", ("importances",), tuple(IMPORTANCES.names),
    ),
    "element_importance": PublishedTable(
        ELEMENT_IMPORTANCE, "one row per document, model, method, input and element: importances, told apart", "query",
        query=_ELEMENTS,
    ),
    "class_importance": PublishedTable(
        CLASS_IMPORTANCE, "mean share of each input in predictions by label, where `evaluation.importance` asks",
        roles=("class_importance",),
    ),
    "metrics": PublishedTable(
        RESULTS, "one row per model, split and metric, of the last complete run", roles=("evaluation", "missing")
    ),
    "masked_classes": PublishedTable(
        MASKED_CLASSES, "one row per model, split, masked input and class, where `evaluation.missing` asks for them",
        roles=("missing",),
    ),
    "groups": PublishedTable(
        GROUPS, "one row per model, split, group of documents and metric, where `evaluation.by` names columns",
        roles=("groups",),
    ),
    "comparisons": PublishedTable(
        COMPARISONS, "one row per two models, split and metric, and one per model: where `evaluation.compare` is set",
        roles=("comparisons",),
    ),
    "maps": PublishedTable(
        MAPS, "one row per document on a map of vectors, where `report.maps` names some", roles=("maps",)
    ),
    "class_maps": PublishedTable(
        CLASS_MAPS, "one row per document on a map of its class, where `report.maps.inside` names some", roles=("maps",)
    ),
    "class_neighbours": PublishedTable(
        CLASS_NEIGHBOURS, "one row per class and class near to it in mapped vectors", roles=("maps",)
    ),
    "class_similarity": PublishedTable(
        CLASS_SIMILARITY, "one row per two of the most frequent classes: how alike they are in mapped vectors",
        roles=("maps",),
    ),
    "decisions": PublishedTable(
        DECISIONS, "one row per decision between models and split: beside each model and their oracle",
        roles=("decisions",),
    ),
    "quadrants": PublishedTable(
        QUADRANTS, "documents on which exactly which models are right, of all and of each label", roles=("decisions",)
    ),
    "call_rates": PublishedTable(
        CALL_RATES, "accuracy by the share of documents on which a second model is asked", roles=("decisions",)
    ),
    "calibration": PublishedTable(
        CALIBRATION, "calibration error of models before and after a temperature", roles=("decisions",)
    ),
    "reconstructions": PublishedTable(
        RECONSTRUCTIONS, "one row per stage of learnt codes, split and input: how well it is decoded of them",
        roles=("reconstructions",),
    ),
    "metrics_history": PublishedTable(RESULTS, "metrics of every run that published", "runs"),
    "sweep_metrics": PublishedTable(
        RESULTS, "metrics of the trials of the last sweep", "sweep", file="sweep/metrics.parquet"
    ),
    "sweep_trials": PublishedTable(
        TRIALS, "one row per trial of the last sweep: how it ended, what it took", "sweep", file="sweep/trials.parquet"
    ),
    "models": PublishedTable(MODELS, "one row per model: size, and what fitting it took"),
    "searches": PublishedTable(
        SEARCHES, "one row per trial of a model that chose its options on valid documents, in the order of the trials"
    ),
    "quarantine": PublishedTable(
        QUARANTINE, "one row per document or source row that failed somewhere, with the reason"
    ),
    "findings": PublishedTable(FINDINGS, "one row per file without a row, or row whose partner files do not match it"),
    "statistics": PublishedTable(
        STATISTICS, "counts of documents and their fields by split and folder", roles=("statistics",)
    ),
    "drift": PublishedTable(
        DRIFT, "one row per part of a codebook: new documents beside those it was fitted on", roles=("drift",)
    ),
    "tokens": PublishedTable(TOKENS, "one row per visual token of a model: what it means", roles=("tokens",)),
    "words": PublishedTable(
        WORDS, "one row per word of a model: the visual tokens nearest to it", roles=("tokens",)
    ),
    "classes": PublishedTable(CLASSES, "scores of every class by model and split", "report", ("evaluation",)),
    "confusion": PublishedTable(CONFUSION, "how often a label was taken for which", "report", ("evaluation",)),
    "importance": PublishedTable(IMPORTANCE, "mean share of modalities in decisions", "report", ("evaluation",)),
    "gallery": PublishedTable(GALLERY, "examples that are right and wrong", "report", ("gallery",)),
    "quadrant_gallery": PublishedTable(
        QUADRANT_GALLERY, "examples by which of two models are right, and by how much they disagree", "report",
        ("quadrant_gallery",),
    ),
    "matrices": PublishedTable(MATRICES, "documents, and what inputs had for every model", "report", ("matrices",)),
    "instances": PublishedTable(
        INSTANCES, "documents of `report.instances` as every model saw them", "report", ("instances",)
    ),
    "contact_sheet": PublishedTable(
        CONTACT_SHEET, "images with what detectors found in them", "report", ("contact_sheet",)
    ),
    "leaks": PublishedTable(LEAKS, "columns that give the label away", "report", ("leaks",)),
    "presence": PublishedTable(PRESENCE, "documents per stage that have what it makes", "report"),
    "release": PublishedTable(RELEASE, "counts beside those that the data set's release is known by", "report"),
    "stages": PublishedTable(STAGES, "what every stage did in this run", "report"),
    "measures": PublishedTable(MEASURES, "what metrics are: title, unit, which way is better", "report"),
}  # fmt: skip


def in_catalog() -> dict[str, PublishedTable]:
    """Return the tables that analysts find in the catalog, by name."""
    return {name: table for name, table in TABLES.items() if table.form != "report"}
