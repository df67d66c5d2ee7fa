"""Documents of a run in the format of the fastText program."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.experiments.trials import model_nodes
from fuseline.flows.plan_options import plan_options
from fuseline.models.fasttext.interchange import CodeNames, write_labelled
from fuseline.models.features import reads_text
from fuseline.stores.atomic import atomic_file
from fuseline.stores.errors import ConfigError, FuselineError, mismatch
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Fit, ordered
from fuseline.tasks.engine.planner import plan_all
from fuseline.tasks.engine.shard_features import ShardFeatures
from fuseline.tasks.stages.quantize import QuantizeConfig

SPLITS = ("train", "valid", "test")


class Exported(NamedTuple):
    """One file that was written."""

    file: str
    rows: int


def export_labelled(config: Config, model: str, folder: Path) -> Iterator[Exported]:
    """Write train.txt, valid.txt and test.txt: documents as a model reads them, words and visual tokens.

    Raises:
        ConfigError: no such model, or one that does not read text.
        FuselineError: what it reads is not there or not fresh.
    """
    if model not in config.models:
        raise ConfigError(mismatch("--model", sorted(config.models), model, "choose a model of the configuration"))
    if not reads_text(config.models[model].inputs()):
        raise ConfigError(mismatch("--model", "a model that reads text", model, "choose one of kind text, pq or rspq"))
    node, root = model_nodes(config)[model], open_root(config.root)
    read = ordered(node.upstream)
    if any(plan.todo for plan in plan_all(read, root, plan_options(config, read))):
        raise FuselineError(mismatch(node.label, "fresh features", "missing or stale ones", "run `fuseline run` first"))
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        features = ShardFeatures(node, root, split)
        if features.n_rows:
            with atomic_file(folder / f"{split}.txt") as path:
                rows = write_labelled(features, path, codes=_codes(node))
            yield Exported(str(folder / f"{split}.txt"), rows)


def _codes(node: Fit) -> CodeNames | None:
    """Return how the visual tokens are named that a model reads; None when it reads none."""
    books = ((read.node.column, read.node.config) for read in node.reads)
    names = (CodeNames(column, *book.token_names()) for column, book in books if isinstance(book, QuantizeConfig))
    return next(names, None)
