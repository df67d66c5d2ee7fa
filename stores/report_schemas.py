"""Arrow schemas of the tables that the report alone shows."""

import pyarrow as pa

_SCORED = pa.struct([("label", pa.string()), ("score", pa.float32())])
_SHARE = pa.struct([("modality", pa.string()), ("share", pa.float32())])

# What metrics are, so that a page that holds their values knows how to print them.
MEASURES = pa.schema(
    [
        ("metric", pa.string()),
        ("title", pa.string()),  # as the head of a column
        ("summary", pa.string()),
        ("unit", pa.string()),  # share (0..1), nats, documents, or another
        ("lower_is_better", pa.bool_()),
        ("headline", pa.list_(pa.string())),  # tasks whose models it ranks: single-label, multi-label
        ("shown", pa.list_(pa.string())),  # tasks whose main table has it; the full table has all metrics
    ]
)

CLASSES = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("precision", pa.float64()),
        ("recall", pa.float64()),
        ("f1", pa.float64()),
        ("support", pa.int64()),  # documents that carry the label
        ("predicted", pa.int64()),  # documents it was predicted for
    ]
)

CONFUSION = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),  # null: nothing
        ("n", pa.int64()),
    ]
)

IMPORTANCE = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("modality", pa.string()),
        ("share", pa.float64()),  # 0..1, mean over the documents
        ("n", pa.int64()),  # documents whose decision could be shared out
    ]
)

GALLERY = pa.schema(
    [
        ("kind", pa.string()),  # right, wrong, confident_error
        ("model", pa.string()),
        ("split", pa.string()),
        ("id", pa.string()),
        ("labels", pa.list_(pa.string())),  # the document's own
        ("top_k", pa.list_(_SCORED)),
        ("importance", pa.list_(_SHARE)),
        ("text", pa.string()),  # cleaned, at most 300 characters
        ("thumbnail", pa.binary()),  # WebP; null without a usable image
    ]
)

# Documents by which of two models are right on them, and those of a class on which the two disagree most.
QUADRANT_GALLERY = pa.schema(
    [
        ("models", pa.list_(pa.string())),
        ("split", pa.string()),
        ("part", pa.string()),  # quadrant, class
        ("label", pa.string()),  # of part class: the class
        ("place", pa.int32()),  # in its quadrant or class, from 1
        ("right", pa.list_(pa.string())),  # those of the models that are right, and no other
        ("disagreement", pa.float64()),  # 0..1: 1 - what the models' probabilities of their best labels share
        ("id", pa.string()),
        ("labels", pa.list_(pa.string())),  # the document's own
        ("answers", pa.list_(pa.list_(_SCORED))),  # best labels of each of the models; none without input
        ("text", pa.string()),  # cleaned, at most 300 characters
        ("thumbnail", pa.binary()),  # WebP; null without a usable image
    ]
)

INSTANCES = pa.schema(
    [
        ("place", pa.int32()),  # on the page, from 1
        ("split", pa.string()),  # that documents are drawn of
        ("id", pa.string()),
        ("labels", pa.list_(pa.string())),  # the document's own
        ("title", pa.string()),
        ("text", pa.string()),  # cleaned, at most 300 characters
        ("fields", pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))),  # known table columns
        (
            "answers",  # of every model: its best label, null without input
            pa.list_(
                pa.struct([
                    ("model", pa.string()), ("label", pa.string()), ("score", pa.float32()),
                    ("importance", pa.list_(_SHARE)),
                ])
            ),
        ),
        ("picture", pa.binary()),  # WebP; null without a usable image
    ]
)  # fmt: skip

# One row per image shown.
CONTACT_SHEET = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # ok, or why the image cannot be shown
        pa.field("picture", pa.binary()),  # WebP with the finds drawn in; null unless ok
        pa.field("words", pa.string(), nullable=False),  # what text lines say, joined
        pa.field("found", pa.list_(pa.struct([("detector", pa.string()), ("n", pa.int32())])), nullable=False),
    ]
)

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

RELEASE = pa.schema([("measure", pa.string()), ("published", pa.int64()), ("found", pa.int64())])

# What stages that look at every document by itself made, in documents.
PRESENCE = pa.schema([("stage", pa.string()), *((name, pa.int64()) for name in ("present", "missing", "failed"))])

# Columns that give the label away.
LEAKS = pa.schema(
    [
        ("column", pa.string()),  # num_*, cat_*
        ("way", pa.string()),  # determines (the label), follows (from it)
        ("right", pa.int64()),  # documents on which it does
        ("documents", pa.int64()),  # with a label
    ]
)
