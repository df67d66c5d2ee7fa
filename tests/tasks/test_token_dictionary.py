"""The token dictionary: names, nearest words and tokens of a model with known vectors, thumbnails."""

import io
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fuseline.models.classifiers.kiela import PQTokens, PQTokensConfig, RSPQTokens
from fuseline.models.columns import Size, token_text
from fuseline.models.fasttext.dictionary import Dictionary, WordCounter
from fuseline.models.token_vectors import token_vectors, vocabulary
from fuseline.stores.schemas import TOKENS, WORDS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation import token_dictionary as dictionary
from fuseline.tasks.evaluation.token_dictionary import (
    DictionaryConfig,
    TokenCounts,
    TokensConfig,
    describe_tokens,
    has_tokens,
)
from fuseline.tasks.stages.token_counts import TOKEN_COUNTS

# Directions of a plane: words by angle, so that nearness can be read off.
WORD_ANGLES = {"cat": 0, "dog": 5, "fur": 10, "car": 90, "bus": 95, "van": 85, "rare": 1}
COUNTS = {"cat": 9, "dog": 8, "fur": 7, "car": 6, "bus": 5, "van": 5, "rare": 1}


def at(degrees: float) -> tuple[float, float]:
    return float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))


def model(kind=PQTokens, *, places: int = 2, angles: dict[int, float] | None = None, buckets: int = 0, **shape):
    """Return a classifier whose words and tokens point where we say; other tokens point to 180 degrees."""
    counter = WordCounter(lowercase=True)
    counter.add(pa.array([" ".join([word] * n) for word, n in COUNTS.items()]))
    sizes = {"word_ngrams": 1, "minn": 0, "maxn": 0, "buckets": buckets, **shape}
    words = Dictionary.freeze(counter, min_count=1, **sizes)
    U = np.zeros((words.rows + 256 * places, 8), np.float32)
    for row, word in enumerate(words.words()):
        U[row, :2] = at(WORD_ANGLES.get(word, 2))  # </s> is nearer to cat than dog is
    U[len(words.counts) : words.rows, :2] = at(0)  # hashed rows are no words, however near
    U[words.rows :, :2] = at(180)
    for token, angle in (angles or {}).items():
        U[words.rows + token, :2] = at(angle)
    made = kind(PQTokensConfig(preset="fasttext", dim=2))
    made.dictionary, made.sizes = words, {"quantize/pq": Size("codes", places, 256)}
    made.params = SimpleNamespace(U=U)
    return made


def token_counts(**representatives: tuple[int, int, list[tuple[str, float]]]) -> pa.Table:
    """Return TOKEN_COUNTS rows of t<token>=(n, n_train, representatives)."""
    rows = [
        {
            "token": int(name[1:]), "n": n, "n_train": n_train, "error": 0.0, "error_train": 0.0,
            "representatives": [{"id": i, "distance": d} for i, d in documents],
        }
        for name, (n, n_train, documents) in representatives.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TOKEN_COUNTS)


