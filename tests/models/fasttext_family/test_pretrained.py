"""Training that starts from a file of word vectors: the fastText program's meaning, damage named by line."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from fuseline.models.classifiers.kiela import ImageAloneConfig, TextAlone, TextConfig
from fuseline.models.errors import MissingWeights
from fuseline.models.fasttext import pretrained
from fuseline.models.fasttext.corpus import Reads, encoding_key
from fuseline.models.features import TEXT, Block
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents, make_block

TEXTS = ["sun sun moon", "moon star sun", "Sun rare", "star star moon"]
LINES = ["sun 1 2 3", "mars 4 5 6", "Sun -1 -2 -3", "</s> 7 8 9", "rare .5 -2e-1 3.25", "sun 1.5 2.5 3.5"]
PEER = """
import json, sys, fasttext
train, vectors, least = sys.argv[1:]
model = fasttext.train_supervised(
    train, dim=3, lr=1e-30, epoch=1, thread=1, verbose=0, minCount=int(least), pretrainedVectors=vectors)
words, counts = model.get_words(include_freq=True)
U = model.get_input_matrix()
print(json.dumps({w: [int(n), *map(float, U[model.get_word_id(w)])] for w, n in zip(words, counts)}))
"""


def vectors(folder: Path, lines: list[str] = LINES, *, header: str | None = None, name: str = "own.vec") -> Path:
    data = "\n".join([f"{len(lines)} 3" if header is None else header, *lines, ""]).encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder / name


def texts() -> Block:
    n = len(TEXTS)
    labels = pa.array([["a"], ["b"]] * (n // 2), pa.list_(pa.string()))
    return make_block(pa.array([str(i) for i in range(n)]), pa.array(TEXTS), labels, {}, {}, {})


def started(path: Path, **options: object) -> dict[str, list[float]]:
    """Fit with steps of nothing; return word -> [count, numbers]."""
    settings = {"preset": "fasttext", "dim": 3, "lr": 1e-30, "epochs": 1, "threads": 1, "lowercase": False, **options}
    model = TextAlone(TextConfig(pretrained_vectors=path, **settings)).fit(Blocks(texts()), None, seed=0)
    words = model.dictionary
    rows = zip(words.words(), words.counts.tolist(), model.params.U[:, :3].tolist(), strict=False)
    return {word: [count, *row] for word, count, row in rows}


def test_words_of_the_file_join_and_start_at_its_numbers(tmp_path: Path) -> None:
    found = started(vectors(tmp_path))
    assert found["mars"] == [1, 4, 5, 6]
    assert found["Sun"] == [2, -1, -2, -3]
    assert found["</s>"] == [5, 7, 8, 9]
    assert found["sun"] == [5, 1.5, 2.5, 3.5]  # the last of two lines
    assert found["rare"] == [2, 0.5, np.float32(-0.2), 3.25]
    assert set(found) == {"sun", "moon", "star", "Sun", "rare", "mars", "</s>"}
    assert max(map(abs, found["moon"][1:])) <= 1 / 3
    plain = started(None)  # type: ignore[arg-type]
    assert "mars" not in plain
    assert max(map(abs, plain["sun"][1:])) <= 1 / 3


@pytest.mark.parametrize("least", [1, 2])
def test_words_counts_and_rows_are_those_of_the_fasttext_package(tmp_path: Path, least: int) -> None:
    pytest.importorskip("fasttext")
    path, train = vectors(tmp_path), tmp_path / "train.txt"
    labels = ["a", "b"] * 2
    train.write_text("".join(f"__label__{y} {text}\n" for y, text in zip(labels, TEXTS, strict=True)))
    command = [sys.executable, "-c", PEER, str(train), str(path), str(least)]
    # The package leaves part of its matrix unset; 255 makes the allocator hand out zeros.
    environment = {**os.environ, "MALLOC_PERTURB_": "255"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout), started(path, min_count=least)
    assert {word: row[0] for word, row in ours.items()} == {word: row[0] for word, row in theirs.items()}
    for word in {line.split()[0] for line in LINES}:
        np.testing.assert_array_equal(np.float32(ours[word]), np.float32(theirs[word]))


def test_in_lower_case_the_line_of_the_word_itself_counts_else_the_first_of_its_forms(tmp_path: Path) -> None:
    lines = ["MOON 9 9 9", "Moon 1 1 1", "Star 2 2 2", "star 3 3 3", "STAR 4 4 4", "SUN 5 5 5"]
    for block in (pretrained.BLOCK, 20):  # all at once, and the forms in several blocks
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pretrained, "BLOCK", block)
            found = started(vectors(tmp_path, lines), lowercase=True)
        assert found["moon"][1:] == [9, 9, 9]
        assert found["star"][1:] == [3, 3, 3]
        assert found["sun"][1:] == [5, 5, 5]
        assert {word.lower() for word in found} == set(found)


@pytest.mark.parametrize("name", ["own.vec", "own.vec.gz"])
@pytest.mark.parametrize("block", [7, 30, pretrained.BLOCK])
def test_blocks_packing_and_white_space_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    monkeypatch.setattr(pretrained, "BLOCK", block)
    expected = {"sun": [1, 2, 3], "the": [4, 5, 6], "naïve": [7, 8, 9]}
    layouts = {
        "trailing": ["sun 1 2 3 ", "the 4 5 6 ", "naïve 7 8 9 "],
        "windows": ["sun 1 2 3\r", "the 4 5 6\r", "naïve 7 8 9\r"],
        "tabs": ["sun\t1\t2\t3", "the 4 5 6", "naïve 7  8   9"],
        "gaps": ["", "sun 1 2 3", "", " the 4 5 6", "naïve 7 8 9"],
    }
    for layout, lines in layouts.items():
        path = vectors(tmp_path, lines, header="3 3", name=name)
        found = started(path)
        assert {word: found[word][1:] for word in expected} == expected, layout


DAMAGE = {
    "too few": (["sun 1 2 3", "mars 4 5"], "line 3: expected a word and 3 numbers, got 3 fields"),
    "too many": (["sun 1 2 3", "mars 4 5 6 7"], "line 3: expected a word and 3 numbers, got 5 fields"),
    "no number": (["sun 1 2 3", "a 1 2 3", "mars 4 x 6"], "line 4: .*could not convert"),
    "nan": (["sun nan 2 3"], "line 2: .*got NaN or infinity"),
    "infinite": (["sun 1 2 3", "star 1 inf 3"], "line 3: .*got NaN or infinity"),
    "overflow": (["sun 1 2 1e99"], "line 2: .*got NaN or infinity"),
    "no word": ([" 1 2 3"], "line 2: expected a word and 3 numbers, got 3 fields"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("block", [12, pretrained.BLOCK])
def test_a_damaged_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, block: int) -> None:
    monkeypatch.setattr(pretrained, "BLOCK", block)
    lines, message = DAMAGE[damage]
    with pytest.raises(ValueError, match=rf"pretrained_vectors: .*own.vec, {message}"):
        started(vectors(tmp_path, lines))


def test_a_line_too_long_and_one_too_short_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    for lines, number in ((["sun 1 2", "mars 4 5 6 7"], 2), (["sun 1 2 3", "mars 4 5 6 7", "moon 1 2"], 3)):
        with pytest.raises(ValueError, match=rf"line {number}: expected a word and 3 numbers"):
            pretrained.known_words(vectors(tmp_path, lines), 3, lowercase=True)


def test_bad_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"expected 7 words, as its first line states, got 6; the file is cut off"):
        started(vectors(tmp_path, header="7 3"))
    with pytest.raises(ValueError, match=r"expected a first line `words numbers`, got b'sun 1 2 3"):
        started(vectors(tmp_path, header="sun 1 2 3"))
    with pytest.raises(ValueError, match=r"dim: expected 3, the numbers per word of own.vec, got 5; set dim so"):
        started(vectors(tmp_path), dim=5)
    with pytest.raises(MissingWeights, match=r"expected a weight file at .*none.vec"):
        started(tmp_path / "none.vec")
    cut = vectors(tmp_path, LINES * 200, name="cut.vec.gz")
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cut.vec.gz: expected a readable file"):
        started(cut)
    monkeypatch.setattr(pretrained, "BLOCK", 64)
    monkeypatch.setattr(pretrained, "LINE", 640)
    with pytest.raises(ValueError, match=r"line 2: .* bytes without an end of line"):
        started(vectors(tmp_path, ["sun" + " 1" * 500]))


def test_the_length_is_looked_at_before_any_document_is_read(tmp_path: Path) -> None:
    class Never(Blocks):
        def blocks(self):  # type: ignore[no-untyped-def]
            raise AssertionError("read")

    model = TextAlone(TextConfig(preset="fasttext", dim=4, pretrained_vectors=vectors(tmp_path)))
    with pytest.raises(ValueError, match="dim: expected 3"):
        model.fit(Never(texts()), None, seed=0)


def test_a_changed_file_is_another_corpus(tmp_path: Path) -> None:
    reads, path = Reads(TEXT), vectors(tmp_path)
    config = TextConfig(preset="fasttext", dim=3, pretrained_vectors=path)
    first = encoding_key(reads, config, 3)
    assert first == encoding_key(
        reads, TextConfig(preset="fasttext", dim=3, pretrained_vectors=vectors(tmp_path, name="copy.vec")), 3
    )
    assert first != encoding_key(reads, TextConfig(preset="fasttext", dim=3), 3)
    path.write_text("1 3\nsun 1 2 3\n")
    assert first != encoding_key(reads, config, 3)
    no_text = Reads(dense=("embed/image",))
    assert encoding_key(no_text, config, 3) == encoding_key(no_text, TextConfig(preset="fasttext", dim=3), 3)


def test_every_model_with_text_takes_them_and_one_without_refuses(tmp_path: Path) -> None:
    path = vectors(tmp_path, ["w01 1 2 3", "unseen 4 5 6"])
    for kind in ("additive", "pq", "bilinear", "avg_probs"):
        config = MODELS[kind].Config(preset="fasttext", dim=3, epochs=1, lr=1e-30, pretrained_vectors=path)
        model = MODELS[kind](config).fit(Blocks(documents(60)), None, seed=0)
        text = model.text if kind == "avg_probs" else model
        rows = dict(zip(text.dictionary.words(), text.params.U[:, :3].tolist(), strict=False))
        assert rows["w01"] == [1, 2, 3]
        assert rows["unseen"] == [4, 5, 6]
    with pytest.raises(ValidationError, match="expected none for a model without text"):
        ImageAloneConfig(pretrained_vectors=path)


def test_a_saved_model_needs_the_file_no_more(tmp_path: Path) -> None:
    path = vectors(tmp_path)
    model = TextAlone(TextConfig(preset="fasttext", dim=3, pretrained_vectors=path)).fit(Blocks(texts()), None, seed=0)
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved")
    path.unlink()
    back = TextAlone.load(tmp_path / "saved")
    np.testing.assert_array_equal(back.predict_logits(texts()), model.predict_logits(texts()))
    assert "own.vec" not in (tmp_path / "saved" / "model.json").read_text()


def test_good_vectors_help() -> None:
    """Words that no training text has say which class a document is of, through their vectors alone."""
    rng = np.random.default_rng(0)
    words = [f"{side}{k}" for k in range(40) for side in "xy"]
    rows = {word: rng.normal(size=4) + (3 if word[0] == "x" else -3) for word in words}
    seen, unseen = words[:40], words[40:]

    def block(names: list[str]) -> Block:
        labels = pa.array([[name[0]] for name in names], pa.list_(pa.string()))
        return make_block(pa.array(names), pa.array(names), labels, {}, {}, {})

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{word} {' '.join(map(str, row))}" for word, row in rows.items()]
        path = vectors(Path(folder), lines, header=f"{len(lines)} 4")
        options = {"preset": "fasttext", "dim": 4, "lr": 0.1, "epochs": 20, "deterministic": True}
        scores = []
        for start in (None, path):
            model = TextAlone(TextConfig(pretrained_vectors=start, **options)).fit(Blocks(block(seen)), None, seed=0)
            best = model.predict_logits(block(unseen)).argmax(axis=1)
            scores.append(np.mean([model.labels[y] == name[0] for y, name in zip(best, unseen, strict=True)]))
    assert scores[1] == 1.0
    assert scores[0] < 0.8


def test_a_model_is_opened_without_compiling_anything(tmp_path: Path) -> None:
    """A run opens models to learn whether documents carry several labels: numba alone would take two seconds."""
    TextAlone(TextConfig(preset="fasttext", dim=3)).fit(Blocks(texts()), None, seed=0).save(tmp_path)
    script = (
        "import sys; from pathlib import Path; from fuseline.models.registry import MODELS\n"
        f"model = MODELS['text'].load(Path({str(tmp_path)!r}))\n"
        "print(model.multi_label, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
