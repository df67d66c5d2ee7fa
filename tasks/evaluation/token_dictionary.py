"""What visual tokens mean to a classifier: nearest words, documents that own them, thumbnails (Kiela 2018, Table 5)."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.columns import CODEWORDS, Codes, token_text
from fuseline.models.config import FrozenConfig
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.features import inputs_of
from fuseline.models.neighbours import Neighbours, nearest
from fuseline.models.registry import MODELS
from fuseline.models.threads import thread_limit
from fuseline.models.token_vectors import FrequentWords, token_vectors, vocabulary
from fuseline.stores.schemas import TOKENS, WORDS
from fuseline.tasks.engine.images import ImageLimits, image_digests
from fuseline.tasks.engine.nodes import Context, Fit, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.gallery import thumbnail
from fuseline.tasks.stages.predict import load_classifier
from fuseline.tasks.stages.quantize import QuantizeConfig
from fuseline.tasks.stages.token_counts import representative_rows

ROLE = "tokens"
TABLES = ("tokens", "words")


class TokensConfig(FrozenConfig):
    """What the dictionary of visual tokens holds."""

    words: int = Field(5, ge=1, le=50, description="Nearest words per token, and nearest tokens per word")
    min_count: int = Field(5, ge=1, description="Words that came less often in training are left out")
    vocabulary: int = Field(20_000, ge=1, description="Words at most, the most frequent first")
    documents: int = Field(3, ge=0, le=16, description="Representative documents per token")
    pictured: int = Field(256, ge=0, description="Tokens whose documents are shown as thumbnails, the clearest first")
    side: int = Field(64, ge=16, le=256, description="Pixels of a thumbnail's longer side")


class DictionaryConfig(FrozenConfig):
    """The tokens of one classifier."""

    model: str
    kind: str
    parts: int  # of the codebook
    repeated: bool  # whether a token's name includes its repeat
    tokens: TokensConfig


def has_tokens(kind: str) -> bool:
    """Return whether a model's words and visual tokens lie in one space."""
    classifier = MODELS[kind]
    reads = any(column.kind is Codes for column in inputs_of(classifier, classifier.Config()))
    return reads and issubclass(classifier, FastTextClassifier)


def describe_tokens(shards: Shards, config: DictionaryConfig, context: Context) -> dict[str, pa.Table]:
    """Return TOKENS and WORDS rows of one classifier.

    Every token that a document owns has a row; one that no training document had was not learned and has no words.
    """
    (saved,) = context.checkpoints.values()
    classifier: Any = load_classifier(config.kind, saved)
    vectors, options = token_vectors(classifier), config.tokens
    token_counts = TokenCounts(len(vectors), options.documents)
    for counted, _ in shards():
        token_counts.add(counted)
    known = vocabulary(classifier, min_count=options.min_count, most=options.vocabulary)
    used, learned = np.flatnonzero(token_counts.n), np.flatnonzero(token_counts.n_train)
    neighbours = _nearest(vectors[learned], known.vectors, options.words)
    rows = [_row(token, token_counts, config) for token in used]
    place = {int(token): row for row, token in enumerate(learned)}
    for row, token in zip(rows, used, strict=True):
        if neighbours is not None and int(token) in place:
            row |= nearest_words(place[int(token)], neighbours, known)
    clear = sorted((row for row in rows if row["clarity"] is not None), key=lambda row: -row["clarity"])
    _picture(clear[: options.pictured], shards, source=context.source, side=options.side)
    return {
        "tokens": pa.Table.from_pylist(rows, schema=TOKENS),
        "words": _words_table(known, _nearest(known.vectors, vectors[learned], options.words), learned, config),
    }


class TokenCounts:
    """The documents of `size` tokens over all shards: how many, and up to `most` representatives of each."""

    def __init__(self, size: int, most: int) -> None:
        self.most = most
        self.n, self.n_train = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._tokens, self._distances = np.zeros(0, np.int64), np.zeros(0, np.float32)
        self._ids: pa.Array = pa.array([], pa.string())

    def add(self, token_counts: pa.Table) -> None:
        """Add the TOKEN_COUNTS rows of one shard."""
        tokens = token_counts["token"].to_numpy()
        self.n[tokens] += token_counts["n"].to_numpy()
        self.n_train[tokens] += token_counts["n_train"].to_numpy()
        lists = token_counts["representatives"].combine_chunks()
        flat = pc.list_flatten(lists)
        token = np.concatenate([self._tokens, tokens[pc.list_parent_indices(lists).to_numpy()]])
        distance = np.concatenate([self._distances, flat.field("distance").to_numpy()])
        kept = representative_rows(token, distance, self.most)
        self._tokens, self._distances = token[kept], distance[kept]
        self._ids = pa.concat_arrays([self._ids, flat.field("id")]).take(pa.array(kept))

    def representatives(self, token: int) -> list[dict[str, Any]]:
        """Return the representatives of a token, as (id, distance)."""
        lo, hi = np.searchsorted(self._tokens, [token, token + 1])
        return [
            {"id": i, "distance": float(d)}
            for i, d in zip(self._ids[lo:hi].to_pylist(), self._distances[lo:hi], strict=True)
        ]


