"""LightGBM's text of trees, checked before LightGBM reads it: its parser trusts every offset, index and child."""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fuseline.models.checkpoint import refuse

END = "end of trees\n"
CATEGORICAL, KINDS = 1, 12  # bits of a decision: by category; what counts as missing, of which 12 means nothing
INTEGERS = re.compile(r"(?:-?[0-9]{1,10}(?: -?[0-9]{1,10})*)?")
NUMBER = r"-?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|inf|nan)"
# Strict: a number that is none ends the process, where LightGBM reads trees in several threads.
LINE = re.compile(rf"([a-z_]+)=((?:{NUMBER}(?: {NUMBER})*)?)")
# What follows the trees: how often each column was used, and the options of the training.
REST = re.compile(
    r"\n*(?:feature_importances:\n(?:Column_\d+=\d+\n)*\n*)?"
    r"(?:parameters:\n(?:\[[a-z0-9_]+: [^\]\n]*\]\n)*\n*end of parameters\n)?\n*(?:pandas_categorical:null\n?)?\n*"
)
HEAD = {
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective", "feature_names",
    "feature_infos", "tree_sizes",
}  # fmt: skip
RANGES = re.compile(rf"none|\[{NUMBER}:{NUMBER}\]|-?\d+(?::-?\d+)*")
PER_NODE = ("split_gain", "threshold", "internal_value", "internal_weight", "internal_count")
SMALL, LARGE = -(2**31), 2**32 - 1


class Forest(NamedTuple):
    """What a booster must be."""

    classes: int  # trees per round
    columns: int
    objective: str

    def check(self, text: str) -> None:
        """Raise CheckpointError unless a text describes whole trees over these columns, and nothing else."""
        if not text.isascii():
            refuse("trees", "ASCII", "other characters")
        head, _, body = text.partition("\n\n")
        at = 0
        for number, size in enumerate(self._sizes(head)):
            check_tree(body[at : at + size], number, self.columns)
            at += size
        if not body.startswith(END, at) or REST.fullmatch(body, at + len(END)) is None:
            refuse("trees", f"{END.strip()!r} and the parameters behind them", body[at : at + 40])

    def _sizes(self, head: str) -> list[int]:
        first, *lines = head.split("\n")
        pairs = [line.partition("=") for line in lines]
        values = {name: value for name, _, value in pairs}
        wanted = {
            "num_class": str(self.classes), "num_tree_per_iteration": str(self.classes), "label_index": "0",
            "max_feature_idx": str(self.columns - 1), "objective": self.objective,
        }  # fmt: skip
        if first != "tree" or len(values) != len(lines) or values.keys() != HEAD:
            refuse("head of trees", sorted(HEAD), sorted(values))
        for name, value in wanted.items():
            if values[name] != value:
                refuse(f"{name} of trees", repr(value), repr(values[name]))
        ranges = values["feature_infos"].split(" ")
        if len(ranges) != self.columns or not all(map(RANGES.fullmatch, ranges)):
            refuse("feature_infos of trees", f"{self.columns} ranges", values["feature_infos"])
        if values["feature_names"] != " ".join(f"Column_{column}" for column in range(self.columns)):
            refuse("feature_names of trees", f"Column_0 .. Column_{self.columns - 1}", values["feature_names"])
        if not re.fullmatch(r"v\d+", values["version"]):
            refuse("version of trees", "v and a number", values["version"])
        sizes = integers(values["tree_sizes"])
        if len(sizes) % self.classes or (sizes < 0).any():
            refuse("tree_sizes", f"a size per tree, {self.classes} trees a round", len(sizes))
        return [int(size) for size in sizes]


def load_booster(text: str, forest: Forest) -> object:
    """Return the lightgbm.Booster of a text that was checked; raises CheckpointError."""
    import lightgbm

    forest.check(text)
    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        refuse("trees", "what LightGBM can read", error)


