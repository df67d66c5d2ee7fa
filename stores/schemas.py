"""Arrow schemas of the tables that stages exchange: the one currency.

Row r of shard i is the same document in every dataset. A document that could not be used stays, with a short slug in
`status` (`ok`, `missing`, or a reason such as `bad_image`).

Every column says what it holds in its field's metadata (`comment`), which the Parquet files and the catalog show.
"""

import pyarrow as pa

COMMENT = b"comment"
VOCABULARY = b"vocabulary"  # of a column of token ids: how many known words there are


def column(name: str, kind: pa.DataType, comment: str, *, nullable: bool = True) -> pa.Field:
    """Return a field whose metadata says what it holds; `comment` names the unit where there is one."""
    return pa.field(name, kind, nullable=nullable, metadata={COMMENT: comment.encode()})


def comment_of(name: str, schema: pa.Schema) -> str:
    """Return what a schema says of a column, or what is known of a source's own (num_*, cat_*); "" = nothing."""
    at = schema.get_field_index(name)
    if at >= 0:
        return ((schema.field(at).metadata or {}).get(COMMENT) or b"").decode()
    kind = {"num_": "number", "cat_": "category"}.get(name[:4], "")
    return kind and f"{kind} of the source's column {name[4:]}, in the source's unit; null where it has none"


