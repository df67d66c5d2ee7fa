"""The tables that are published: one list behind latest/, the catalog and their comments."""

from typing import NamedTuple

import pyarrow as pa

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
    STATISTICS,
    TOKENS,
    WORDS,
    codes,
    column,
    embedding,
    indices,
)


class PublicTable(NamedTuple):
    """One table: its columns, of which each says what it holds, and what a row is.

    A source's own columns (num_*, cat_*) may follow in documents and results. A table with a `query` has no files of
    its own: it is SQL over the others.
    """

    schema: pa.Schema
    summary: str
    query: str = ""


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
    [*_lists(_merged(embedding(1, pa.float32()), codes(1), indices(1))), _FEATURE]
)  # fmt: skip

_RESULTS = """
SELECT d.* EXCLUDE (status), d.status AS document_status, p.* EXCLUDE (id),
    CASE WHEN len(d.labels) > 0 THEN coalesce(list_contains(d.labels, p.label), false) END AS correct
FROM documents AS d LEFT JOIN predictions AS p USING (id)
"""

TABLES: dict[str, PublicTable] = {
    "documents": PublicTable(INGESTED, "one row per document, as read from the source"),
    "clean": PublicTable(CLEAN, "one row per document: its text without markup"),
    "features": PublicTable(FEATURES, "one row per document and feature dataset: embeddings, visual tokens, indices"),
    "detections": PublicTable(
        pa.schema([*DETECTIONS, _DATASET]), "one row per document and detector: what was found in its image"
    ),
    "predictions": PublicTable(PREDICTIONS, "one row per document and model, of the last complete run"),
    "predictions_history": PublicTable(
        pa.schema([*PREDICTIONS, _KEY, _LAST_RUN, _LATEST]), "predictions of every version of a model that gc has left"
    ),
    "results": PublicTable(
        pa.schema(
            [
                *INGESTED.remove(INGESTED.get_field_index("status")),
                _OWN_STATUS,
                *PREDICTIONS.remove(PREDICTIONS.get_field_index("id")),
                _CORRECT,
            ]
        ),
        "one row per document and model: the document, its labels and what the model said",
        _RESULTS,
    ),
    "metrics": PublicTable(RESULTS, "one row per model, split and metric, of the last complete run"),
    "metrics_history": PublicTable(RESULTS, "metrics of every run that published"),
    "models": PublicTable(MODELS, "one row per model: size, and what fitting it took"),
    "quarantine": PublicTable(QUARANTINE, "one row per document or source row that failed somewhere, with the reason"),
    "findings": PublicTable(FINDINGS, "one row per file without a row, or row whose partner files do not match it"),
    "statistics": PublicTable(STATISTICS, "counts of documents and their fields by split and folder"),
    "drift": PublicTable(DRIFT, "one row per part of a codebook: new documents beside those it was fitted on"),
    "tokens": PublicTable(TOKENS, "one row per visual token of a model: what it means"),
    "words": PublicTable(WORDS, "one row per word of a model: the visual tokens nearest to it"),
}
