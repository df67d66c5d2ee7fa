"""Several dense inputs side by side: each scaled alone, each with its own share, missing ones zero."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from fuseline.models.fasttext.dense_inputs import DenseRows, Scale, fitted_scale
from fuseline.models.features import Block
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents, parts, with_parts

NAMES = ("embed/image", "embed/words")
QUICK = {"preset": "fasttext", "dim": 10, "lr": 0.2, "epochs": 15, "deterministic": True}


def two(n: int = 400, seed: int = 0, **changes: Any) -> Block:
    """Documents with an image and a second vector, which tells {0, 1} from {2, 3}; one in eight lacks that."""
    block, rng = documents(n, seed=seed), np.random.default_rng(seed)
    y = np.array([int(one[0][1:]) for one in block.labels.to_pylist()])
    words = (rng.normal(size=(n, 5)) + 6 * (y[:, None] // 2) + 100).astype(np.float32)
    given = rng.random(n) > 1 / 8
    own = parts(block)
    return with_parts(
        block, dense={**own["dense"], "words": words}, present={**own["present"], "words": given}, **changes
    )


def rows(block: Block, scale: Scale) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    wanted = DenseRows.of([block], NAMES, scale)
    dense = np.concatenate([part.copy() for part in wanted.scaled()])
    return dense, wanted.present


def test_every_input_has_its_own_unit_length() -> None:
    block = two()
    scale = fitted_scale(Blocks(block), NAMES, "unit")
    dense, present = rows(block, scale._replace(length=0.5))
    image, words = (block.columns[name] for name in NAMES)
    for columns, column in zip(scale.columns, (image, words), strict=True):
        unit = column.values / np.linalg.norm(column.values, axis=1, keepdims=True).clip(1e-9)
        np.testing.assert_allclose(dense[:, columns], 0.5 * unit * column.present[:, None], rtol=1e-5, atol=1e-7)
    assert present.tolist() == (image.present | words.present).tolist()


def test_standard_scores_are_those_of_scikit_learn() -> None:
    block = two()
    scale = fitted_scale(Blocks(block, 37), NAMES, "standard")
    dense, _ = rows(block, scale)
    for columns, name in zip(scale.columns, NAMES, strict=True):
        column = block.columns[name]
        expected = StandardScaler().fit(column.values[column.present]).transform(column.values)
        expected /= np.sqrt(column.values.shape[1])
        np.testing.assert_allclose(dense[:, columns], expected * column.present[:, None], rtol=2e-3, atol=2e-4)
    lengths = np.square(dense[block.columns["embed/words"].present][:, scale.columns[1]]).sum(axis=1)
    assert lengths.mean() == pytest.approx(1, abs=0.02)


def test_numbers_that_are_the_same_everywhere_are_zero_and_bad_vectors_missing() -> None:
    block = two(40)
    words = block.columns["embed/words"].values.copy()
    words[:, 2], words[3, 0] = 7.0, np.nan
    present = np.ones(40, np.bool_)
    block = with_parts(block, dense={"image": words[:, :2], "words": words}, present={"words": present})
    scale = fitted_scale(Blocks(block), NAMES, "standard")
    dense, present = rows(block, scale)
    assert np.isfinite(dense).all()
    assert not dense[:, scale.columns[1]][:, 2].any()
    assert not dense[3].any()
    assert not present[3]


def test_other_widths_are_refused() -> None:
    block = two(20)
    scale = fitted_scale(Blocks(block), NAMES, "unit")
    with pytest.raises(ValueError, match=r"expected widths \(12, 5\).*got \(5, 12\)"):
        DenseRows.of([block], NAMES[::-1], scale)


@pytest.mark.parametrize("scaling", ["unit", "standard"])
@pytest.mark.parametrize("kind", ["image", "additive", "max", "gated", "bilinear"])
def test_a_second_input_is_learned_from_and_used_again_after_loading(kind: str, scaling: str, tmp_path: Path) -> None:
    def fitted(*names: str) -> Any:
        config = MODELS[kind].Config(**QUICK, image=names, scaling=scaling)
        return MODELS[kind](config).fit(Blocks(two()), None, seed=0)

    def right(classifier: Any) -> float:
        test = two(300, seed=3)
        best = classifier.predict_logits(test).argmax(axis=1)
        return float(
            np.mean([classifier.labels[y] == one[0] for y, one in zip(best, test.labels.to_pylist(), strict=True)])
        )

    both, alone = fitted("image", "words"), fitted("image")
    assert right(both) > right(alone) + (0.1 if (kind, scaling) == ("image", "standard") else -0.1)
    both.save(tmp_path)
    loaded = MODELS[kind].load(tmp_path)
    held_out = two(60, seed=4)
    assert np.array_equal(loaded.predict_logits(held_out), both.predict_logits(held_out))
    pieces = [loaded.predict_logits(one) for one in Blocks(held_out, 7).blocks()]
    assert np.array_equal(np.concatenate(pieces), both.predict_logits(held_out))


def test_importance_tells_inputs_apart() -> None:
    config = MODELS["additive"].Config(**QUICK, image=("image", "words"))
    classifier = MODELS["additive"](config).fit(Blocks(two()), None, seed=0)
    block = two(50, seed=5)
    shares = classifier.importance(block, classifier.predict_logits(block).argmax(axis=1))
    assert list(shares) == ["embed/image", "embed/words", "text"]
    total = np.sum(list(shares.values()), axis=0)
    read = np.stack([block.columns[name].present for name in (*NAMES, "clean/text")]).any(axis=0)
    np.testing.assert_allclose(total[read], 1, rtol=1e-5)
    for name in NAMES:
        assert not shares[name][~block.columns[name].present].any()


def test_one_input_is_the_model_of_before() -> None:
    config = MODELS["additive"].Config(**QUICK, image="image")
    assert config.image == ("image",)
    shares = MODELS["additive"](config).fit(Blocks(two()), None, seed=0)
    assert list(shares.importance(two(5), np.zeros(5, np.int64))) == ["image", "text"]


def test_an_input_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected each name once, got \['image', 'image'\]"):
        MODELS["additive"].Config(image=("image", "image"))
