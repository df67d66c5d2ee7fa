"""The tabular stage: training rows alone are fitted, every row is encoded."""

import numpy as np
import pyarrow as pa
import pytest

from stores.schemas import embedding
from tasks.tabular import TabularEmbedConfig, embed_tabular, fit_tabular


def test_only_training_rows_are_looked_at() -> None:
    shards = [
        pa.table({"id": ["a", "b"], "split": ["train", "test"], "num_x": [0.0, 100.0], "cat_y": ["p", "q"]}),
        pa.table({"id": ["c", "d"], "split": ["train", "valid"], "num_x": [10.0, -5.0], "cat_y": ["p", None]}),
        pa.table({"id": ["e"], "split": ["test"], "num_x": pa.array([None], pa.float64()), "cat_y": ["q"]}),
    ]
    config = TabularEmbedConfig(flag_missing=False)
    encoder = fit_tabular(shards, config, seed=0)
    assert encoder.names() == ["cat_y=p", "num_x"]
    tables = [embed_tabular(shard, config, encoder=encoder) for shard in shards]
    assert tables[0].schema == embedding(2, pa.float32())
    assert [table["embedding"].to_pylist() for table in tables] == [[[1, 0], [0, 1]], [[1, 1], [0, 0]], [[0, 0]]]
    assert tables[2]["status"].to_pylist() == ["missing"]
    assert tables[2]["present"].to_pylist() == [False]


def test_half_precision_and_nothing_at_all() -> None:
    config = TabularEmbedConfig(dtype="float16")
    table = pa.table({"id": ["a"], "split": ["train"], "num_x": [3.0]})
    encoder = fit_tabular([table], config, seed=0)
    assert embed_tabular(table, config, encoder=encoder).schema == embedding(2, pa.float16())
    empty = embed_tabular(table.slice(0, 0), config, encoder=encoder)
    assert empty.num_rows == 0
    with pytest.raises(ValueError, match="bins"):
        TabularEmbedConfig(bins=1)
    assert np.isfinite(encoder.encode(table)[0]).all()
