"""Arrow schemas of scores beside the results table: of masked inputs by class, of groups, of pairs of models."""

import pyarrow as pa

from fuseline.stores.schemas import column

_MODELS = column("models", pa.list_(pa.string()), "models of `report.quadrants`; null without any")
_RIGHT = column("right", pa.list_(pa.string()), "those of the models that are right, and no other; null likewise")

# Scores of every class where an input is masked in every document; `condition` is that of RESULTS.
MASKED_CLASSES = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("split", pa.string(), "train, valid or test"),
        column("condition", pa.string(), "what is masked, as in metrics"),
        column("label", pa.string(), "name of the class"),
        column("precision", pa.float64(), "share of the documents it was predicted for that carry it, 0..1"),
        column("recall", pa.float64(), "share of the documents that carry it that it was predicted for, 0..1"),
        column("f1", pa.float64(), "harmonic mean of precision and recall, 0..1"),
        column("support", pa.int64(), "documents that carry the label"),
        column("predicted", pa.int64(), "documents it was predicted for"),
    ]
)

# What is decoded of learnt codes beside what went into them.
RECONSTRUCTIONS = pa.schema(
    [
        column("codes", pa.string(), "name of the stage `learned` in the configuration"),
        column("split", pa.string(), "train, valid or test"),
        column("input", pa.string(), "dataset that is decoded, embed/NAME"),
        column("inputs", pa.list_(pa.string()), "datasets that the codes are made of"),
        column("documents", pa.int64(), "documents of the split that have the input"),
        column("mse", pa.float64(), "their mean squared error, numbers scaled as in training"),
        column("mean_mse", pa.float64(), "that of the training mean in the place of what is decoded"),
    ]
)

# Scores of documents that share a value of a column: of a source, or of a kind.
GROUPS = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("split", pa.string(), "train, valid or test"),
        column("column", pa.string(), "source: the first folder that documents come from; or a cat_* column"),
        column("group", pa.string(), "value of the column; (none) without one, (others) of all but the largest groups"),
        column("metric", pa.string(), "name of the metric, as in metrics"),
        column("value", pa.float64(), "the metric's value on the group's documents"),
        column("n", pa.int64(), "documents that the value was computed on"),
    ]
)

# Every two models on the same documents, and every model by itself.
COMPARISONS = pa.schema(
    [
        column("split", pa.string(), "train, valid or test"),
        column("metric", pa.string(), "name of the metric, as in metrics"),
        column("model", pa.string(), "name of a model in the configuration"),
        column("other", pa.string(), "the model that it is compared with; null = its own value"),
        column("value", pa.float64(), "the model's value, or how much higher it is than the other's"),
        column("low", pa.float64(), "lower end of the value's 95 % interval, by drawing documents (bootstrap)"),
        column("high", pa.float64(), "upper end of it"),
        column("test", pa.string(), "mcnemar (exact) or permutation; null for a model by itself"),
        column("p", pa.float64(), "two-sided p value of no difference; null for a model by itself"),
        column("n", pa.int64(), "documents that both models are scored on"),
    ]
)

# Where documents lie on the map of an embedding.
MAPS = pa.schema(
    [
        column("vectors", pa.string(), "dataset of the vectors, such as embed/image"),
        column("id", pa.string(), "id of the document"),
        column("split", pa.string(), "train, valid or test"),
        column("label", pa.string(), "its first label"),
        column("x", pa.float32(), "place on the map, by t-SNE"),
        column("y", pa.float32(), "place on the map, by t-SNE"),
        column("purity", pa.float64(), "share of its nearest others with the same label; null without others"),
        column("silhouette", pa.float64(), "how much nearer its own class is than the next one, -1..1; or null"),
        column("seed", pa.int64(), "seed of the map and of the classes that are drawn"),
        _MODELS,
        _RIGHT,
    ]
)

# Where the documents of one class lie on a map of their own (Miller et al. 2020, Figure 12).
CLASS_MAPS = pa.schema(
    [
        column("vectors", pa.string(), "dataset of the vectors, such as embed/image"),
        column("label", pa.string(), "the class: the first label of all of the map's documents"),
        column("id", pa.string(), "id of the document"),
        column("split", pa.string(), "train, valid or test"),
        column("x", pa.float32(), "place on the map, by t-SNE"),
        column("y", pa.float32(), "place on the map, by t-SNE"),
        column(
            "cosine", pa.float64(), "cosine of its vector and the mean of its class, -1..1: low = unlike the others"
        ),
        _MODELS,
        _RIGHT,
        column("predicted", pa.list_(pa.string()), "the best label of each of the models; null without input"),
        column("seed", pa.int64(), "seed of the map and of the documents that are drawn"),
    ]
)

# The classes whose mean vectors are nearest to that of a class.
CLASS_NEIGHBOURS = pa.schema(
    [
        column("vectors", pa.string(), "dataset of the vectors, such as embed/title"),
        column("label", pa.string(), "name of the class"),
        column("documents", pa.int64(), "documents with this label that have a vector"),
        column("place", pa.int32(), "1 = the nearest class"),
        column("other", pa.string(), "name of the class that is near"),
        column("cosine", pa.float64(), "cosine of the two classes' mean unit vectors, -1..1"),
    ]
)

# How near the most frequent classes lie to one another (Miller et al. 2020, from title vectors).
CLASS_SIMILARITY = pa.schema(
    [
        column("vectors", pa.string(), "dataset of the vectors, such as embed/title"),
        column("label", pa.string(), "name of the class"),
        column("documents", pa.int64(), "documents with this label that have a vector"),
        column("place", pa.int32(), "its place in an order in which classes that are alike stand side by side, from 1"),
        column("other", pa.string(), "name of the other class; every class has itself too"),
        column("cosine", pa.float64(), "cosine of the two classes' mean unit vectors, -1..1"),
    ]
)
