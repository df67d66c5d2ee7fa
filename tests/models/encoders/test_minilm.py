"""MiniLM knows meaning, long texts and many scripts."""

import numpy as np
import pytest

from models.encoders.minilm import MiniLM, MiniLMConfig


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM(MiniLMConfig(threads=1))


def test_meaning_is_near(encoder: MiniLM) -> None:
    vectors = encoder.encode(["a cat sleeps on the sofa", "a kitten naps on the couch", "quarterly tax report"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.3


def test_a_text_of_ten_megabytes_costs_256_tokens(encoder: MiniLM) -> None:
    prepared = encoder.prepare("word " * 2_000_000)
    assert len(prepared) == 20_000
    np.testing.assert_allclose(encoder.encode([prepared]), encoder.encode(["word " * 300]), atol=1e-5)


def test_thirty_scripts(encoder: MiniLM) -> None:
    starts = (
        0x41, 0x391, 0x410, 0x531, 0x5D0, 0x621, 0x710, 0x780, 0x905, 0x985, 0xA05, 0xA85, 0xB05, 0xB85, 0xC05, 0xC85,
        0xD05, 0xD85, 0xE01, 0xE81, 0xF40, 0x1000, 0x10D0, 0x1100, 0x1200, 0x13A0, 0x1780, 0x1820, 0x3041, 0x4E00,
        0xAC00, 0x1F600,
    )  # fmt: skip
    texts = ["".join(chr(start + step) for step in range(6)) for start in starts]
    vectors = encoder.encode(texts)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
