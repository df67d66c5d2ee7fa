"""What LightGBM would follow without a look: each wrong number is refused before it reads the text."""

from pathlib import Path

import numpy as np
import pytest

from fuseline.models.classifiers.trees import Forest
from fuseline.models.errors import CheckpointError
from tests.models.reference import fitted
from tests.models.synthetic import documents

COLUMNS, CLASSES = 16, 4
FOREST = Forest(CLASSES, COLUMNS, f"multiclass num_class:{CLASSES}")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the trees of a model over 12 numbers and 4 codes."""
    folder: Path = tmp_path_factory.mktemp("trees")
    fitted("lightgbm", documents(200), rounds=2, min_rows=5, codes=["pq"], threads=1).save(folder)
    return (folder / "trees-00000.txt").read_text()


def changed(text: str, key: str, place: int, value: str) -> str:
    """Put a value into a line of the first tree that has several numbers there, sizes mended."""
    head, _, body = text.partition("\n\n")
    trees, end, rest = body.partition("end of trees\n")
    blocks = ["Tree=" + block for block in trees.split("Tree=")[1:]]
    for number, block in enumerate(blocks):
        lines = block.split("\n")
        row = next((row for row, line in enumerate(lines) if line.startswith(f"{key}=") and " " in line), None)
        if row is not None:
            words = lines[row].partition("=")[2].split(" ")
            words[place] = value
            lines[row] = f"{key}={' '.join(words)}"
            blocks[number] = "\n".join(lines)
            break
    sizes = " ".join(str(len(block)) for block in blocks)
    lines = [f"tree_sizes={sizes}" if line.startswith("tree_sizes=") else line for line in head.split("\n")]
    return "\n".join(lines) + "\n\n" + "".join(blocks) + end + rest


def test_what_lightgbm_wrote_is_accepted(text: str) -> None:
    FOREST.check(text)
    FOREST.check(changed(text, "leaf_value", 0, "0.5"))


def test_trees_of_a_single_leaf_come_back(tmp_path: Path) -> None:
    """With too few rows for a split LightGBM writes constants; such a model could not be loaded."""
    few = documents(12)
    trained = fitted("lightgbm", few, rounds=2, min_rows=20, codes=["pq"], threads=1)
    trained.save(tmp_path)
    assert "num_leaves=1\n" in (tmp_path / "trees-00000.txt").read_text()
    np.testing.assert_array_equal(type(trained).load(tmp_path).predict_logits(few), trained.predict_logits(few))


@pytest.mark.parametrize(
    ("key", "place", "value"),
    [
        ("split_feature", 0, "16"),
        ("split_feature", 0, "-1"),
        ("left_child", 0, "0"),  # round in a circle
        ("left_child", 0, "99"),
        ("right_child", -1, "-99"),
        ("decision_type", 0, "13"),
        ("decision_type", 0, "1"),  # by a set of categories that is not there
        ("threshold", 0, "x"),
        ("leaf_value", 0, "1_0"),
        ("leaf_value", 0, "0.5 0.5"),  # one too many
        ("leaf_count", 0, ""),
    ],
)
def test_a_number_out_of_place_is_refused(text: str, key: str, place: int, value: str) -> None:
    with pytest.raises(CheckpointError, match="tree"):
        FOREST.check(changed(text, key, place, value))


def test_sizes_that_do_not_fit_are_refused(text: str) -> None:
    line = next(line for line in text.split("\n") if line.startswith("tree_sizes="))
    for sizes in (line + "0", "tree_sizes=", f"tree_sizes={10**9} {line.partition(' ')[2]}"):
        with pytest.raises(CheckpointError, match="tree"):
            FOREST.check(text.replace(line, sizes))


@pytest.mark.parametrize("forest", [FOREST._replace(columns=15), FOREST._replace(classes=5)])
def test_trees_of_another_shape_are_refused(text: str, forest: Forest) -> None:
    with pytest.raises(CheckpointError, match="of trees of a checkpoint: expected"):
        forest.check(text)
