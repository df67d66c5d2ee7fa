"""Nodes as classifiers read them, without a stage behind them."""

from fuseline.models.columns import Codes, Dense, Text
from fuseline.models.config import FrozenConfig
from fuseline.tasks.engine.nodes import Feature, Node, Read

FEATURES = {
    "clean": Feature(Text, "text", "text"),
    "embed": Feature(Dense, "embedding", "image"),
    "quantize": Feature(Codes, "codes", "image"),
}


def read(name: str) -> Read:
    """Return what a model reads of a dataset of this name."""
    role, short = name.split("/")
    feature = FEATURES.get(role)
    return Read(Node(role=role, short=short, flow="any", version=1, config=FrozenConfig(), feature=feature), ())