def with_pictures(tokens: pa.Table, shards: Shards, *, parts: int, documents: int, source: str, side: int) -> pa.Table:
    """Return TOKENS rows of one model with the documents that own each token, and their thumbnails.

    Args:
        tokens: rows without documents.
        shards: TOKEN_COUNTS and documents of every shard.
        parts: of the codebook.
        documents: representatives per token.
        source: where image references start.
        side: pixels of a thumbnail's longer side.
    """
    rows = tokens.to_pylist()
    numbers = [(row["repeat"] * parts + row["part"]) * CODEWORDS + row["centroid"] for row in rows]
    counts = TokenCounts(max(numbers, default=0) + 1, documents)
    for counted, _ in shards():
        counts.add(counted.filter(pc.less(counted["token"], len(counts.n))))
    for row, token in zip(rows, numbers, strict=True):
        row |= {"n_documents": int(counts.n[token]), "documents": counts.representatives(token)}
    _picture(rows, shards, source=source, side=side)
    return pa.Table.from_pylist(rows, schema=TOKENS)


def _nearest(queries: Any, keys: Any, k: int) -> Neighbours | None:
    """Return the up to k nearest keys; None when there is no key at all."""
    return nearest(queries, keys, k=min(k, len(keys))) if len(keys) else None


def _row(token: np.int64, token_counts: TokenCounts, config: DictionaryConfig) -> dict[str, Any]:
    repeat, part = divmod(int(token) // CODEWORDS, config.parts)
    return {
        "model": config.model,
        "repeat": repeat,
        "part": part,
        "centroid": int(token) % CODEWORDS,
        "token": token_text(int(token), parts=config.parts, repeated=config.repeated),
        "n_documents": int(token_counts.n[token]),
        "n_train": int(token_counts.n_train[token]),
        "words": [],
        "coherence": None,
        "clarity": None,
        "documents": token_counts.representatives(int(token)),
        "thumbnails": [],
    }


def nearest_words(row: int, neighbours: Neighbours, known: FrequentWords) -> dict[str, Any]:
    """Return words, coherence and clarity (see TOKENS) of the token that is query `row` of `neighbours`."""
    pairs = zip(neighbours.rows[row], neighbours.cosine[row].tolist(), strict=True)
    coherence = float(neighbours.coherence[row])
    return {
        "words": [{"word": known.words[i], "cosine": cosine} for i, cosine in pairs],
        "coherence": coherence,
        "clarity": coherence * float(neighbours.cosine[row].mean()),
    }


def _words_table(
    known: FrequentWords, neighbours: Neighbours | None, learned: NDArray[np.int64], config: DictionaryConfig
) -> pa.Table:
    """Return one WORDS row per word: the learned tokens nearest to it."""
    names = [token_text(int(token), parts=config.parts, repeated=config.repeated) for token in learned]
    rows = []
    for row, (word, count) in enumerate(zip(known.words, known.counts.tolist(), strict=True)):
        pairs = [] if neighbours is None else zip(neighbours.rows[row], neighbours.cosine[row].tolist(), strict=True)
        tokens = [{"token": names[i], "cosine": cosine} for i, cosine in pairs]
        rows.append({"model": config.model, "word": word, "count": count, "tokens": tokens})
    return pa.Table.from_pylist(rows, schema=WORDS)


def _picture(rows: list[dict[str, Any]], shards: Shards, *, source: str, side: int) -> None:
    """Give rows the thumbnails of their documents, each picture read once; null where it cannot be used."""
    wanted = {document["id"] for row in rows for document in row["documents"]}
    limits, pictures = ImageLimits(), dict[str, bytes | None]()

    def pictured(document: tuple[str, object, str | None]) -> tuple[str, bytes | None]:
        name, image, digest = document
        return name, thumbnail(image, source, limits=limits, side=side, digest=digest)

    with ThreadPoolExecutor(thread_limit()) as threads:
        for _, documents in shards() if wanted else ():
            pictures |= threads.map(pictured, _images(documents, wanted))
    for row in rows:
        row["thumbnails"] = [pictures.get(document["id"]) for document in row["documents"]]


def _images(documents: pa.Table, wanted: set[str]) -> Iterable[tuple[str, object, str | None]]:
    chosen = documents.filter(pc.is_in(documents["id"], pa.array(sorted(wanted), pa.string())))
    columns = (chosen["id"], chosen["image"], image_digests(chosen))
    return zip(*(column.to_pylist() for column in columns), strict=True)


def stage(
    name: str, kind: str, fit: Fit, token_counts: Mapping[str, ShardStage], codebooks: Mapping[str, QuantizeConfig],
    documents: Ingest, tokens: TokensConfig,
) -> Summary:  # fmt: skip
    """Return the node of what a model's visual tokens mean.

    Args:
        name: of the model.
        kind: of the model, one that `has_tokens`.
        fit: the model.
        token_counts: who has the tokens, by codebook.
        codebooks: their configurations.
        documents: which have the images.
        tokens: options of the tokens shown.
    """
    features = ((read.node.short, read.node.feature) for read in fit.reads)
    (book,) = (short for short, feature in features if feature is not None and feature.kind is Codes)
    parts, repeated = codebooks[book].token_names()
    counts = Read(token_counts[book], ("token", "n", "n_train", "representatives"))
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=2, tables=TABLES, fits=(fit,),
        config=DictionaryConfig(model=name, kind=kind, parts=parts, repeated=repeated, tokens=tokens),
        reads=(counts, Read(documents, ("image",), ("image_digest",))), summarise=describe_tokens,
    )  # fmt: skip