def commented(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the comments that the schema has for columns of these names."""
    fields = [field.with_metadata({COMMENT: comment_of(field.name, schema).encode()}) for field in table.schema]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields, metadata=table.schema.metadata))


IMAGE = pa.struct(
    [
        ("uri", pa.string()),  # relative to the source's root, or a URL; null when only bytes are given
        ("offset", pa.int64()),  # bytes into the file (a member of an uncompressed tar or zip); null = whole file
        ("length", pa.int64()),
        ("bytes", pa.large_binary()),  # set when the image was copied in
    ]
)

_ID = column("id", pa.string(), "the document's id, unique in its source", nullable=False)

# What a reader yields. Tabular columns follow, named num_<column> (float64) or cat_<column> (string).
# A row whose id is null cannot be a document: ingest lists it in the quarantine table under its status.
DOCUMENTS = pa.schema(
    [
        _ID.with_nullable(True),
        column("source", pa.string(), "where it stood: file, file:line or archive:member", nullable=False),
        column("status", pa.string(), "ok, or why the row cannot be used, such as bad_row", nullable=False),
        column("split", pa.string(), "train, valid or test: the source's own, else by a hash of the id"),
        column("group", pa.string(), "documents of one group never lie on both sides of a split"),
        column("labels", pa.list_(pa.string()), "the document's own labels; empty when it has none", nullable=False),
        column("title", pa.string(), "title as the source gives it"),
        column("description", pa.string(), "description as the source gives it"),
        column("text", pa.string(), "plain text as the source gives it"),
        column("html", pa.string(), "HTML as the source gives it"),
        column("image", IMAGE, "uri: place below the source's root; offset, length: bytes within it; bytes: the file"),
    ]
)

# What ingest makes of them.
INGESTED = pa.schema(
    [
        _ID.with_nullable(True),
        column("source_file", pa.string(), "file of the source it came from, or archive:member", nullable=False),
        column(
            "source_row",
            pa.int64(),
            "its line or row in that file when it was new or changed last; null = a whole file",
        ),
        *(field for field in DOCUMENTS if field.name not in ("id", "source")),
        column("fold", pa.int32(), "part of a cross-validation, from 0; null without folds"),
        column(
            "image_digest", pa.string(), "digest of the image's bytes, or why it cannot be read; null without image"
        ),
        column(
            "image_hash", pa.string(), "what the image looks like, 64 bits in hex; null unless duplicates are sought"
        ),
    ]
)

# clean: one row per document; a field that was absent stays null.
CLEAN = pa.schema(
    [
        _ID,
        column("status", pa.string(), "ok, missing, bad_html, timeout or too_large", nullable=False),
        column("title", pa.string(), "title without markup"),
        column("description", pa.string(), "description without markup"),
        column("text", pa.string(), "the configured fields, cleaned and joined; '' when there is none", nullable=False),
        column("words", pa.int32(), "white-space separated words of `text`", nullable=False),
    ]
)

_STATUS = column("status", pa.string(), "ok, missing, or why it failed, such as bad_image", nullable=False)
_PRESENT = column("present", pa.bool_(), "whether the document has it; values of others are zeros", nullable=False)
_VECTOR = "the vector, one number per dimension; NaN is a table column's missing value"


def embedding(dim: int, dtype: pa.DataType) -> pa.Schema:
    """Return the schema of one embedding per document: (n, dim) of `dtype`, zeros where present is False.

    NaN stands for a single value that a present document lacks, which only table columns do.
    """
    return pa.schema([_ID, _STATUS, _PRESENT, column("embedding", pa.list_(dtype, dim), _VECTOR, nullable=False)])


# The same as Parquet, for SQL: lists of any length.
VECTORS = pa.schema([_ID, _PRESENT, column("embedding", pa.list_(pa.float32()), f"{_VECTOR}; null where absent")])

_INDICES = "numbers of classes in a vocabulary; 0 is a missing or unknown value"


def indices(columns: int, vocabulary: int) -> pa.Schema:
    """Return the schema of class indices per document: (n, columns) int32, what index embeddings look up.

    0 is a missing or unknown value, others go up to `vocabulary`; present means that at least one value is known.
    """
    return _in_vocabulary("indices", pa.list_(pa.int32(), columns), _INDICES, vocabulary)


def ragged_indices(vocabulary: int) -> pa.Schema:
    """Return the schema of lists of class indices: 0 to n per document, int32, each 0 (unknown) to `vocabulary`."""
    return _in_vocabulary("indices", pa.list_(pa.int32()), _INDICES, vocabulary)


_TOKENS = "numbers of words in a vocabulary, in the order of the text; 0 is an unknown word"


def sequences(vocabulary: int) -> pa.Schema:
    """Return the schema of token ids in their order: 0 to n per document, int32, each 0 (unknown) to `vocabulary`."""
    return _in_vocabulary("tokens", pa.list_(pa.int32()), _TOKENS, vocabulary)


def _in_vocabulary(name: str, kind: pa.DataType, comment: str, vocabulary: int) -> pa.Schema:
    numbers = column(name, kind, comment, nullable=False)
    numbers = numbers.with_metadata({**numbers.metadata, VOCABULARY: str(vocabulary).encode()})
    return pa.schema([_ID, _STATUS, _PRESENT, numbers])


_CODES = "numbers of codewords, one visual token per part of the codebook, each 0..255"
_ERROR = column("error", pa.float32(), "squared quantization error, in the embedding's unit squared; null when absent")


def codes(tokens: int) -> pa.Schema:
    """Return the schema of quantized embeddings: (n, tokens) uint8; present False means no visual tokens at all."""
    return pa.schema(
        [_ID, _STATUS, _PRESENT, column("codes", pa.list_(pa.uint8(), tokens), _CODES, nullable=False), _ERROR]
    )


ELEMENT = pa.struct(
    [
        ("box", pa.list_(pa.float32(), 4)),  # left, top, right, bottom as fractions of the upright image
        ("score", pa.float32()),  # as the network gave it
        ("label", pa.string()),
        ("text", pa.string()),  # what a text line says, else null
        ("points", pa.list_(pa.float32())),  # x0, y0, x1, y1, ... as fractions; faces 5 points, text 4 corners
    ]
)
_ELEMENTS = (
    "what was found. box: left, top, right, bottom, and points: x0, y0, x1, y1, ..., as shares of width and height; "
    "score: the network's, 0..1; label: the class; text: what a line says"
)

# One row per document, however many elements its image has.
DETECTIONS = pa.schema(
    [
        _ID,
        column(
            "status", pa.string(), "ok (also without a find), missing, bad_image, ..., detect_failed", nullable=False
        ),
        column("present", pa.bool_(), "whether at least one element was found", nullable=False),
        column("width", pa.int32(), "of the upright image, pixels"),
        column("height", pa.int32(), "of the upright image, pixels"),
        column("elements", pa.list_(ELEMENT), _ELEMENTS, nullable=False),
        column("text", pa.string(), "words of the lines, joined; '' for faces and objects", nullable=False),
    ]
)

_PLACES = "places of the chosen elements in the detections' elements, from 0, highest score first"


def crop_embeddings(dim: int, dtype: pa.DataType) -> pa.Schema:
    """Return the schema of one embedding per element: a document has 0 to n of them, highest score first."""
    return pa.schema(
        [
            _ID,
            column("status", pa.string(), "ok, missing (no element), or why the image failed", nullable=False),
            column("present", pa.bool_(), "whether at least one element was embedded", nullable=False),
            column("element", pa.list_(pa.int32()), _PLACES, nullable=False),
            column("embeddings", pa.list_(pa.list_(dtype, dim)), "one vector per chosen element", nullable=False),
        ]
    )


_SCORED = pa.struct([("label", pa.string()), ("score", pa.float32())])
_SHARE = pa.struct([("modality", pa.string()), ("share", pa.float32())])
_ELEMENT_SHARE = pa.struct([("input", pa.string()), ("element", pa.int32()), ("share", pa.float32())])
_ELEMENT_SHARES = (
    "share of each element in the decision, in sum at most 1: input is a dataset, element its place there, from 0, "
    "null: all of it; empty when the model cannot tell"
)
_TOP_K = "the best labels with their probabilities, 0..1, best first"
_PREDICTED = "labels at or above the model's threshold: the label set of a multi-label model"
_IMPORTANCE = "share of each modality in the decision, >= 0, in sum 1; empty when the model cannot tell"

PREDICTIONS = pa.schema(
    [
        _ID,
        column("model", pa.string(), "name of the model in the configuration", nullable=False),
        column("label", pa.string(), "most probable label; null when the document holds nothing that the model reads"),
        column("score", pa.float32(), "probability of `label`, 0..1"),
        column("top_k", pa.list_(_SCORED), _TOP_K, nullable=False),
        column("predicted", pa.list_(pa.string()), _PREDICTED, nullable=False),
        # Of the document's own labels, when it has any that the model knows: enough to evaluate without logits.
        column("rank", pa.int32(), "place of its best own label, 1 = right; null without known own labels"),
        column("loss", pa.float32(), "-log probability, mean over its own labels, nats; null without known own labels"),
        column("importance", pa.list_(_SHARE), _IMPORTANCE, nullable=False),
        column("element_shares", pa.list_(_ELEMENT_SHARE), _ELEMENT_SHARES, nullable=False),
        column("status", pa.string(), "ok, or no_input: nothing that the model reads", nullable=False),
        column("model_key", pa.string(), "dataset key and checkpoint of the model, as `key` of models", nullable=False),
        column("dataset_keys", pa.list_(pa.string()), "name=key of every dataset it was made from", nullable=False),
    ]
)

# The one results table: runs, trials of a sweep, folds of a cross-validation and tests with something masked write it.
RESULTS = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("options", pa.string(), "JSON of the options that a trial tried; null = as configured"),
        column("seed", pa.int64(), "seed that the model was fitted with"),
        column("fold", pa.int32(), "part of a cross-validation, from 0; null outside one"),
        column("split", pa.string(), "train, valid or test; of a fold, test is what was held out"),
        column("condition", pa.string(), "how the evaluation differs, such as image masked; null = nothing does"),
        column("metric", pa.string(), "name of the metric; `fuseline list metrics` says what each is"),
        column("value", pa.float64(), "the metric's value: shares 0..1, log_loss in nats, counts in documents"),
        column("n", pa.int64(), "documents that the value was computed on"),
        column("run", pa.string(), "name of the run: UTC time and four random characters; null in a sweep"),
    ]
)

# What the trials of a sweep are beside their scores, which are rows of RESULTS with the same model, options and seed.
TRIALS = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("options", pa.string(), "JSON of the options that the trial tried"),
        column("seed", pa.int64(), "seed that the model was fitted with"),
        column(
            "phase",
            pa.string(),
            "search (on valid), final (the chosen options, on test too), varied (one of them changed) or timing",
        ),
        column("status", pa.string(), "ok, diverged, or missing: not trained yet"),
        column("reason", pa.string(), "why it diverged, else ''; null while missing"),
        column("documents", pa.int64(), "training documents that it saw; null while missing"),
        column("seconds", pa.float64(), "wall time of training and scoring, one thread; null while missing"),
        column("key", pa.string(), "dataset key of the trial: another for every change of settings or features"),
    ]
)

# Counts that add over shards.
STATISTICS = pa.schema(
    [
        column("split", pa.string(), "train, valid or test"),
        column("field", pa.string(), "documents, title, description, text, html, image, labels, label:*, num_*, cat_*"),
        column("measure", pa.string(), "what is counted: documents, missing, failed, words or labels"),
        column("value", pa.int64(), "the count; counts of splits and folders add"),
        column("source", pa.string(), "folder below the source's root that documents came from; '' = its top"),
    ]
)

# One row per part of a codebook: new rows beside those that it knows.
DRIFT = pa.schema(
    [
        column("codebook", pa.string(), "name of the codebook in the configuration"),
        column("repeat", pa.int32(), "number of the permutation, from 0; always 0 for pq"),
        column("part", pa.int32(), "part of the vector, from 0"),
        column("shards", pa.int64(), "shards that came or changed after the fit"),
        column("rows", pa.int64(), "usable vectors in these shards"),
        column("error", pa.float64(), "mean squared quantization error of these vectors; null without any"),
        column("known_error", pa.float64(), "the same of held-out rows from the time of the fit, or of training rows"),
        column("held_out", pa.int64(), "held-out rows behind known_error; 0 = it is of the training rows"),
        column("error_ratio", pa.float64(), "error / known_error"),
        column("used", pa.int64(), "codewords of the part that training used"),
        column("empty", pa.int64(), "of these, those that no new row uses"),
        column("expected_empty", pa.float64(), "codewords that chance alone leaves empty"),
        column("hot", pa.int64(), "codewords that very many new rows use"),
        column("divergence", pa.float64(), "Jensen-Shannon divergence of the usages, bits, 0..1"),
        column("refit", pa.bool_(), "whether the whole codebook should be fitted again"),
        column("why", pa.string(), "reason for a refit; '' when none is advised"),
    ]
)

_NEAR_WORDS = pa.list_(pa.struct([("word", pa.string()), ("cosine", pa.float32())]))
_REPRESENTATIVES = pa.list_(pa.struct([("id", pa.string()), ("distance", pa.float32())]))

# One row per visual token of a classifier that any document owns (paper K, Table 5).
TOKENS = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("repeat", pa.int32(), "number of the permutation, from 0; always 0 for pq"),
        column("part", pa.int32(), "part of the vector, from 0"),
        column("centroid", pa.int32(), "number of the codeword, 0..255"),
        column("token", pa.string(), "_q-_{part}_{centroid}; for rspq _q-_{repeat}_{part}_{centroid}"),
        column("n_documents", pa.int64(), "documents that own the token"),
        column("n_train", pa.int64(), "of these, documents of the train split"),
        column("words", _NEAR_WORDS, "words with the most similar vectors and their cosine, -1..1, nearest first"),
        column("coherence", pa.float32(), "mean cosine between these words: 1 = they say one thing"),
        column("clarity", pa.float32(), "coherence x mean cosine to the token: sorts tokens, the clearest first"),
        column(
            "documents", _REPRESENTATIVES, "most typical documents, with the distance of their part to the codeword"
        ),
        column(
            "thumbnails", pa.list_(pa.binary()), "WebP of these documents, in order; none beyond the clearest tokens"
        ),
    ]
)

# The other way round: the visual tokens nearest to a word.
WORDS = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("word", pa.string(), "a word of the training texts"),
        column("count", pa.int64(), "how often it came in the training texts"),
        column(
            "tokens", pa.list_(pa.struct([("token", pa.string()), ("cosine", pa.float32())])),
            "visual tokens with the most similar vectors and their cosine, -1..1, nearest first",
        ),
    ]
)  # fmt: skip

# What trained models cost; a number that a model cannot tell is null.
MODELS = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("kind", pa.string(), "classifier; `fuseline list models` says what each is"),
        column("seed", pa.int64(), "seed that it was fitted with"),
        column("documents", pa.int64(), "documents of the train split when it was fitted"),
        column("seconds", pa.float64(), "wall time of the fit, reading included, s"),
        column("parameters", pa.int64(), "numbers that training adjusts"),
        column("bytes", pa.int64(), "size of the model in memory, bytes"),
        column(
            "bytes_per_document", pa.int64(), "of the image as the model reads it: 4 per number, 1 per visual token"
        ),
        column("multiply_adds_per_document", pa.int64(), "multiplications with additions to predict one document"),
        column("options", pa.string(), "its options as configured, as JSON; the others are its own"),
        column(
            "stands_in_for", pa.list_(pa.string()), "published networks in whose place it has others; null: of none"
        ),
        column("key", pa.string(), "dataset key and checkpoint, as in model_key of predictions"),
    ]
)

SEARCHES = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column(
            "part", pa.string(), "the part that chose of a model that holds others, as text in avg_probs; else null"
        ),
        column("options", pa.string(), "options that were tried, as JSON; the others are the model's own"),
        column("documents", pa.int64(), "training documents of the trial"),
        column("score", pa.float64(), "precision at 1 on valid documents; null when the loss was not finite"),
        column("sureness", pa.float64(), "0 to 1: how sure the trial is of right labels, which decides close scores"),
        column("chosen", pa.bool_(), "whether the model was fitted with these options"),
    ]
)

QUARANTINE = pa.schema(
    [
        column("stage", pa.string(), "stage that failed: ingest/<name>, clean/text, embed/image, ..."),
        column("id", pa.string(), "the document's id; null when the row never became a document"),
        column("source", pa.string(), "where it stood: file, file:line or archive:member"),
        column("reason", pa.string(), "status slug, such as bad_image or duplicate_id"),
        column("shard", pa.int32(), "shard that the document lies in; null when it lies in none"),
    ]
)

# What an ingest tells of a source beside its rows (R4): at most 1,000 of a kind, and how many more there are.
FINDINGS = pa.schema(
    [
        column("finding", pa.string(), "kind, such as no_row (a file that no row refers to) or photo_count"),
        column("source", pa.string(), "the file, or the row as file:line; last how many more there are"),
        column("id", pa.string(), "the document that it is about; null when it is about a file"),
    ]
)
