"""Arrow schemas of the tables that stages exchange: the one currency.

Row r of shard i is the same document in every dataset. A document that could not be used stays, with a short slug in
`status` (`ok`, `missing`, or a reason such as `bad_image`).
"""

import pyarrow as pa

IMAGE = pa.struct(
    [
        ("uri", pa.string()),  # relative to the source's root, or a URL; null when only bytes are given
        ("offset", pa.int64()),  # bytes into the file (a member of an uncompressed tar or zip); null = whole file
        ("length", pa.int64()),
        ("bytes", pa.large_binary()),  # set when the image was copied in
    ]
)

# What a reader yields. Tabular columns follow, named num_<column> (float64) or cat_<column> (string).
# A row whose id is null cannot be a document: ingest lists it in the quarantine table under its status.
DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string(), nullable=False),  # "file" or "file:line" or "archive:member", for messages
        pa.field("status", pa.string(), nullable=False),  # ok, bad_row, duplicate_id, ...
        pa.field("split", pa.string()),  # train, valid, test; null = ingest assigns it
        pa.field("group", pa.string()),  # documents of one group never lie on both sides of a split
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("text", pa.string()),
        pa.field("html", pa.string()),
        pa.field("image", IMAGE),
    ]
)

# clean: one row per document; a field that was absent stays null.
CLEAN = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # ok, missing, bad_html, timeout, too_large
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("text", pa.string(), nullable=False),  # the configured fields joined; "" when there is none
        pa.field("words", pa.int32(), nullable=False),  # white-space separated tokens of `text`
    ]
)


def embedding(dim: int, dtype: pa.DataType) -> pa.Schema:
    """Return the schema of one embedding per document: (n, dim) of `dtype`, zeros where present is False.

    NaN stands for a single value that a present document lacks, which only table columns do.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),  # ok, missing, bad_image, too_large, timeout, ...
            pa.field("present", pa.bool_(), nullable=False),
            pa.field("embedding", pa.list_(dtype, dim), nullable=False),
        ]
    )


def indices(columns: int) -> pa.Schema:
    """Return the schema of class indices per document: (n, columns) int32, what index embeddings look up.

    0 is a missing or unknown value.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("present", pa.bool_(), nullable=False),  # at least one value is known
            pa.field("indices", pa.list_(pa.int32(), columns), nullable=False),
        ]
    )


def ragged_indices() -> pa.Schema:
    """Return the schema of lists of class indices: 0 to n per document, int32; the index 0 is an unknown value."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("present", pa.bool_(), nullable=False),  # there is at least one
            pa.field("indices", pa.list_(pa.int32()), nullable=False),
        ]
    )


def codes(tokens: int) -> pa.Schema:
    """Return the schema of quantized embeddings: (n, tokens) uint8; present False means no visual tokens at all."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("present", pa.bool_(), nullable=False),
            pa.field("codes", pa.list_(pa.uint8(), tokens), nullable=False),
            pa.field("error", pa.float32()),  # squared quantisation error of the row; null when absent
        ]
    )


_SCORED = pa.struct([("label", pa.string()), ("score", pa.float32())])
_SHARE = pa.struct([("modality", pa.string()), ("share", pa.float32())])

PREDICTIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("label", pa.string()),  # most probable label; null when the document had nothing the model reads
        pa.field("score", pa.float32()),  # its probability, 0..1
        pa.field("top_k", pa.list_(_SCORED), nullable=False),
        pa.field("predicted", pa.list_(pa.string()), nullable=False),  # label set at the model's threshold
        # Of the document's own labels, when it has any that the model knows: enough to evaluate without logits.
        pa.field("rank", pa.int32()),  # 0-based rank of its best-placed own label
        pa.field("loss", pa.float32()),  # -log probability, averaged over its own labels, nats
        # Which modality decided: shares >= 0 that sum to 1; empty when the model cannot tell.
        pa.field(
            "importance", pa.list_(pa.struct([("modality", pa.string()), ("share", pa.float32())])), nullable=False
        ),
        pa.field("status", pa.string(), nullable=False),  # ok, no_input
        pa.field("model_key", pa.string(), nullable=False),
        pa.field("dataset_keys", pa.list_(pa.string()), nullable=False),
    ]
)

