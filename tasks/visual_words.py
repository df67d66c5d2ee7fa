"""The words nearest to the visual tokens of a classifier (Kiela 2018, Table 5; K-37)."""

import numpy as np
import pyarrow as pa

from models.fasttext.classifier import CODEWORDS, FastTextClassifier
from models.fasttext.dictionary import EOS
from models.features import Features
from models.neighbours import nearest

WORDS = 5

NEIGHBOURS = pa.schema(
    [
        ("token", pa.string()),  # as the paper writes it: _q-_{position}_{code}
        ("position", pa.int32()),  # of the code in a document's codes
        ("code", pa.int32()),
        ("documents", pa.int64()),  # training documents that hold it
        ("coherence", pa.float32()),  # mean cosine between its nearest words
        ("rank", pa.int32()),  # 1 = nearest
        ("word", pa.string()),
        ("cosine", pa.float32()),
    ]
)


def visual_words(classifier: object, train: Features) -> pa.Table | None:
    """Return NEIGHBOURS of every visual token that a training document holds; None for a classifier without.

    Tokens that no document holds were never trained: they are left out.
    """
    if not isinstance(classifier, FastTextClassifier) or not classifier.inputs.codes:
        return None
    ((name, (M, _)),) = classifier.inputs.codes.items()
    counts = np.zeros(M * CODEWORDS, np.int64)
    for block in train.blocks():
        codes = block.codes[name][block.present[name]].astype(np.int64) + CODEWORDS * np.arange(M)
        counts += np.bincount(codes.ravel(), minlength=len(counts))
    used, words = np.flatnonzero(counts), classifier.dictionary.words()
    spoken = np.array([i for i, word in enumerate(words) if word != EOS.decode()], np.int64)
    k = min(WORDS, len(spoken))
    if not len(used) or not k:
        return NEIGHBOURS.empty_table()
    H, base = classifier.config.dim, classifier.dictionary.rows
    found = nearest(classifier.params.U[base + used, :H], classifier.params.U[spoken, :H], k=k)
    position, code = np.divmod(np.repeat(used, k), CODEWORDS)
    columns = {
        "token": [f"_q-_{m}_{c}" for m, c in zip(position.tolist(), code.tolist(), strict=True)],
        "position": position,
        "code": code,
        "documents": np.repeat(counts[used], k),
        "coherence": np.repeat(found.coherence, k),
        "rank": np.tile(np.arange(1, k + 1), len(used)),
        "word": np.array(words, object)[spoken[found.rows.ravel()]],
        "cosine": found.cosine.ravel(),
    }
    return pa.table(columns).cast(NEIGHBOURS)
