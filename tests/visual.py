"""A small DAG with a codebook: documents whose title is their vector, down to the predictions of a pq classifier."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fuseline.models.columns import Codes, Dense, Text
from fuseline.models.config import FrozenConfig
from fuseline.models.quantizers.drift import DriftConfig
from fuseline.stores.schemas import embedding
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import SplitConfig
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.nodes import Context, Feature, Fit, Ingest, Read, ShardStage, Summary
from fuseline.tasks.stages.codebook_drift import MeasureConfig, measure_drift
from fuseline.tasks.stages.predict import PredictConfig, predict
from fuseline.tasks.stages.quantize import QuantizeConfig, encode, fit_codebook
from fuseline.tasks.stages.token_counts import TokenCountsConfig, count_tokens
from fuseline.tasks.stages.train import ModelConfig, fit_classifier, train_config

DIM = 4


class Nothing(FrozenConfig):
    pass


class Visual(NamedTuple):
    """documents -> clean, embed -> codebook -> codes -> token counts -> drift; clean, codes -> model -> predictions."""

    documents: Ingest
    clean: ShardStage
    embed: ShardStage
    codebook: Fit
    codes: ShardStage
    token_counts: ShardStage
    drift: Summary
    model: Fit
    predictions: ShardStage


def clean(tables: list[pa.Table], config: Nothing, context: Context) -> pa.Table:
    return pa.table({"id": tables[0]["id"], "status": tables[0]["status"], "text": tables[0]["text"]})


def embed(tables: list[pa.Table], config: Nothing, context: Context) -> pa.Table:
    """Read the vector from the title; without one it is missing."""
    rows = [json.loads(title) if title else None for title in tables[0]["title"].to_pylist()]
    values = np.array([row or [0.0] * DIM for row in rows], np.float32).reshape(len(rows), DIM)
    present = [row is not None for row in rows]
    status = ["ok" if there else "missing" for there in present]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), DIM)
    return pa.table([tables[0]["id"], status, present, vectors], schema=embedding(DIM, pa.float32()))


def visual(source: Path, *, quantizer: str = "pq", shard_size: int = 20, **options: Any) -> Visual:
    """Return the nodes; `options` are those of the quantizer."""
    where, split = SourceConfig(path=str(source)), SplitConfig(valid=0, test=0)
    documents = ingest_stage("x", where, shard_size=shard_size, split=split)
    cleaned = ShardStage(
        role="clean", short="text", flow="clean", version=1, config=Nothing(), transform=clean,
        feature=Feature(Text, "text", "text"),
        reads=(Read(documents, ("text", "status")),),
    )  # fmt: skip
    vectors = ShardStage(
        role="embed", short="image", flow="embed", version=1, config=Nothing(), transform=embed, layout="zarr",
        feature=Feature(Dense, "embedding", "image"),
        reads=(Read(documents, ("title",)),),
    )  # fmt: skip
    spec = QuantizeConfig(quantizer=quantizer, options={"parts": 2, "codewords": 4, "unit": False, **options})
    book = Fit(
        role="codebooks", short="q", flow="quantize", main=False, version=1, config=spec, fit=fit_codebook,
        reads=(Read(documents, ("split",)), Read(vectors, ("present", "embedding"))),
    )  # fmt: skip
    codes = ShardStage(
        role="quantize", short="q", flow="quantize", version=1, config=spec, transform=encode, fits=(book,),
        feature=Feature(Codes, "codes", "image"),
        reads=(Read(vectors, ("present", "embedding", "status")),),
    )  # fmt: skip
    token_counts = ShardStage(
        role="token_counts", short="q", flow="quantize", main=False, version=1, by_row=False, transform=count_tokens,
        fits=(book,),
        config=TokenCountsConfig(quantizer=quantizer, representatives=2),
        reads=(
            Read(codes, ("present", "codes", "error")), Read(documents, ("status", "split")),
            Read(vectors, ("present", "embedding")),
        ),
    )  # fmt: skip
    thresholds = DriftConfig(rows=10, held_out=5)
    drift = Summary(
        role="drift", short="q", flow="quantize", main=False, version=1, fits=(book,), compares=book,
        summarise=measure_drift,
        tables=("drift",),
        config=MeasureConfig(codebook="q", quantizer=quantizer, thresholds=thresholds),
        reads=(Read(token_counts, ("token", "n", "n_train", "error", "error_train")),),
    )  # fmt: skip
    reads = (Read(cleaned, ("text",)), Read(codes, ("present", "codes")))
    chosen = ModelConfig(kind=quantizer, options={"codes": "q", "dim": 8, "epochs": 20, "lr": 0.5, "threads": 1})
    model = Fit(
        role="models", short="m", flow="train", version=1, config=train_config(chosen), fit=fit_classifier,
        fits=(book,),
        reads=(Read(documents, ("split", "labels")), *reads),
    )  # fmt: skip
    scored = PredictConfig(model="m", kind=quantizer, top_k=2)
    predictions = ShardStage(
        role="predictions", short="m", flow="predict", version=1, config=scored, transform=predict, fits=(model,),
        reads=(Read(documents, ("labels",)), *reads),
    )  # fmt: skip
    return Visual(documents, cleaned, vectors, book, codes, token_counts, drift, model, predictions)


def pictures(n: int, *, start: int = 0, spread: float = 0.1, shift: float = 0.0) -> list[dict[str, Any]]:
    """Return n documents of two classes, whose words and vectors both tell them apart; every tenth lacks a vector."""
    rows = []
    for i in range(start, start + n):
        rng = np.random.default_rng(i)
        vector = (rng.normal(size=DIM) * spread + (1 if i % 2 else -1) + shift).round(4).tolist()
        words = ["cat", "fur"] if i % 2 else ["car", "wheel"]
        rows.append(
            {
                "id": f"d{i}",
                "title": None if i % 10 == 3 else json.dumps(vector),
                "text": " ".join([*words, f"w{i % 3}"]),
                "labels": ["animal" if i % 2 else "vehicle"],
                "split": ("train", "train", "train", "valid", "test")[i // 2 % 5],
            }
        )
    return rows
