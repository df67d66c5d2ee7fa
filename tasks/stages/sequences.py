"""One cleaned field -> token ids in their order: one fitted vocabulary, one stage that looks words up in it."""

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.columns import Column, Sequence
from fuseline.models.config import FrozenConfig
from fuseline.models.encoders.class_index import ClassIndex, ClassIndexConfig
from fuseline.models.features import Features
from fuseline.stores.errors import mismatch
from fuseline.stores.schemas import sequences
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Feature, Fit, FitResult, Read, ShardStage, TrainingRows
from fuseline.tasks.stages.train import Readable

_NO_WORD = r"[^\p{L}\p{M}\p{N}_]+"  # between two words


class SequenceConfig(ClassIndexConfig):
    """Which words of a document are looked up, and which have an id of their own."""

    field: Literal["text", "title", "description"] = Field("text", description="Field of the cleaned document")
    length: int = Field(128, ge=1, description="Words of a document at most: the first")
    split: Literal["words", "spaces"] = Field(
        "words", description="words: runs of letters and digits; spaces: what stands between white space"
    )


def words_of(table: pa.Table, config: SequenceConfig) -> pa.ListArray:
    """Return the first words of each document, list<string> (n,); null where there is none."""
    texts = table[config.field].combine_chunks()
    if config.split == "words":
        texts = pc.replace_substring_regex(texts, _NO_WORD, " ")
    texts = pc.utf8_trim_whitespace(texts)
    some = pc.greater(pc.binary_length(texts), 0)
    texts = pc.if_else(some, texts, pa.scalar(None, texts.type))
    return pc.list_slice(pc.utf8_split_whitespace(texts, max_splits=config.length), 0, config.length)


def fit_words(train: TrainingRows, valid: Features, config: SequenceConfig, context: Context) -> FitResult:
    """Fit a vocabulary on the words of the training rows that sequences would hold; no label is looked at.

    Raises ValueError when no word is frequent enough.
    """
    options = ClassIndexConfig(**{name: getattr(config, name) for name in ClassIndexConfig.model_fields})
    vocabulary = ClassIndex.fit((words_of(cleaned, config) for _, cleaned in train.tables()), options)
    if not vocabulary.values:
        what, cure = f"words of {config.field}", "name another field, or leave this stage out"
        raise ValueError(mismatch(what, f"one that stands {config.min_count} times in training rows", "none", cure))
    return vocabulary.save, train.n_rows, {"words": len(vocabulary.values)}


def look_up(tables: list[pa.Table], config: SequenceConfig, context: Context) -> pa.Table:
    """Return one shard in the schema `sequences(vocabulary)`, by the frozen vocabulary.

    A document without words is missing; unknown words keep their place, as 0.
    """
    (cleaned,), (saved,) = tables, context.checkpoints.values()
    vocabulary = loaded(ClassIndex.load, saved)
    tokens = vocabulary.encode(words_of(cleaned, config))
    present = pc.greater(pc.list_value_length(tokens), 0)
    ids = cleaned["id"].combine_chunks().cast(pa.string())
    columns = [ids, pc.if_else(present, "ok", "missing"), present, tokens]
    return pa.Table.from_arrays(columns, schema=sequences(len(vocabulary.values)))


class WordSequence:
    """Token ids of the words of one field."""

    kind: ClassVar[str] = "sequence"
    summary: ClassVar[str] = (
        "words of the text, the title or the description in their order, as numbers of a vocabulary"
    )
    Config: ClassVar[type[FrozenConfig]] = SequenceConfig
    makes: ClassVar[type[Column]] = Sequence

    @staticmethod
    def node(name: str, config: SequenceConfig, sources: Readable) -> ShardStage:
        """Return the node of the sequences of a field; it is fitted by a vocabulary."""
        read = Read(sources.clean, (config.field,))
        vocabulary = Fit(
            role="encoders", short=name, flow="embed", main=False, version=1, config=config, fit=fit_words,
            reads=(Read(sources.documents, ("split",)), read),
        )  # fmt: skip
        return ShardStage(
            role="embed", short=name, flow="embed", version=1, config=config, reads=(read,), fits=(vocabulary,),
            transform=look_up, feature=Feature(Sequence, "tokens", "text"),
        )  # fmt: skip
