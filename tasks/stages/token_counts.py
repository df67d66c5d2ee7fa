"""How many documents of a shard have each visual token, how well they are quantized, and which represent it best."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.models.columns import CODEWORDS, Codes, Dense
from fuseline.models.config import FrozenConfig
from fuseline.stores.dataset import check_ids
from fuseline.tasks.engine.nodes import Context, Ingest, Read, ShardStage
from fuseline.tasks.stages.quantize import QuantizeConfig, load_codebook


class TokenCountsConfig(FrozenConfig):
    """Options of the token counts."""

    quantizer: str
    representatives: int  # documents kept per token


def count_tokens(tables: list[pa.Table], config: TokenCountsConfig, context: Context) -> pa.Table:
    """Return one TOKEN_COUNTS row per token that usable documents of the shard have, ordered by token.

    Args:
        tables: codes, documents (split, status) and embeddings of one shard.
        config: which quantizer, how many representatives.
        context: where the codebook is saved.
    """
    coded, documents, embedded = tables
    for other in (documents, embedded):
        check_ids("token_counts", coded["id"], other["id"])
    (saved,) = context.checkpoints.values()
    quantized = Codes.of(coded, "codes")
    rows = np.flatnonzero(quantized.present & np.asarray(pc.equal(documents["status"], "ok")))
    codes, X = quantized.values[rows], Dense.of(embedded, "embedding").values[rows]
    tokens = (codes + CODEWORDS * np.arange(codes.shape[1])).reshape(-1)
    distances = load_codebook(config.quantizer, saved).part_errors(X, codes).reshape(-1)
    trained = np.asarray(pc.fill_null(pc.equal(documents["split"], "train"), False))[rows]
    errors = np.asarray(coded["error"].combine_chunks().take(pa.array(rows)), np.float64)
    return _token_counts(
        tokens, distances, coded["id"].combine_chunks().take(pa.array(rows)), trained, errors, config.representatives
    )


def representative_rows(tokens: NDArray[np.int64], distances: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Return up to `most` rows (k,) per token with the smallest distances, ordered by token, then distance.

    Of rows with one token and equal distance, which are copies of one picture, only the first counts.
    """
    order = np.lexsort((distances, tokens))
    token, distance = tokens[order], distances[order]
    same = np.zeros(len(order), np.bool_)
    same[1:] = (token[1:] == token[:-1]) & (distance[1:] == distance[:-1])
    order, token = order[~same], token[~same]
    place = np.arange(len(token)) - np.searchsorted(token, token)
    return np.asarray(order[place < most])


def _token_counts(
    tokens: NDArray[np.int64],
    distances: NDArray[np.float32],
    ids: pa.Array,
    trained: NDArray[np.bool_],
    errors: NDArray[np.float64],
    most: int,
) -> pa.Table:
    """Count tokens (n * M,) of documents ids, trained, errors (n,)."""
    document = np.arange(len(tokens)) // max(1, len(tokens) // max(1, len(ids)))
    learned, error = trained[document], errors[document]
    counts = np.bincount(tokens)
    used = np.flatnonzero(counts)
    chosen = representative_rows(tokens, distances, most)
    offsets = np.searchsorted(tokens[chosen], [*used, CODEWORDS * CODEWORDS]).astype(np.int32)
    representatives = pa.StructArray.from_arrays(
        [ids.take(pa.array(document[chosen])), pa.array(distances[chosen])], ["id", "distance"]
    )
    columns = [
        used,
        counts[used],
        np.bincount(tokens[learned], minlength=len(counts))[used],
        np.bincount(tokens, weights=error)[used],
        np.bincount(tokens[learned], weights=error[learned], minlength=len(counts))[used],
        pa.ListArray.from_arrays(pa.array(offsets), representatives),
    ]
    return pa.table(columns, schema=TOKEN_COUNTS)


TOKEN_COUNTS = pa.schema(
    [
        ("token", pa.int64()),  # 256 x place + codeword
        ("n", pa.int64()),  # documents
        ("n_train", pa.int64()),  # of the train split
        ("error", pa.float64()),  # squared quantisation error of the documents' whole vectors, summed
        ("error_train", pa.float64()),
        (
            "representatives",
            pa.list_(pa.struct([("id", pa.string()), ("distance", pa.float32())])),
        ),  # nearest to the centroid
    ]
)


def stage(
    name: str, spec: QuantizeConfig, codes: ShardStage, documents: Ingest, embedded: ShardStage, *, representatives: int
) -> ShardStage:
    """Return the node that counts the visual tokens of codes, with so many representatives of each."""
    return ShardStage(
        role="token_counts", short=name, flow="quantize", main=False, version=1, fits=codes.fits,
        transform=count_tokens, by_row=False,
        config=TokenCountsConfig(quantizer=spec.quantizer, representatives=representatives),
        reads=(
            Read(codes, ("present", "codes", "error")), Read(documents, ("status", "split")),
            Read(embedded, ("present", "embedding")),
        ),
    )  # fmt: skip