METRICS = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int32()),  # null outside cross-validation
        ("seed", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),  # documents the value was computed on
        ("run", pa.string()),
    ]
)

# Counts that add over shards.
STATISTICS = pa.schema(
    [
        ("split", pa.string()),
        ("field", pa.string()),  # documents, title, description, text, html, image, labels, num_*, cat_*
        ("measure", pa.string()),  # documents, missing, failed, words, labels
        ("value", pa.int64()),
        ("source", pa.string()),  # the folder, below the source's root, that documents came from; "" = its top
    ]
)

# One row per part of a codebook: new rows beside those that it knows.
DRIFT = pa.schema(
    [
        ("codebook", pa.string()),
        ("repeat", pa.int32()),  # 0-based; always 0 for pq
        ("part", pa.int32()),
        ("shards", pa.int64()),  # that came or changed after the fit
        ("rows", pa.int64()),  # usable vectors in them
        ("error", pa.float64()),  # their mean squared error; null without such rows
        ("known_error", pa.float64()),  # of held-out rows from the time of the fit, or of the training rows
        ("held_out", pa.int64()),  # how many held-out rows that is of; 0 = of the training rows
        ("error_ratio", pa.float64()),
        ("used", pa.int64()),  # codewords of the part that training used
        ("empty", pa.int64()),  # of these, those that no new row uses
        ("expected_empty", pa.float64()),  # that chance alone leaves empty
        ("hot", pa.int64()),  # codewords that very many new rows use
        ("divergence", pa.float64()),  # Jensen-Shannon divergence of the usages, bits, 0..1
        ("refit", pa.bool_()),  # of the whole codebook
        ("why", pa.string()),  # "" when no refit is advised
    ]
)

# One row per visual token of a classifier that any document owns (paper K, Table 5).
TOKENS = pa.schema(
    [
        ("model", pa.string()),
        ("repeat", pa.int32()),  # 0-based; always 0 for pq
        ("part", pa.int32()),
        ("centroid", pa.int32()),
        ("token", pa.string()),  # _q-_{part}_{centroid}; for rspq _q-_{repeat}_{part}_{centroid}
        ("n_documents", pa.int64()),  # that own it
        ("n_train", pa.int64()),  # of these, of the train split
        ("words", pa.list_(pa.struct([("word", pa.string()), ("cosine", pa.float32())]))),  # nearest first
        ("coherence", pa.float32()),  # mean cosine between these words themselves: 1 = they say one thing
        ("clarity", pa.float32()),  # coherence x mean cosine to the token: what sorts tokens, the clearest first
        ("documents", pa.list_(pa.struct([("id", pa.string()), ("distance", pa.float32())]))),  # the most typical ones
        ("thumbnails", pa.list_(pa.binary())),  # WebP of these documents, in order; none beyond the clearest tokens
    ]
)

# The other way round: the visual tokens nearest to a word.
WORDS = pa.schema(
    [
        ("model", pa.string()),
        ("word", pa.string()),
        ("count", pa.int64()),  # in the training texts
        ("tokens", pa.list_(pa.struct([("token", pa.string()), ("cosine", pa.float32())]))),  # nearest first
    ]
)

# What trained models cost; a number that a model cannot tell is null.
MODELS = pa.schema(
    [
        ("model", pa.string()),
        ("kind", pa.string()),
        ("seed", pa.int64()),
        ("documents", pa.int64()),  # of the train split when it was fitted
        ("seconds", pa.float64()),  # wall time of the fit, reading included
        ("parameters", pa.int64()),
        ("bytes", pa.int64()),  # of the model in memory
        ("bytes_per_document", pa.int64()),  # of the image that the model reads: 4 per number, 1 per visual token
        ("multiply_adds_per_document", pa.int64()),
        ("key", pa.string()),  # dataset key and checkpoint, as in predictions' model_key
    ]
)

QUARANTINE = pa.schema(
    [
        ("stage", pa.string()),  # ingest, clean, embed/image, ...
        ("id", pa.string()),  # null when the row never became a document
        ("source", pa.string()),
        ("reason", pa.string()),  # the status slug
        ("shard", pa.int32()),
    ]
)
