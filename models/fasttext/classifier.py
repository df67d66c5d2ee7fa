"""The classifier that all models of Kiela 2018 are: a bag of tokens, perhaps an image, one fusion, one output loss."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Never, Self, cast

import numpy as np
from numpy.typing import NDArray

from fuseline.models.automatic import Chosen
from fuseline.models.checkpoint import Checkpoint, checked_number
from fuseline.models.classifier import BaseClassifier, Link, shares
from fuseline.models.columns import CODEWORDS, Codes, Column, Dense, Size
from fuseline.models.columns import Text as TextColumn
from fuseline.models.config import FrozenConfig
from fuseline.models.errors import TrainingError
from fuseline.models.fasttext import arrays, hogwild, pretrained
from fuseline.models.fasttext import corpus as corpora
from fuseline.models.fasttext.arrays import Chunk, Params, Spec, widened
from fuseline.models.fasttext.chunk_parts import sliced
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.corpus import Corpus, Reads, Shape
from fuseline.models.fasttext.dense_inputs import Scale
from fuseline.models.fasttext.dictionary import Dictionary, WordShape
from fuseline.models.fasttext.output_tables import frequency_loss, huffman, lookups, way
from fuseline.models.fasttext.ranked_leaves import RankedLeaves
from fuseline.models.fasttext.search import choose
from fuseline.models.fasttext.warm import warm_up
from fuseline.models.features import TEXT, Block, Features, Input, width
from fuseline.models.ranked import RankedClasses
from fuseline.plain import JsonObject, number

LINKS: dict[str, Link] = {"softmax": "softmax", "hs": "exp", "ova": "sigmoid", "ns": "sigmoid"}
LOSSES = {"softmax": arrays.SOFTMAX, "hs": arrays.HIERARCHICAL, "ns": arrays.NEGATIVE, "ova": arrays.ONE_VS_ALL}
POSITIVES = {"sample": arrays.SAMPLE, "average": arrays.AVERAGE}
SLICE = 2048  # documents predicted at a time
RESTARTS = 5  # at half the rate each, when the loss is not finite
LOG = logging.getLogger(__name__)

F32 = NDArray[np.float32]


class FastTextClassifier(BaseClassifier):
    """A classifier whose score is W z(t, v); subclasses name the fusion and what is read.

    `U` (tokens, H), `V` (H, D) and `W` (C, Z) lie in `params`, padded with zeros to whole groups of 8.
    """

    Config: ClassVar[type[FrozenConfig]] = FastTextConfig
    linear: ClassVar[bool] = True  # the score is a sum of one term per modality
    config: FastTextConfig
    seed: int
    dictionary: Dictionary
    label_counts: NDArray[np.int64]
    params: Params
    scale: Scale
    timing: dict[str, float]  # of this process's fit; never saved
    labelled: int  # documents that it was trained on; likewise, and of one against all alone

    def __init__(self, config: FastTextConfig | None = None) -> None:
        super().__init__(config)
        self.timing = {}

    # What subclasses decide.
    def fusion(self) -> int:
        """Return the fusion kind of `kernels`."""
        return arrays.SUM

    @classmethod
    def reads(cls, config: Never) -> Reads:
        """Return which columns of a block are read."""
        return Reads(TEXT)

    def alpha(self) -> float:
        """Return the weight of the visual-token bag beside the text bag (K-21)."""
        return 1.0

    # The Classifier protocol.
    @classmethod
    def inputs(cls, config: FastTextConfig) -> tuple[Input, ...]:
        """Return the columns that a classifier with this configuration reads."""
        reads = cls.reads(cast(Never, config))
        named: tuple[tuple[str | None, type[Column]], ...]
        named = (reads.text, TextColumn), *((name, Dense) for name in reads.dense), (reads.codes, Codes)
        return tuple(Input(name, kind) for name, kind in named if name is not None)

    @property
    def link(self) -> Link:
        """Log probabilities come of a tree, sigmoids of one against all and of negative sampling."""
        return LINKS[self.config.loss]

    @property
    def own_reads(self) -> Reads:
        """Which columns it reads with its configuration."""
        return self.reads(cast(Never, self.config))

    @property
    def uses_text(self) -> bool:
        """Whether words are read."""
        return self.own_reads.text is not None

    def fit(self, train: Features, valid: Features | None, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit on `train`; on `valid` tune the threshold when the task is multi-label. A fit cut short starts over.

        Raises ValueError when there is no label or nothing to read, TrainingError when the loss is not finite.
        """
        if self.config.pretrained_vectors is not None and self.uses_text:
            pretrained.check_dim(self.config.pretrained_vectors, self.config.dim)
        compiled = warm_up()
        begun = time.perf_counter()
        self.choose_options(train, valid)
        started = time.perf_counter()
        with corpora.encoding(train, self.own_reads, self.config) as corpus:
            encoded = time.perf_counter()
            self.fit_corpus(corpus, seed)
            trained = time.perf_counter() - encoded
            words = self.config.epochs * corpus.words
        self.facts |= self._searched()
        self.timing = {
            "compile_seconds": compiled,  # in none of the others
            "search_seconds": started - begun,
            "encode_seconds": encoded - started,
            "train_seconds": trained,
            "seconds": trained + encoded - started,
            "words_per_second": words / max(trained, 1e-9),
        }
        self._tune_threshold(valid)
        return self

    def _choice(self, train: Features, valid: Features | None) -> Chosen:
        return choose(type(self), self.config, train, valid)

    def predict_logits(self, block: Block) -> F32:
        """Return logits (n, C) float32; log probabilities under hierarchical softmax, zeros for an empty document."""
        return self.chunk_logits(self._encoded(block))

    def chunk_logits(self, chunk: Chunk) -> F32:
        """Return logits (n, C) of encoded documents."""
        from fuseline.models.fasttext.kernels import model as kernels

        out = np.zeros((len(chunk.has_image), len(self.labels)), np.float32)
        tree = huffman(self.label_counts) if self.config.loss == "hs" else None
        for lo in range(0, len(out), SLICE):
            part = sliced(chunk, lo, lo + SLICE)
            Z = self._hidden(part)[0]
            if tree is None:
                kernels.scores(self.params.W, Z, out[lo : lo + SLICE])
            else:
                nodes = np.zeros((len(Z), len(self.params.W)), np.float32)
                kernels.scores(self.params.W, Z, nodes)
                kernels.leaf_log_probabilities(nodes, tree.parent, tree.right, out[lo : lo + SLICE])
        return out

    def ranker(self) -> Callable[[Block], RankedClasses] | None:
        """Return what finds the first classes in the tree of hierarchical softmax; None under another loss."""
        if self.config.loss != "hs":
            return None
        tree = huffman(self.label_counts)

        def ranked(block: Block) -> RankedClasses:
            return RankedLeaves(self.params.W, self._hidden(self._encoded(block))[0], tree)

        return ranked

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return modality -> (n,) share |w.t| or |w.v| of the chosen class's score w.(t + v); {} if it is no such sum.

        Several dense inputs are told apart by their datasets, a single one is called image.
        Under hierarchical softmax the score is the sum of the signed margins on the way to the class.
        """
        if not self.linear:
            return {}
        chunk = self._encoded(block)
        _, T, A = self._hidden(chunk)
        rows = self._class_vectors(np.unique(chosen))[np.searchsorted(np.unique(chosen), chosen)]
        vectors = {"image": A} if width(self.sizes, Dense) or width(self.sizes, Codes) else {}
        dense = self.own_reads.dense
        if len(dense) > 1:
            parts = zip(dense, self.scale.columns, strict=True)
            vectors = {name: chunk.dense[:, columns] @ self.params.V[:, columns].T for name, columns in parts}
        if self.uses_text:
            vectors["text"] = T
        return shares({name: np.abs(np.einsum("nh,nh->n", rows, vector)) for name, vector in vectors.items()})

    def frequency_loss(self) -> float:
        return frequency_loss(self.label_counts, self.config.loss, documents=self.labelled, drawn=self.config.negatives)

    def _encoded(self, block: Block) -> Chunk:
        return corpora.encode(block, self.own_reads, self.dictionary, self._shape(), self.scale)

    def describe(self) -> JsonObject:
        """Return parameters, bytes per model and per document, multiply-adds per document, and training facts."""
        H, D, C = self.config.dim, self.params.V.shape[1], len(self.labels)
        hidden = H * H if self.fusion() >= arrays.BILINEAR else H
        tokens = width(self.sizes, Codes)
        parameters = len(self.params.U) * H + H * D + C * hidden
        words = number(self.facts["words_per_document"]) if self.uses_text else 0.0
        return {
            "parameters": parameters,
            "bytes": 4 * parameters,
            "bytes_per_document": 4 * D + tokens,
            "multiply_adds_per_document": round((words + tokens + D) * H + C * hidden),
            "vocabulary": len(self.dictionary.counts),
            **self.facts,
            **self.timing,
        }

    # The checkpoint.
    def _meta(self) -> JsonObject:
        return {**super()._meta(), "seed": self.seed}

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        words, H, Z = self.dictionary, self.config.dim, self._spec().dim
        width = Z * Z if self.fusion() >= arrays.BILINEAR else Z
        return {
            "U": self.params.U[:, :H],
            "V": self.params.V[:H],
            "W": self.params.W[:, :width],
            "label_counts": self.label_counts,
            "word_bytes": words.arena,
            "word_starts": words.starts,
            "word_counts": words.counts,
            **({} if words.idf is None else {"idf": words.idf}),
            **({} if self.scale.mean is None else {"mean": self.scale.mean}),
            **({} if self.scale.factor is None else {"factor": self.scale.factor}),
        }

    def _restore(self, saved: Checkpoint) -> None:
        self.seed = int(checked_number("seed", saved.meta["seed"]))
        H, C, D = self.config.dim, len(self.labels), width(self.sizes, Dense)
        Z = H * H if self.fusion() >= arrays.BILINEAR else H
        reads = self.own_reads
        self.scale = Scale(tuple(self.sizes[name].width for name in reads.dense), reads.length)
        if reads.dense and reads.scaling == "standard":
            mean, factor = (saved.array(name, np.float32, D) for name in ("mean", "factor"))
            self.scale = self.scale._replace(mean=mean, factor=factor)
        self.label_counts = saved.counts("label_counts", C)
        words = saved.array("word_bytes", np.uint8, None), saved.array("word_starts", np.int64, None)
        self.dictionary = Dictionary.of(*words, saved.counts("word_counts", None), **self._word_shape())
        if self.uses_text and self.config.weighting == "tfidf":
            self.dictionary = replace(self.dictionary, idf=saved.array("idf", np.float32, self.dictionary.rows))
        U = saved.array("U", np.float32, self.dictionary.rows + width(self.sizes, Codes) * CODEWORDS, H)
        V, W = saved.array("V", np.float32, H, D), saved.array("W", np.float32, C, Z)
        rows = hogwild.padded(H)
        self.params = Params(widened(U, len(U), rows), widened(V, rows, D), widened(W, C, hogwild.padded(Z)))

    # Inside.
    def fit_corpus(self, corpus: Corpus, seed: int, *, restarts: int = RESTARTS, level: int = logging.INFO) -> None:
        """Train on an encoded corpus; a loss that is not finite starts over at half the rate, so often at most."""
        if not corpus.labels:
            raise ValueError("training labels: expected at least one, got none; give labels, or predict with a model")
        self.seed, self.label_counts = seed, corpus.label_counts
        self._take_labels(corpus.labels, corpus.most_labels)
        self._refuse_large(len(corpus.labels))
        self.dictionary, shape = corpus.dictionary, corpus.shape
        self.labelled = corpus.labelled() if self.config.loss == "ova" else corpus.documents  # others need no count
        self.scale, dense = corpus.scale, iter(corpus.scale.widths)
        kinds: dict[type[Column], Callable[[], Size]] = {
            Dense: lambda: Size("dense", next(dense)),
            Codes: lambda: Size("codes", shape.tokens, CODEWORDS),
        }
        inputs = self.inputs(self.config)
        self.sizes = {one.name: kinds.get(one.kind, lambda: Size("text"))() for one in inputs}
        most = hogwild.EXPLODED * (1 + self.frequency_loss())
        paths, config, restarted = lookups(corpus.label_counts, self.config.loss), self.config, 0
        while True:
            self._start(corpus, seed)
            try:
                losses = hogwild.train(
                    self.params, self._spec(), paths, corpus, config=config, seed=seed, level=level, most=most
                )
                break
            except TrainingError as error:
                if restarted == restarts:
                    raise
                restarted += 1
                config = config.model_copy(update={"lr": config.lr / 2})
                LOG.warning("%s: %s; starting over with lr=%g", self.kind, error, config.lr)
        self.facts = {
            "epochs": self.config.epochs,
            "loss_per_epoch": losses,
            "documents": corpus.documents,
            "words_per_document": (corpus.words - corpus.documents) / max(1, corpus.documents),
        }
        if restarted:
            self.facts |= {"restarts": restarted, "lr": config.lr}

    def _start(self, corpus: Corpus, seed: int) -> None:
        """Draw the first weights."""
        self.params = hogwild.init_params(
            corpus.dictionary.rows + corpus.shape.tokens * CODEWORDS,
            corpus.shape.dim,
            len(corpus.labels),
            dim=self.config.dim,
            bilinear=self.fusion() >= arrays.BILINEAR,
            generator=np.random.default_rng([seed, 0]),
        )
        if self.config.pretrained_vectors is not None and self.uses_text:
            pretrained.fill(self.params.U, self.dictionary, self.config.pretrained_vectors, self.config.dim)

    def _refuse_large(self, C: int) -> None:
        H, limit = self.config.dim, self.config.weights_mb
        width = hogwild.padded(H * H if self.fusion() >= arrays.BILINEAR else H)
        copies = 2 if hogwild.group_size(self.config.loss, C, width) > 1 else 1
        got = (4 * copies * C * width >> 20) + 1
        if got > limit:
            cure = f"{C:,} classes of {width:,} weights: lower dim, keep fewer labels, or raise weights_mb"
            raise ValueError(f"weights_mb: expected at most {limit!r} for the class weights, got {got!r}; {cure}")

    def _spec(self) -> Spec:
        return Spec(
            fusion=self.fusion(),
            loss=LOSSES[self.config.loss],
            positives=POSITIVES[self.config.positives],
            dim=self.config.dim,
            code_base=self.dictionary.rows,
            codewords=CODEWORDS,
            alpha=self.alpha(),
            negatives=self.config.negatives,
            group=hogwild.group_size(self.config.loss, *self.params.W.shape),
            classes=len(self.labels),
        )

    def _word_shape(self) -> WordShape:
        return {
            "lowercase": self.config.lowercase,
            "word_ngrams": self.config.word_ngrams,
            "minn": self.config.minn,
            "maxn": self.config.maxn,
            "buckets": self.config.hashed_rows if self.uses_text else 0,
        }

    def _shape(self) -> Shape:
        return Shape(width(self.sizes, Dense), width(self.sizes, Codes))

    def _hidden(self, chunk: Chunk) -> tuple[F32, F32, F32]:
        from fuseline.models.fasttext.kernels import model as kernels

        n, H8 = len(chunk.has_image), self.params.V.shape[0]
        Z = np.zeros((n, self.params.W.shape[1]), np.float32)
        T, A = np.zeros((n, H8), np.float32), np.zeros((n, H8), np.float32)
        kernels.hidden(self.params, chunk, self._spec(), Z, T, A)
        return Z, T, A

    def _class_vectors(self, classes: NDArray[np.int64]) -> F32:
        if self.config.loss != "hs":
            return np.asarray(self.params.W[classes])
        tree = huffman(self.label_counts)
        rows = np.zeros((len(classes), self.params.W.shape[1]), np.float32)
        for row, y in zip(rows, classes.tolist(), strict=True):
            nodes, turns = way(tree, y)
            row[:] = (2.0 * turns.astype(np.float32) - 1.0) @ self.params.W[nodes]
        return rows
