"""Nothing is scored on documents that it was fitted on: the guard of the wiring, and of what was really read."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Fit, Ingest, Node, ShardStage, Summary, ordered
from fuseline.tasks.engine.rows import HALVES, Fold, split_in, split_of


def check_leaks(nodes: Iterable[Node]) -> None:
    """Refuse nodes that score documents which anything that they rest on was fitted on.

    A node says in `unseen` which splits it scores, or learns from what was scored, as they are in its fold. All that it
    rests on is looked at: fits by the rows they see, and stages over whole shards, which see every row. Documents that
    a fit chooses by (`tune`) may be scored as what they are, since the score says so.

    Raises:
        ConfigError: naming the node, and what saw the documents.
    """
    for node in nodes:
        for above in _above(node):
            if isinstance(above, Fit):
                _check(node, above, (above.rows.fit, above.rows.tune), ConfigError)
            elif isinstance(above, Summary) or (isinstance(above, ShardStage) and not above.by_row):
                raise ConfigError(_leak_message(node, f"{above.label}, made of every row", "make it a fit"))


def check_seen(node: Node, root: Root) -> None:
    """Refuse to score documents that a fit above read, whatever its rows say: by the records of the fits.

    Raises:
        DataError: naming the node, and what read the documents.
    """
    for above in _above(node):
        record = above.fitted(root).record() if isinstance(above, Fit) else None
        if record is not None and isinstance(above, Fit):
            _check(node, above, tuple(split for split, n in record.saw.items() if n), DataError)


def _above(node: Node) -> Iterator[Node]:
    """Yield all that a node which scores unseen documents rests on, but the documents themselves."""
    if node.unseen:
        yield from (above for above in ordered(node.upstream) if not isinstance(above, Ingest))


def _check(node: Node, fit: Fit, saw: tuple[str, ...], error: type[Exception]) -> None:
    of = max((fold.of for fold in (node.fold, fit.fold) if fold is not None), default=1)
    for split in saw:
        for scored in node.unseen:
            seen, asked = (_documents(name, one.fold, of) for name, one in ((split, fit), (scored, node)))
            if split == fit.rows.tune and node.fold == fit.fold and not (asked & ~seen).any():
                continue
            if (seen & asked).any():
                raise error(_leak_message(node, f"{fit.label}, which saw {split} of {_frame(fit)}", _cure(node, fit)))


def _documents(split: str, fold: Fold | None, of: int) -> NDArray[np.bool_]:
    """Return which kinds of document, own split x part x half (3 x of x 2,), are of a split in a fold."""
    own, parts = np.repeat(["train", "valid", "test"], 2 * of), np.tile(np.repeat(np.arange(of), 2), 3)
    half = np.arange(len(own)) % 2 == HALVES[split].number if split in HALVES else True
    if fold is None:
        return np.asarray(
            (own == split_of(split)) & half
        )  # Arrow would import pandas, where it is there, in every plan
    inside = split_in(fold, pa.array(own), pa.array(parts)).to_pylist()
    return np.asarray(np.array([name == split_of(split) for name in inside]) & half)


def _frame(fit: Fit) -> str:
    return "all documents" if fit.fold is None else f"fold {fit.fold.k} of {fit.fold.of}"


def _cure(node: Node, fit: Fit) -> str:
    if isinstance(node, Fit):
        return "let it read models that are fitted on train alone"
    return "fit it in the same fold (in_fold), on rows that it leaves for scoring"


def _leak_message(node: Node, saw: str, cure: str) -> str:
    frame = "" if node.fold is None else f" in fold {node.fold.k} of {node.fold.of}"
    return mismatch(f"{node.label}: documents of {', '.join(node.unseen)}{frame}", "seen by no fit above", saw, cure)
