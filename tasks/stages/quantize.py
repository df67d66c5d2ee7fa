"""Embeddings -> visual tokens: one fitted codebook, one stage that encodes shards with it."""

from typing import cast

import pyarrow as pa
from pydantic import Field, model_validator

from fuseline.models.columns import Codes, Dense
from fuseline.models.config import FrozenConfig, key_values, runtime_option
from fuseline.models.dense import usable
from fuseline.models.features import Features, embedding_name
from fuseline.models.quantizers import QUANTIZERS, Quantizer
from fuseline.models.quantizers.base import QuantizerOptions
from fuseline.models.quantizers.drift import DriftConfig
from fuseline.models.quantizers.reservoir import Reservoir
from fuseline.plain import JsonObject
from fuseline.stores.fitted import SavedCheckpoint
from fuseline.stores.schemas import codes
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Feature, Fit, FitResult, Ingest, Read, ShardStage
from fuseline.tasks.options import parse_options


class QuantizeConfig(FrozenConfig):
    """One codebook over one embedding."""

    quantizer: str = Field("pq", description="Name of a quantizer; `fuseline list quantizers` shows them")
    embedding: str = Field("image", description="Name of the embedding in `embed` to quantize")
    options: dict[str, object] = Field({}, description="Options of the quantizer")
    seed: int = Field(0, description="Seed of all random draws")
    drift: DriftConfig = runtime_option(DriftConfig(), description="From when on new data ask for another codebook")

    @model_validator(mode="after")
    def _check(self) -> "QuantizeConfig":
        if self.quantizer not in QUANTIZERS:
            raise ValueError(f"quantizer: expected one of {sorted(QUANTIZERS)}, got {self.quantizer!r}")
        self.parsed()
        return self

    def parsed(self) -> FrozenConfig:
        """Return the options as the quantizer's own type."""
        return parse_options(QUANTIZERS[self.quantizer].Config, self.options)

    def token_names(self) -> tuple[int, bool]:
        """Return how many parts a token's name counts, and whether it tells the repeat too."""
        options = cast(QuantizerOptions, self.parsed())
        return options.parts, QUANTIZERS[self.quantizer].repeated


def fit_codebook(train: Features, valid: Features, config: QuantizeConfig, context: Context) -> FitResult:
    """Fit a codebook on the usable vectors of the training rows, or on a seeded sample of them when there are many.

    A vector that is missing, not finite or (with unit) zero teaches nothing and takes no place in the sample.
    """
    parsed = config.parsed()
    options = cast(QuantizerOptions, parsed)
    sample = Reservoir(min(options.sample, max(1, train.n_rows)), seed=config.seed)
    for block in train.blocks():
        column = block.column(embedding_name(config.embedding), Dense)
        sample.add(column.values[usable(column.values, column.present, unit=options.unit)])
    quantizer = QUANTIZERS[config.quantizer](parsed).fit(sample.rows(), seed=config.seed)
    facts: JsonObject = {
        "train_error": quantizer.train_error,
        "tokens": quantizer.tokens,
        "vectors": len(sample.rows()),
        "usable": sample.count,
    }
    return quantizer.save, train.n_rows, facts


def encode(tables: list[pa.Table], config: QuantizeConfig, context: Context) -> pa.Table:
    """Return the codes (n, M) uint8 of one shard of embeddings, with the frozen codebook."""
    (table,) = tables
    (saved,) = context.checkpoints.values()
    quantizer = load_codebook(config.quantizer, saved)
    embeddings = Dense.of(table, "embedding")
    quantized = quantizer.encode(embeddings.values, embeddings.present)
    errors = pa.array(quantizer.errors(embeddings.values, quantized.codes), pa.float32(), mask=~quantized.present)
    matrix = pa.FixedSizeListArray.from_arrays(pa.array(quantized.codes.reshape(-1)), quantizer.tokens)
    values = [table["id"], table["status"], pa.array(quantized.present), matrix, errors]
    return pa.table(values, schema=codes(quantizer.tokens))


def load_codebook(name: str, saved: SavedCheckpoint) -> Quantizer:
    """Load a codebook once per process; raises DataError."""
    book: Quantizer = loaded(QUANTIZERS[name].load, saved)
    return book


def stage(name: str, spec: QuantizeConfig, documents: Ingest, embedded: ShardStage) -> ShardStage:
    """Return the node of the codes of an embedding; it is fitted by a codebook, and that by what fits the embedding."""
    # Every default written out, so that a changed default changes the key.
    filled = spec.model_copy(update={"options": key_values(spec.parsed())})
    book = Fit(
        role="codebooks", short=name, flow="quantize", main=False, version=2, config=filled, fit=fit_codebook,
        reads=(Read(documents, ("split",)), Read(embedded, ("present", "embedding"))), fits=embedded.fits,
    )  # fmt: skip
    return ShardStage(
        role="quantize", short=name, flow="quantize", version=1, config=filled, transform=encode, fits=(book,),
        reads=(Read(embedded, ("present", "embedding", "status")),),
        feature=Feature(Codes, "codes", "" if embedded.feature is None else embedded.feature.modality),
    )  # fmt: skip
