"""Settings of the fastText family: names and defaults of the fastText program where it has them."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from fuseline.models.automatic import automatic
from fuseline.models.classifier import ClassifierConfig
from fuseline.models.config import runtime_option
from fuseline.models.threads import thread_limit

SMALL = 20_000  # documents up to which one thread trains, unless `threads` says otherwise

# Options of the fastText program's supervised training: what each is called here, with the program's default ...
CALLED = {
    "lr": "lr",
    "dim": "dim",
    "epoch": "epochs",
    "minCount": "min_count",
    "minn": "minn",
    "maxn": "maxn",
    "neg": "negatives",
    "wordNgrams": "word_ngrams",
    "loss": "loss",
    "bucket": "buckets",
    "thread": "threads",  # default there: 12, in Python one less than the cores; here every core of the process
    "pretrainedVectors": "pretrained_vectors",
}
# ... or why there is none.
ABSENT = {
    "ws": "a window of words belongs to unsupervised training",
    "t": "frequent words are left out in unsupervised training alone",
    "lrUpdateRate": "the learning rate follows the words seen at every block of documents",
    "minCountLabel": "every label counts; source.options.vocabulary names those to keep",
    "label": "labels are a column, not marked words of the text",
    "seed": "it stands beside the options of a model",
    "verbose": "the command line shows progress",
    "autotuneValidationFile": "`fuseline sweep` tries options on the valid split",
    "autotuneMetric": "sweep.metric chooses the metric to optimize",
    "autotunePredictions": "sweep.metric chooses the metric to optimize",
    "autotuneDuration": "sweep.budget_minutes bounds a sweep",
    "autotuneModelSize": "models are not quantized; dim and buckets set their size",
}


class FastTextConfig(ClassifierConfig):
    """Options of every classifier of the family; those that are not given are chosen on valid documents."""

    together: ClassVar = (("minn", "maxn"),)

    preset: Literal["auto", "fasttext"] = Field(
        "auto", description="What options are that nobody gives: chosen on valid (auto), or the fastText program's"
    )
    dim: int = automatic(100, choices=(20, 50, 100), ge=1, le=4096, description="Numbers per word vector (H)")
    lr: float = automatic(
        0.1,
        choices=(0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
        gt=0,
        description="Learning rate; falls linearly to 0 with the words seen",
    )
    epochs: int = automatic(5, choices=(5, 10, 25, 50), ge=1, description="Passes over the training rows")
    weighting: Literal["mean", "tfidf"] = automatic(
        "mean",
        choices=("mean", "tfidf"),
        description="mean: a document is the mean of its tokens, as in the paper; tfidf: their sum, each by "
        "(1 + ln of how often it comes) times its inverse document frequency, scaled to length 1",
    )
    min_count: int = Field(1, ge=1, description="Training occurrences that a word must have; rarer ones are left out")
    word_ngrams: int = automatic(
        1, choices=(1, 2), ge=1, le=10, description="Longest run of words that is hashed as one feature"
    )
    buckets: int = automatic(
        2_000_000,
        choices=(),
        ge=1,
        le=2**30,
        description="Rows for hashed n-grams and subwords; none are allocated when nothing is hashed. "
        "auto: 16 per word, 2,000,000 at most",
    )
    minn: int = automatic(0, choices=(0, 3), ge=0, le=64, description="Characters of the shortest subword")
    maxn: int = automatic(
        0, choices=(0, 6), ge=0, le=64, description="Characters of the longest subword; 0 = no subwords"
    )
    loss: Literal["softmax", "hs", "ns", "ova"] = Field(
        "softmax",
        description="softmax: all classes; hs: hierarchical softmax, for many; ns: negative sampling; "
        "ova: one against all, for several labels",
    )
    negatives: int = Field(5, ge=1, le=2**31 - 1, description="Wrong classes drawn per right one (loss ns)")
    positives: Literal["sample", "average"] = Field(
        "sample",
        description="Several labels under softmax, hs or ns: train on one drawn at each visit (sample), "
        "or on all (average)",
    )
    lowercase: bool = Field(True, description="Take Dog and dog for one word")
    pretrained_vectors: Path | None = runtime_option(
        None,
        description="Text file of word vectors (.vec, .vec.gz) to start from: its words join the "
        "dictionary; its content is in the key, its place is not",
    )
    deterministic: bool = Field(
        False, description="Train on one thread: equal bits for a seed, at the speed of one core"
    )
    threads: int | None = runtime_option(
        None,
        ge=1,
        description="Threads of training; default: one up to 20,000 documents, so that a seed gives equal bits, "
        "else every core that the process may use",
    )
    memory_mb: int = runtime_option(
        32, ge=1, description="MB of encoded documents kept in memory; the rest waits in a temporary folder"
    )

    weights_mb: int = runtime_option(
        8192, ge=1, description="MB that the class weights may take; more is refused before anything is trained"
    )

    @model_validator(mode="before")
    @classmethod
    def _program_names(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name in ABSENT:
                raise ValueError(f"{name}: expected no such option of fastText, got {values[name]!r}; {ABSENT[name]}")
            if CALLED.get(name, name) != name:
                cure = f"write {CALLED[name]}: {values[name]}"
                raise ValueError(
                    f"{name}: expected {CALLED[name]!r}, as this option is called here, got {name!r}; {cure}"
                )
        return values

    @model_validator(mode="after")
    def _subword_lengths(self) -> "FastTextConfig":
        if self.maxn and not 1 <= self.minn <= self.maxn:
            raise ValueError(f"minn: expected 1..maxn={self.maxn!r}, got {self.minn!r}; set both, or maxn to 0")
        return self

    def training_threads(self, rows: int) -> int:
        """Return the threads that read and train on so many documents.

        Several threads gain little on a small collection, where one gives everybody the same model.
        """
        if self.deterministic or (self.threads is None and rows <= SMALL):
            return 1
        return self.threads or thread_limit()

    @classmethod
    def unset(cls, values: dict[str, Any]) -> tuple[str, ...]:
        names = super().unset(values)
        return tuple(name for name in names if name in values) if values.get("preset") == "fasttext" else names

    @property
    def hashed_rows(self) -> int:
        """Rows of U for hashed n-grams."""
        return self.buckets if self.word_ngrams > 1 or self.maxn > 0 else 0
