"""Paper P's eight models: layers, codes of equal size, optimiser and batch as published."""

from pathlib import Path
from typing import cast

import pytest
import yaml

from fuseline.flows.config import Config, load_config
from fuseline.models.classifiers.attention import AttentionConfig
from fuseline.tasks.stages.learned import LearnedConfig
from tests.flows.conftest import write_documents

PRESETS = Path(__file__).parents[2] / "conf" / "papers" / "petfinder.yaml"
ROWS = ("tabular", "textual", "visual", "concat", "concat_bins", "attention", "attention_ae", "attention_mmae")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration that extends the presets."""
    path = write_documents(tmp_path, [{"id": f"d{n}", "label": "ab"[n % 2], "size": n} for n in range(9)])
    own = {"extends": str(PRESETS), "root": str(tmp_path / "root"), "source": {"reader": "jsonl", "path": str(path)}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    return load_config(tmp_path / "own.yaml", [f"extends={PRESETS}"])


def options(config: Config, name: str) -> AttentionConfig:
    return cast(AttentionConfig, config.models[name].parsed())


def codes(config: Config, name: str) -> LearnedConfig:
    return cast(LearnedConfig, config.stages[name].parsed())


def test_training_is_the_papers(config: Config) -> None:
    for name in (
        "tabular",
        "textual",
        "visual",
        "concat",
        "concat_bins",
        "attention",
        "attention_ae",
        "attention_mmae",
    ):
        own = options(config, name)
        assert (own.optimizer, own.lr, own.batch) == ("rmsprop", 0.001, 32)
        assert (own.maps, own.widths, own.dropout) == (100, (3, 4, 5), 0.5)
        assert (own.units, own.size, own.vector_dropout) == (256, 128, 0.2)
        assert len(own.blocks) == 2
    for name in ("ae_tabular", "ae_visual", "ae_textual", "mmae"):
        own_codes = codes(config, name)
        assert (own_codes.optimizer, own_codes.lr, own_codes.batch) == ("rmsprop", 0.001, 32)
        assert (own_codes.hidden, own_codes.code, own_codes.inner, own_codes.weights) == (512, 64, 64, ())
    assert config.evaluation.folds == 5


def test_codes_of_both_kinds_have_equal_size(config: Config) -> None:
    """P-14: three autoencoders of one input, and one of three, give as many numbers each."""
    sizes = {
        name: sum(codes(config, one).code * len(codes(config, one).inputs) for one in options(config, name).codes)
        for name in ("attention_ae", "attention_mmae")
    }
    assert sizes == {"attention_ae": 192, "attention_mmae": 192}
    read = [codes(config, one).inputs for one in options(config, "attention_ae").codes]
    assert tuple(sorted(one for (one,) in read)) == tuple(sorted(codes(config, "mmae").inputs))


def test_rows_differ_in_one_thing_each(config: Config) -> None:
    concat, bins, weighed = (options(config, name) for name in ("concat", "concat_bins", "attention"))
    assert concat == bins.model_copy(update={"vectors": concat.vectors, "automatic": concat.automatic})
    assert concat == weighed.model_copy(update={"merge": "concat", "automatic": concat.automatic})
    assert (concat.merge, weighed.merge, bins.vectors) == ("concat", "attention", ("bins",))
    for name in ("attention_ae", "attention_mmae"):
        own = options(config, name)
        assert own.model_copy(update={"codes": ()}) == weighed
