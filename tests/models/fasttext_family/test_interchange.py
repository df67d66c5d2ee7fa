"""Files for the fastText program: the package itself loads them and says the same."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.classifiers.kiela import Additive, ImageConfig, TextAlone, TextConfig
from fuseline.models.columns import Codes
from fuseline.models.fasttext.interchange import CodeNames, export_bin, export_vec, word_vectors, write_labelled
from fuseline.models.features import Block
from tests.models.synthetic import make_block

TEXTS = [
    "red apple on a tree",
    "green tree in the wood",
    "a blue car on the road",
    "größe und maß der straße",
    "fast car and slow bus",
    "apple pie with cream",
    None,
    "the the the",
]
LABELS = [["fruit"], ["plant", "fruit"], ["street car"], ["straße"], ["street car"], ["fruit"], ["plant"], []]
NEW = ["apple tree", "unseen words only here", "car straße the größe", "bus", "", "slow cream pie"]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"word_ngrams": 3, "buckets": 500},
    {"minn": 2, "maxn": 4, "buckets": 300},
    {"minn": 3, "maxn": 3, "word_ngrams": 2, "buckets": 100, "min_count": 2},
]


class Once:
    """Features of one block."""

    def __init__(self, block: Block) -> None:
        self.block, self.n_rows = block, len(block)

    def blocks(self) -> Iterator[Block]:
        yield self.block


def block_of(texts: list[str | None], labels: list[list[str]]) -> Block:
    n = len(texts)
    ids, names = pa.array([str(i) for i in range(n)]), pa.array(labels, pa.list_(pa.string()))
    return make_block(ids, pa.array(texts, pa.string()), names, {}, {}, {})


def trained(**settings: Any) -> TextAlone:
    config = TextConfig(preset="fasttext", dim=7, epochs=20, lr=0.5, deterministic=True, **settings)
    return TextAlone(config).fit(Once(block_of(TEXTS, LABELS)), None, seed=0)


@pytest.mark.parametrize("settings", SETTINGS, ids=json.dumps)
@pytest.mark.parametrize("loss", ["softmax", "hs", "ova", "ns"])
def test_the_fasttext_package_predicts_the_same_with_the_bin_file(
    tmp_path: Path, loss: str, settings: dict[str, Any]
) -> None:
    fasttext = pytest.importorskip("fasttext")
    model = trained(loss=loss, **settings)
    export_bin(model, tmp_path / "text.bin")
    peer = fasttext.load_model(str(tmp_path / "text.bin"))
    assert peer.get_labels() == [f"__label__{name.replace(' ', '_')}" for name in model.labels]
    assert peer.get_words() == model.dictionary.words()
    logits = model.predict_logits(block_of([*TEXTS[:6], *NEW], [[]] * 12))
    own = model.probabilities(logits)
    if loss in ("ova", "ns"):  # the program looks sigmoids up in a table of 512 steps from -8 to 8
        own = 1 / (1 + np.exp(8 - np.floor((logits + 8) * 32) / 32))
    for text, probabilities in zip([*TEXTS[:6], *NEW], own, strict=True):
        if not text:  # the program has an end-of-text word even there
            continue
        found = {name: p for p, name in peer.f.predict(f"{text}\n", -1, 0.0, "strict")}
        expected = {
            f"__label__{name.replace(' ', '_')}": p for name, p in zip(model.labels, probabilities, strict=True)
        }
        if found:  # nothing known: no prediction at all
            # The program adds 1e-5 to every probability before it takes logarithms.
            assert found == pytest.approx(expected, abs=3e-5), text
        else:
            np.testing.assert_allclose(probabilities, probabilities[0], atol=1e-6 if loss != "hs" else 1)
    for word, vector in zip(peer.get_words(), word_vectors(model, model.dictionary.words()), strict=True):
        np.testing.assert_allclose(peer.get_word_vector(word), vector, atol=1e-6)


def test_the_vec_file_holds_the_mean_of_word_and_subwords(tmp_path: Path) -> None:
    model = trained(minn=2, maxn=3, buckets=50)
    export_vec(model, tmp_path / "text.vec")
    head, *lines = (tmp_path / "text.vec").read_text("utf-8").splitlines()
    words = model.dictionary.words()
    assert head == f"{len(words)} 7"
    assert [line.split(" ")[0] for line in lines] == words
    found = np.array([line.split(" ")[1:] for line in lines], np.float32)
    np.testing.assert_array_equal(found, word_vectors(model, words))
    # <a> has the subwords "<a", "a>" and "<a>" beside itself.
    assert not np.allclose(found[words.index("a")], model.params.U[words.index("a"), :7])
    np.testing.assert_array_equal(found[words.index("</s>")], model.params.U[words.index("</s>"), :7])
    np.testing.assert_array_equal(word_vectors(trained(), ["nowhere"]), np.zeros((1, 7)))


def test_the_bin_file_by_its_format(tmp_path: Path) -> None:
    """Without the package: sizes and places as the program reads them."""
    model = trained(word_ngrams=2, buckets=10)
    export_bin(model, tmp_path / "text.bin")
    raw = (tmp_path / "text.bin").read_bytes()
    assert struct.unpack_from("<2i", raw) == (793712314, 12)
    assert struct.unpack_from("<12i", raw, 8) == (7, 5, 20, 1, 5, 2, 3, 3, 10, 0, 0, 100)
    W, C = len(model.dictionary.counts), len(model.labels)
    assert struct.unpack_from("<3i2q", raw, 64) == (W + C, W, C, int(model.dictionary.counts.sum()), -1)
    tail = raw[-(17 + 4 * 7 * C) :]
    assert struct.unpack_from("<?2q", tail) == (False, C, 7)
    np.testing.assert_array_equal(np.frombuffer(tail[17:], "<f4").reshape(C, 7), model.params.W[:, :7])


def test_only_text_models_are_exported(tmp_path: Path) -> None:
    for export in (export_bin, export_vec):
        with pytest.raises(ValueError, match="reads only text, got 'additive'"):
            export(Additive(ImageConfig()), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_labelled_lines(tmp_path: Path) -> None:
    texts = ["two\n lines", None, "a __label__x b __labelx", "no label", "\u2028 __label__y </s> z"]
    labels = [["a b", "c"], ["d"], ["e\tf"], [], ["g"]]
    write_labelled(Once(block_of(texts, labels)), tmp_path / "train.txt")
    assert (tmp_path / "train.txt").read_text("utf-8").split("\n") == [
        "__label__a_b __label__c two lines",
        "__label__d",
        "__label__e_f a _label__x b __labelx",
        "no label",
        "__label__g _label__y z",
        "",
    ]


CODES = np.array([[253, 13], [7, 13], [0, 0]], np.uint8)
NAMES = CodeNames("quantize/pq", parts=2, repeated=False)


def seen(texts: list[str | None], labels: list[list[str]], codes: Any, present: list[bool]) -> Block:
    block = block_of(texts, labels)
    return replace(block, columns={**block.columns, "quantize/pq": Codes(codes, np.array(present))})


def test_visual_tokens_follow_the_text(tmp_path: Path) -> None:
    block = seen(["a donut", None, "no _q-_0_1 image"], [["a"], ["b"], ["c"]], CODES, [True, True, False])
    assert write_labelled(Once(block), tmp_path / "train.txt", codes=NAMES) == 3
    assert (tmp_path / "train.txt").read_text("utf-8").splitlines() == [
        "__label__a a donut _q-_0_253 _q-_1_13",
        "__label__b _q-_0_7 _q-_1_13",
        "__label__c no q-_0_1 image",
    ]
    write_labelled(Once(block), tmp_path / "train.txt", codes=NAMES._replace(parts=1, repeated=True))
    assert "a donut _q-_0_0_253 _q-_1_0_13\n" in (tmp_path / "train.txt").read_text("utf-8")


def test_fasttext_trains_on_visual_tokens(tmp_path: Path) -> None:
    """The labels hang on the tokens alone, so that a program that reads them as words finds every label."""
    pytest.importorskip("fasttext")
    y = np.arange(120) % 3
    codes = np.stack([y, 2 - y], axis=1).astype(np.uint8)
    block = seen(["same words"] * 120, [[f"c{c}"] for c in y], codes, [True] * 120)
    write_labelled(Once(block), tmp_path / "train.txt", codes=NAMES)
    program = (
        "import sys, json, fasttext\n"
        "m = fasttext.train_supervised(sys.argv[1], dim=4, lr=1.0, epoch=20, thread=1, verbose=0)\n"
        "print(json.dumps([m.get_words(), m.test(sys.argv[1])]))"
    )
    environment = {**os.environ, "MALLOC_PERTURB_": "255"}
    command = [sys.executable, "-c", program, str(tmp_path / "train.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    words, (n, precision, _) = json.loads(done.stdout)
    assert {f"_q-_{part}_{c}" for part in (0, 1) for c in range(3)} <= set(words)
    assert (n, precision) == (120, 1.0)


def test_fasttext_reads_the_written_lines(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    write_labelled(Once(block_of(TEXTS, LABELS)), tmp_path / "train.txt")
    program = (
        "import sys, json, fasttext; m = fasttext.train_supervised(sys.argv[1], dim=4, epoch=1, thread=1, verbose=0)\n"
        "print(json.dumps([m.get_words(), m.get_labels()]))"
    )
    # The package leaves part of its matrix unset; 255 makes the allocator hand out zeros.
    environment = {**os.environ, "MALLOC_PERTURB_": "255"}
    command = [sys.executable, "-c", program, str(tmp_path / "train.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    words, labels = json.loads(done.stdout)
    model = trained()
    assert sorted(labels) == sorted(f"__label__{name.replace(' ', '_')}" for name in model.labels)
    assert sorted(words) == sorted(model.dictionary.words())
