"""Settings of the fastText family: names and defaults of the fastText program where it has them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from fuseline.models.classifier import ClassifierConfig
from fuseline.models.config import runtime_option

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
    """Options of every classifier of the family."""

    dim: int = Field(100, ge=1, le=4096, description="Numbers per word vector (H)")
    lr: float = Field(0.1, gt=0, description="Learning rate; falls linearly to 0 with the words seen")
    epochs: int = Field(5, ge=1, description="Passes over the training rows")
    min_count: int = Field(1, ge=1, description="Training occurrences that a word must have; rarer ones are left out")
    word_ngrams: int = Field(1, ge=1, le=10, description="Longest run of words that is hashed as one feature")
    buckets: int = Field(
        2_000_000,
        ge=1,
        le=2**30,
        description="Rows for hashed n-grams and subwords; none are allocated when nothing is hashed",
    )
    minn: int = Field(0, ge=0, le=64, description="Characters of the shortest subword")
    maxn: int = Field(0, ge=0, le=64, description="Characters of the longest subword; 0 = no subwords")
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
        None, ge=1, description="Threads of training; default: every core that the process may use"
    )
    memory_mb: int = runtime_option(
        256, ge=1, description="MB of encoded documents kept in memory; the rest waits in a temporary folder"
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

    @property
    def hashed_rows(self) -> int:
        """Rows of U for hashed n-grams."""
        return self.buckets if self.word_ngrams > 1 or self.maxn > 0 else 0