def documents(**images: bytes | None) -> pa.Table:
    image = [None if data is None else {"uri": None, "bytes": data} for data in images.values()]
    kind = pa.struct([("uri", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("bytes", pa.binary())])
    return pa.table({"id": pa.array(list(images), pa.string()), "image": pa.array(image, kind)})


def png(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (200, 100), colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def described(monkeypatch):
    """Return a function that describes the tokens of a classifier over some shards."""

    def describe(classifier, *shards, parts=2, repeated=False, **options):
        monkeypatch.setattr(dictionary, "load_classifier", lambda kind, folder: classifier)
        config = DictionaryConfig(
            model="m", kind="pq", parts=parts, repeated=repeated, tokens=TokensConfig(words=3, **options)
        )
        tables = describe_tokens(lambda: iter(shards), config, Context("", {"models/m": None}, {}))
        return tables["tokens"], tables["words"]

    return describe


SHARD = (
    token_counts(t3=(5, 4, [("a", 0.5), ("b", 1.0)]), t256=(2, 0, [("b", 0.1)]), t300=(3, 3, [("c", 0.2)])),
    documents(),
)


def test_nearest_words_and_tokens_by_hand(described):
    tokens, words = described(model(angles={3: 0, 300: 92, 256: 45}), SHARD)
    assert tokens.schema.equals(TOKENS)
    assert words.schema.equals(WORDS)
    rows = {row["token"]: row for row in tokens.to_pylist()}
    assert list(rows) == ["_q-_0_3", "_q-_1_0", "_q-_1_44"]
    animal = rows["_q-_0_3"]
    assert [word["word"] for word in animal["words"]] == ["cat", "dog", "fur"]  # not </s>, not "rare", no hashed row
    cosines = np.cos(np.radians([0, 5, 10]))
    np.testing.assert_allclose([word["cosine"] for word in animal["words"]], cosines, atol=1e-6)
    coherence = np.cos(np.radians([5, 10, 5])).mean()
    assert animal["coherence"] == pytest.approx(coherence)
    assert animal["clarity"] == pytest.approx(coherence * cosines.mean())
    assert (animal["n_documents"], animal["n_train"], animal["repeat"], animal["part"]) == (5, 4, 0, 0)
    assert animal["documents"] == [{"id": "a", "distance": 0.5}, {"id": "b", "distance": 1.0}]
    assert [word["word"] for word in rows["_q-_1_44"]["words"]] == ["car", "bus", "van"]
    by_word = {row["word"]: row for row in words.to_pylist()}
    assert list(by_word) == ["cat", "dog", "fur", "car", "bus", "van"]
    assert by_word["bus"]["count"] == 5
    # A token that no training document has was never learned: it is near to nothing.
    assert [token["token"] for token in by_word["bus"]["tokens"]] == ["_q-_1_44", "_q-_0_3"]
    assert by_word["bus"]["tokens"][0]["cosine"] == pytest.approx(np.cos(np.radians(3)))
    assert (rows["_q-_1_0"]["words"], rows["_q-_1_0"]["clarity"]) == ([], None)


def test_shards_add_up(described):
    second = (token_counts(t3=(7, 1, [("x", 0.1), ("y", 0.5), ("z", 0.7)])), documents())
    tokens, _ = described(model(), SHARD, second, documents=3)
    row = tokens.to_pylist()[0]
    assert (row["n_documents"], row["n_train"]) == (12, 5)
    assert [one["id"] for one in row["documents"]] == ["x", "a", "z"]  # y is as far as a: copies count once


def test_one_shard_or_many_give_the_same_token_counts():
    rng = np.random.default_rng(0)
    parts, whole = [TokenCounts(512, 2), TokenCounts(512, 2)], TokenCounts(512, 2)
    for number in range(6):
        used = np.sort(rng.choice(512, 40, replace=False)).tolist()
        table = token_counts(**{f"t{t}": (3, 2, [(f"{number}-{t}", float(rng.random()))]) for t in used})
        parts[0 if number < 3 else 1].add(table)
        whole.add(table)
    np.testing.assert_array_equal(parts[0].n + parts[1].n, whole.n)
    for token in range(512):
        best = sorted((one["distance"], one["id"]) for part in parts for one in part.representatives(token))[:2]
        assert [(one["distance"], one["id"]) for one in whole.representatives(token)] == best


def test_the_clearest_tokens_get_thumbnails_of_their_documents(described):
    shards = [
        (SHARD[0], documents(a=png("red"), c=png("blue"))),
        (token_counts(t4=(1, 1, [("d", 0.3)])), documents(b=b"no picture", d=png("green"))),
    ]
    tokens, _ = described(model(angles={3: 0, 300: 92, 4: 45}), *shards, pictured=2, side=32)
    rows = {row["token"]: row["thumbnails"] for row in tokens.to_pylist()}
    red, broken = rows["_q-_0_3"]
    with Image.open(io.BytesIO(red)) as image:
        assert (image.format, image.size) == ("WEBP", (32, 16))
    assert broken is None
    assert len(rows["_q-_1_44"]) == 1
    assert rows["_q-_0_4"] == []  # between animals and cars: the least clear of three


def test_a_vocabulary_leaves_out_rare_words_and_stops_at_its_size():
    assert vocabulary(model(), min_count=6, most=99).words == ["cat", "dog", "fur", "car"]
    assert vocabulary(model(), min_count=1, most=3).words == ["cat", "dog", "fur"]
    assert vocabulary(model(), min_count=99, most=3).vectors.shape == (0, 2)


def test_without_words_tokens_are_counted_all_the_same(described):
    tokens, words = described(model(), SHARD, min_count=99)
    assert tokens["n_documents"].to_pylist() == [5, 2, 3]
    assert tokens["words"].to_pylist() == [[], [], []]
    assert words.num_rows == 0


def test_a_word_with_subwords_is_the_mean_of_all_its_rows():
    made = model(buckets=50, minn=3, maxn=3)
    found = vocabulary(made, min_count=5, most=9)
    counter = WordCounter(lowercase=True)
    counter.add(pa.array(["bus"]))
    lists = made.dictionary.lists(counter)
    rows = lists.ids[lists.indptr[1] : lists.indptr[2]]
    assert len(rows) == 4  # bus, <bu, bus, us>
    np.testing.assert_allclose(found.vectors[4], made.params.U[rows, :2].mean(axis=0))
    assert not np.allclose(found.vectors[4], made.params.U[rows[0], :2])


def test_token_vectors_are_the_rows_after_words_and_buckets():
    made = model(buckets=10, angles={0: 30, 511: 60})
    found = token_vectors(made)
    assert found.shape == (512, 2)
    np.testing.assert_allclose(found[[0, 511]], [at(30), at(60)], rtol=1e-6)


@pytest.mark.parametrize(
    ("token", "parts", "repeated", "text"),
    [
        (0, 4, False, "_q-_0_0"),
        (3 * 256 + 211, 4, False, "_q-_3_211"),
        (0, 4, True, "_q-_0_0_0"),
        (13 * 256 + 7, 4, True, "_q-_3_1_7"),
    ],
)
def test_a_tokens_name_tells_repeat_part_and_centroid(token, parts, repeated, text):
    assert token_text(token, parts=parts, repeated=repeated) == text


def test_repeats_are_told_apart(described):
    shard = (token_counts(t3=(1, 1, []), t515=(1, 1, [])), documents())
    tokens, _ = described(model(RSPQTokens, places=4, angles={3: 0, 515: 90}), shard, parts=2, repeated=True)
    assert [(row["token"], row["repeat"], row["part"], row["centroid"]) for row in tokens.to_pylist()] == [
        ("_q-_0_0_3", 0, 0, 3),
        ("_q-_1_0_3", 1, 0, 3),
    ]


def test_models_with_words_and_codes_in_one_space_have_tokens():
    assert [kind for kind in ("text", "pq", "rspq", "additive", "lightgbm") if has_tokens(kind)] == ["pq", "rspq"]
