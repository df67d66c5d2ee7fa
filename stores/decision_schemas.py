"""Arrow schemas of what is told of decisions between models."""

import pyarrow as pa

from fuseline.stores.schemas import column

_MODELS = column("models", pa.list_(pa.string()), "the models between which is decided, the default first")
_RATE = "0..1, of the documents whose most probable label is one of their own"

# Decisions between models (Zahavy et al. 2016, Table 1).
DECISIONS = pa.schema(
    [
        column("model", pa.string(), "name of the decision in the configuration"),
        column("kind", pa.string(), "kind of model, such as policy or ensemble"),
        _MODELS,
        column("split", pa.string(), "train, valid or test; valid: the half that taught nothing, where one did"),
        column("n", pa.int64(), "labelled documents"),
        column("accuracy", pa.float64(), f"of the decision, {_RATE}"),
        column("first_accuracy", pa.float64(), "of the first of the models, likewise"),
        column("others_accuracy", pa.list_(pa.float64()), "of each of the others, likewise"),
        column("oracle_accuracy", pa.float64(), "share of documents on which any of the models is right: no model"),
        column("best", pa.string(), "the one of the models that is best on valid"),
        column("best_accuracy", pa.float64(), "its accuracy"),
        column("better", pa.int64(), "documents on which the decision is right and that model wrong"),
        column("worse", pa.int64(), "documents on which it is the other way round"),
        column("p", pa.float64(), "McNemar's exact two-sided p value of no difference between both"),
        column("called", pa.float64(), "share of documents that another model than the first decides; null: no choice"),
        column("should_call", pa.float64(), "share on which another model is right and the first wrong; null likewise"),
        column(
            "choice_accuracy", pa.float64(), "share of documents on which the choice is the right one; null likewise"
        ),
        column("choice_balanced", pa.float64(), "mean of that share where another should decide and elsewhere"),
        column("choice_auc", pa.float64(), "area under the ROC curve of the wish for another model; null likewise"),
        column("choice_precision", pa.float64(), "share of calls that are right to be made; null likewise"),
        column("choice_recall", pa.float64(), "share of calls to be made that are made; null likewise"),
    ]
)

# On how many documents exactly which models are right (Zahavy et al. 2016, Figure 3).
QUADRANTS = pa.schema(
    [
        _MODELS,
        column("split", pa.string(), "train, valid or test"),
        column("label", pa.string(), "documents of this label; null = all"),
        column("right", pa.list_(pa.string()), "those of the models that are right, and no other"),
        column("n", pa.int64(), "how many documents"),
    ]
)

# What asking a second model on some documents alone is worth.
CALL_RATES = pa.schema(
    [
        column("model", pa.string(), "name of the decision in the configuration"),
        _MODELS,
        column("split", pa.string(), "train, valid or test"),
        column("by", pa.string(), "policy: by the decision's wish; confidence: by the doubt of the first model"),
        column("rate", pa.float64(), "share of documents that the second model decides, those most wished for"),
        column("accuracy", pa.float64(), _RATE),
        column("n", pa.int64(), "labelled documents"),
        column("spared", pa.list_(pa.string()), "stages not needed for the other documents; none: all are looked at"),
    ]
)

CALIBRATION = pa.schema(
    [
        column("model", pa.string(), "name of the model in the configuration"),
        column("split", pa.string(), "train, valid or test; valid: the half that did not choose the temperature"),
        column("n", pa.int64(), "labelled documents that the model can read"),
        column("temperature", pa.float64(), "what logits are divided by: the likeliest on the other half of valid"),
        column("ece_before", pa.float64(), "expected calibration error of the best label's probability, 0..1"),
        column("ece_after", pa.float64(), "the same at the temperature"),
    ]
)
