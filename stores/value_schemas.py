"""Arrow schemas of estimates of numbers, and of how far these lie from the truth."""

import pyarrow as pa

from fuseline.stores.schemas import column

ESTIMATES = pa.schema(
    [
        column("id", pa.string(), "the document's id, unique in its source", nullable=False),
        column("model", pa.string(), "name of the regression in the configuration", nullable=False),
        column("target", pa.float64(), "the document's own number, in the source's unit; null where it has none"),
        column("estimate", pa.float64(), "what the model estimates, in the same unit; null without input"),
        column("status", pa.string(), "ok, or no_input: nothing that the model reads", nullable=False),
    ]
)

ERRORS = pa.schema(
    [
        column("model", pa.string(), "name of the regression in the configuration"),
        column("target", pa.string(), "column of the documents that is estimated, such as num_price"),
        column("split", pa.string(), "train, valid or test"),
        column("scale", pa.string(), "unit: numbers as the source has them; log: of log(1 + number)"),
        column("n", pa.int64(), "documents that have the number and an input"),
        column("mae", pa.float64(), "mean absolute error on this scale"),
        column("rmse", pa.float64(), "root of the mean squared error on this scale"),
        column("r2", pa.float64(), "1 - squared errors / those of the mean: 1 = exact; null of equal numbers"),
        column("constant_mae", pa.float64(), "mean absolute error of the training mean (of what is learnt) for all"),
        column("no_input", pa.int64(), "documents that have the number and nothing that the model reads: left out"),
    ]
)
