"""The words nearest to the visual tokens of a classifier that is not kept (Kiela 2018, Table 5; K-37)."""

import numpy as np
import pyarrow as pa

from fuseline.models.columns import CODEWORDS, Codes, token_text
from fuseline.models.fasttext.classifier import FastTextClassifier
from fuseline.models.features import Features
from fuseline.models.neighbours import nearest
from fuseline.models.token_vectors import token_vectors, vocabulary
from fuseline.stores.schemas import TOKENS
from fuseline.tasks.evaluation.token_dictionary import TokensConfig, nearest_words


def visual_words(
    classifier: FastTextClassifier, train: Features, *, model: str, parts: int, repeated: bool, options: TokensConfig
) -> pa.Table:
    """Return TOKENS of every visual token that a training document holds, without documents and thumbnails.

    Args:
        classifier: one that reads codes.
        train: the documents that it was fitted on.
        model: its name.
        parts: of the codebook.
        repeated: whether a token's name includes its repeat.
        options: how many words there are, and which may be.
    """
    (codebook,) = (column.name for column in classifier.inputs(classifier.config) if column.kind is Codes)
    M = classifier.sizes[codebook].width
    owned = np.zeros(M * CODEWORDS, np.int64)
    for block in train.blocks():
        codes = block.column(codebook, Codes)
        tokens = codes.values[codes.present] + CODEWORDS * np.arange(M)
        owned += np.bincount(tokens.ravel(), minlength=len(owned))
    learned = np.flatnonzero(owned)
    known = vocabulary(classifier, min_count=options.min_count, most=options.vocabulary)
    if not len(learned) or not known.words:
        return TOKENS.empty_table()
    neighbours = nearest(token_vectors(classifier)[learned], known.vectors, k=min(options.words, len(known.words)))
    rows: list[dict[str, object]] = []
    for row, token in enumerate(learned.tolist()):
        repeat, part = divmod(token // CODEWORDS, parts)
        fixed = {"model": model, "repeat": repeat, "part": part, "centroid": token % CODEWORDS}
        text = token_text(token, parts=parts, repeated=repeated)
        described = {"token": text, "n_train": int(owned[token]), "documents": [], "thumbnails": []}
        rows.append({**fixed, **described, **nearest_words(row, neighbours, known)})
    return pa.Table.from_pylist(rows, schema=TOKENS)