def check_tree(text: str, number: int, columns: int) -> None:
    """Raise CheckpointError unless a text is one tree whose every path ends in a leaf, over columns that there are."""
    name, *lines = text.rstrip("\n").split("\n")
    matches = [LINE.fullmatch(line) for line in lines]
    values = {match[1]: match[2] for match in matches if match}
    if name != f"Tree={number}" or len(values) != len(lines) or not text.endswith("\n\n\n"):
        refuse(f"tree {number}", "lines of numbers, each once", text[:40])
    leaves, categories = single(values["num_leaves"]), single(values["num_cat"])
    if leaves < 1 or values["is_linear"] != "0" or single_number(values["shrinkage"]) is None:
        refuse(f"tree {number}", "at least one leaf, no linear model", leaves)
    counts = {**dict.fromkeys(PER_NODE, leaves - 1), "leaf_value": leaves}
    for key, count in counts.items():
        if len(values[key].split()) != count:
            refuse(f"{key} of tree {number}", f"{count} numbers", len(values[key].split()))
    for key in ("leaf_weight", "leaf_count"):
        if len(values[key].split()) not in (0, leaves) or (leaves > 1 and not values[key]):
            refuse(f"{key} of tree {number}", f"{leaves} numbers", len(values[key].split()))
    _check_nodes(values, number, leaves, columns)
    _check_categories(values, number, categories)


def _check_nodes(values: dict[str, str], number: int, leaves: int, columns: int) -> None:
    nodes = leaves - 1
    split, left, right, decision = (
        integers(values[key]) for key in ("split_feature", "left_child", "right_child", "decision_type")
    )
    if any(len(column) != nodes for column in (split, left, right, decision)):
        refuse(f"nodes of tree {number}", nodes, len(split))
    if ((split < 0) | (split >= columns)).any():
        refuse(f"split_feature of tree {number}", f"columns below {columns}", values["split_feature"])
    if ((decision < 0) | (decision >= KINDS)).any():
        refuse(f"decision_type of tree {number}", f"numbers below {KINDS}", values["decision_type"])
    children, parents = np.concatenate([left, right]), np.tile(np.arange(nodes), 2)
    # Every node but the first and every leaf has one parent, a node before it: no path goes round in circles.
    inner = children >= 0
    expected = np.delete(np.arange(-leaves, nodes), leaves) if nodes else np.zeros(0, np.int64)  # a leaf alone has none
    if not np.array_equal(np.sort(children), expected):
        refuse(f"children of tree {number}", "every node and leaf once", values["left_child"])
    if (children[inner] <= parents[inner]).any():
        refuse(f"children of tree {number}", "each behind its parent", values["left_child"])


def _check_categories(values: dict[str, str], number: int, categories: int) -> None:
    decision = integers(values["decision_type"])
    chosen = np.flatnonzero(decision & CATEGORICAL)
    thresholds = [values["threshold"].split(" ")[node] for node in chosen]
    places = integers(" ".join(thresholds))
    if categories < 0 or ((places < 0) | (places >= categories)).any():
        refuse(f"threshold of tree {number}", f"sets of categories below {categories}", thresholds)
    if bool(categories) != ("cat_boundaries" in values) or bool(categories) != ("cat_threshold" in values):
        refuse(f"num_cat of tree {number}", "bounds and sets where there are categories", categories)
    if categories:
        bounds, bits = integers(values["cat_boundaries"]), integers(values["cat_threshold"])
        rises = len(bounds) == categories + 1 and bounds[0] == 0 and bounds[-1] == len(bits)
        if not rises or (np.diff(bounds) < 0).any() or (bits < 0).any():
            refuse(f"cat_boundaries of tree {number}", "rising bounds of the sets", values["cat_boundaries"])


def integers(text: str) -> NDArray[np.int64]:
    """Return the integers of a text between single blanks, (n,) int64; raises CheckpointError for other numbers."""
    if INTEGERS.fullmatch(text) is None:
        refuse("trees", "integers", text)
    numbers = np.array(text.split(), np.int64)
    if ((numbers < SMALL) | (numbers > LARGE)).any():
        refuse("trees", "integers of 32 bits", text)
    return numbers


def single(text: str) -> int:
    """Return the one integer of a text; raises CheckpointError for any other text."""
    numbers = integers(text)
    if len(numbers) != 1:
        refuse("trees", "one integer", text)
    return int(numbers[0])


def single_number(text: str) -> float | None:
    """Return the one number of a text; None for several or none."""
    return float(text) if text and " " not in text else None
