"""Which split and fold a document belongs to: the release's own, else by a hash, else balanced by label."""

from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.config import FrozenConfig, added
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.documents.routing import id_hashes
from fuseline.tasks.readers.base import BAD_SPLIT, mark
from fuseline.tasks.splits import hash_folds, hash_split, stratified_folds, stratified_split

GIVEN = "given_"  # begins the split of documents that `cut_train` sets apart


class SplitConfig(FrozenConfig):
    """Shares of documents that go to valid and test where the source gives no split.

    Documents of one group (the source's own grouping: one page, one seller) always share a split and a fold.
    """

    method: Literal["hash", "stratified"] = Field(
        "hash", description="hash: by id or group, never moves; stratified: the same share of every label (paper M)"
    )
    valid: float = Field(0.1, ge=0, lt=1, description="Share of documents that goes to valid")
    test: float = Field(0.1, ge=0, lt=1, description="Share of documents that goes to test")
    cut_train: bool = added(
        False,
        description="Cut valid and test out of what the source calls train (paper M); what it calls valid and test "
        "becomes given_valid and given_test, which no model learns from or chooses by",
    )
    folds: int | None = Field(None, ge=2, description="Parts of a cross-validation: fills the column `fold`")
    ignore_given: bool = Field(False, description="Assign even where the source gives a split, whatever it is called")
    seed: int = Field(0, description="Seed of all random draws")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.valid + self.test >= 1:
            shares = (self.valid, self.test)
            raise ConfigError(mismatch("split.valid + split.test", "less than 1", shares, "leave some for training"))
        if self.cut_train and self.ignore_given:
            cure = "leave ignore_given out: it would mix what the source calls valid and test into training"
            raise ConfigError(mismatch("split.cut_train", "false with ignore_given", True, cure))
        return self


class Assignment:
    """Splits and folds for the batches of one source.

    By hash every document is decided alone. Stratified needs all labels first: then `learn` must see every batch.
    """

    def __init__(self, config: SplitConfig) -> None:
        self.config = config
        self._hashes = np.zeros(0, np.uint64)
        self._splits = pa.array([], pa.string())
        self._folds = np.zeros(0, np.int32)

    def learn(self, batches: Iterator[pa.Table]) -> Self:
        """Look at the keys and labels of a whole source, as far as the method needs them."""
        if self.config.method == "hash":
            return self
        own = (batch.filter(pa.array(~self._apart(batch))) for batch in batches)
        parts = [(_keys(batch), pc.list_element(_one_label(batch), 0)) for batch in own if batch.num_rows]
        if not parts:
            return self
        keys, labels = (pa.concat_arrays([part[i] for part in parts]) for i in (0, 1))
        config = self.config
        splits = stratified_split(keys, labels, valid=config.valid, test=config.test, seed=config.seed)
        folds = stratified_folds(keys, labels, k=config.folds, seed=config.seed) if config.folds else None
        self._hashes, first = np.unique(id_hashes(pa.chunked_array([keys])), return_index=True)
        self._splits = splits.take(pa.array(first))
        self._folds = folds[first] if folds is not None else self._folds
        return self

    def apply(self, table: pa.Table) -> pa.Table:
        """Return a batch with its splits filled in, and a column `fold` (int32; null without folds, and for documents
        that `cut_train` sets apart).
        """
        keys, config, apart = _keys(table), self.config, self._apart(table)
        if config.method == "hash":
            splits = hash_split(keys, valid=config.valid, test=config.test, seed=config.seed)
            folds = hash_folds(keys, k=config.folds, seed=config.seed) if config.folds else None
        else:
            at = np.searchsorted(self._hashes, id_hashes(pa.chunked_array([keys])))
            at[apart] = 0  # none of those that were learnt
            known = len(self._hashes) > 0
            splits = self._splits.take(pa.array(at)) if known else pa.nulls(len(at), pa.string())
            folds = None if not config.folds else self._folds[at] if known else np.zeros(len(at), np.int32)
        given = pa.nulls(table.num_rows, pa.string()) if config.ignore_given else table["split"]
        if config.cut_train:
            given = pc.if_else(pa.array(apart), pc.binary_join_element_wise(GIVEN, given, ""), None)
        table = table.set_column(table.schema.get_field_index("split"), "split", pc.coalesce(given, splits))
        fold = pa.nulls(table.num_rows, pa.int32()) if folds is None else pa.array(folds, pa.int32(), mask=apart)
        return table.append_column("fold", fold)

    def _apart(self, table: pa.Table) -> NDArray[np.bool_]:
        """Return which documents (n,) bool are set apart: what the source itself calls something else than train."""
        if not self.config.cut_train:
            return np.zeros(table.num_rows, np.bool_)
        return np.asarray(pc.fill_null(pc.not_equal(table["split"], "train"), False))


def settle_splits(table: pa.Table, config: SplitConfig) -> pa.Table:
    """Return a batch in which rows with an unknown split are blank, or usable where given ones are ignored."""
    lost = pc.equal(table["status"], BAD_SPLIT)
    if not config.ignore_given:
        return mark(table, lost, BAD_SPLIT)
    status = pc.if_else(lost, "ok", table["status"])
    at = table.schema.get_field_index("status")
    return table.set_column(at, table.schema.field(at), status)


def _keys(table: pa.Table) -> pa.Array:
    keys = pc.coalesce(table["group"], table["id"])
    return keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys


def _one_label(table: pa.Table) -> pa.Array:
    """Return the labels with an empty list as one null, so that every document has a first one."""
    labels = table["labels"].combine_chunks()
    none = pa.array([[None]], labels.type)
    return pc.if_else(pc.greater(pc.list_value_length(labels), 0), labels, none[0])
