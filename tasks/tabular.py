"""Tabular columns -> embeddings: the tabular stage, and its fit."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.encoders.tabular import Tabular, TabularConfig
from stores.schemas import embedding
from tasks.embed import Dtype


class TabularEmbedConfig(TabularConfig):
    """How columns become one vector per document."""

    dtype: Dtype = "float32"


def fit_tabular(documents: Iterable[pa.Table], config: TabularEmbedConfig, *, seed: int) -> Tabular:
    """Return an encoder fitted on the rows whose `split` is "train"; tables come one shard at a time."""
    train = (table.filter(pc.equal(table["split"], "train")) for table in documents)
    plain = TabularConfig.model_validate(config.model_dump(exclude={"dtype"}))
    return Tabular.fit(train, plain, seed=seed)


def embed_tabular(documents: pa.Table, config: TabularEmbedConfig, *, encoder: Tabular) -> pa.Table:
    """Return vectors (n, dim) in the schema `embedding(dim, dtype)`; a document without a known value is missing.

    Absent documents hold zeros, the flags of missing values too.
    """
    vectors, present = encoder.encode(documents)
    vectors[~present] = 0.0
    flat = pa.array(vectors.astype(config.dtype).reshape(-1))
    columns = [
        documents["id"].combine_chunks().cast(pa.string()),
        pa.array(np.where(present, "ok", "missing").tolist(), pa.string()),
        pa.array(present),
        pa.FixedSizeListArray.from_arrays(flat, encoder.dim),
    ]
    return pa.Table.from_arrays(columns, schema=embedding(encoder.dim, pa.from_numpy_dtype(config.dtype)))
