"""Arrow schemas of what inputs and single elements had in predictions: one for all models (R-21, R-22)."""

import pyarrow as pa

from fuseline.stores.schemas import column

METHODS = (
    "method: own (what the model tells: dimensions won under max and min pooling, or its terms), left_out (fall of the "
    "label's probability without the input) or gradient (that of the label's logit, times the input)"
)
PART = pa.struct(
    [
        ("method", pa.string()),
        ("input", pa.string()),
        ("modality", pa.string()),  # that the input is made from; null where the model names no dataset
        ("element", pa.int32()),  # place among the detections' elements, or in the input's own list; null: all of it
        ("box", pa.list_(pa.float32(), 4)),  # left, top, right, bottom as fractions of the upright image
        ("found", pa.string()),  # label of the element, or the words of a line
        ("value", pa.float32()),
        ("share", pa.float32()),
    ]
)
_PARTS = (
    f"one entry per method, input and element; {METHODS}; element: its place in the detections, null for a whole "
    "input; box: shares of width and height; found: what the detector said; value: as the method gives it; share: of "
    "the document's values by this method, those below 0 left out (left_out) or without their sign (gradient)"
)

# One row per document and model.
IMPORTANCES = pa.schema(
    [
        column("id", pa.string(), "the document's id, unique in its source", nullable=False),
        column("model", pa.string(), "name of the model in the configuration", nullable=False),
        column("label", pa.string(), "the most probable label, which is explained; null without any input"),
        column("dead", pa.float32(), "share of dimensions that no element won; null for a model that pools otherwise"),
        column("parts", pa.list_(PART), _PARTS, nullable=False),
    ]
)

# The same with a row per part.
ELEMENT_IMPORTANCE = pa.schema(
    [
        *(field for field in IMPORTANCES if field.name != "parts"),
        column("method", pa.string(), METHODS),
        column("input", pa.string(), "dataset of the input, or what the model calls it"),
        column("modality", pa.string(), "what the input is made from; null where the model names no dataset"),
        column("element", pa.int32(), "its place in the detections, or in the input's own list; null = all of it"),
        column("box", pa.list_(pa.float32()), "left, top, right, bottom as shares of the image's width and height"),
        column("found", pa.string(), "what the detector said of the element: its label, or the words of a line"),
        column("value", pa.float32(), "as the method gives it"),
        column("share", pa.float32(), "share of the document's values by this method, 0..1"),
    ]
)

# Means over the documents of a split, all or those that got a label.
CLASS_IMPORTANCE = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("split", pa.string(), "train, valid or test"),
        column("label", pa.string(), "the most probable label of the documents; null = all documents"),
        column("method", pa.string(), METHODS),
        column("input", pa.string(), "dataset of the input, or what the model calls it; null = dead dimensions"),
        column("share", pa.float64(), "mean share, 0..1; of a document without the input 0"),
        column("n", pa.int64(), "documents that the mean is over"),
    ]
)

_SHARE = pa.struct([("input", pa.string()), ("share", pa.float32())])
_ROW = pa.struct(
    [("model", pa.string()), ("label", pa.string()), ("method", pa.string()), ("shares", pa.list_(_SHARE))]
)

# The paper's matrices: documents, and what the inputs had for every model.
MATRICES = pa.schema(
    [
        ("id", pa.string()),
        ("labels", pa.list_(pa.string())),  # the document's own
        ("text", pa.string()),  # cleaned, at most 300 characters
        ("words", pa.string()),  # that detectors read in the image
        ("picture", pa.binary()),  # WebP with the finds drawn in; null without a usable image
        ("models", pa.list_(_ROW)),
    ]
)
