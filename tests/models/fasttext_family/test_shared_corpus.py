"""Encoded documents that several classifiers share: the same models as when each encodes for itself."""

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fuseline.models.fasttext import corpus as corpora
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents

OPTIONS = {"preset": "fasttext", "dim": 8, "epochs": 3, "lr": 0.3, "deterministic": True}


class Lending(Blocks):
    """Features with a cache; `made` counts what was made for each key."""

    def __init__(self) -> None:
        super().__init__(documents(300), rows=70)
        self.kept: dict[Hashable, Any] = {}
        self.made: list[Hashable] = []

    @contextmanager
    def get_or_create(self, key: Hashable, make: Callable[[], Any]) -> Iterator[Any]:
        """Make once and keep for ever."""
        if key not in self.kept:
            self.made.append(key)
            self.kept[key] = make()
        yield self.kept[key]


def saved(kind: str, train: Any, folder: Path, **options: Any) -> dict[str, bytes]:
    """Fit, save, and return the files."""
    entry = MODELS[kind]
    folder.mkdir(parents=True)
    entry(entry.Config(**{**OPTIONS, **options})).fit(train, None, seed=3).save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["text", "additive", "bilinear", "gated", "pq", "avg_probs"])
def test_models_of_a_shared_corpus_are_those_of_an_own_one(kind: str, tmp_path: Path) -> None:
    shared, alone = Lending(), Blocks(documents(300), rows=70)
    for number, lr in enumerate((0.1, 0.5, 0.1)):
        own = saved(kind, alone, tmp_path / f"own{number}", lr=lr)
        assert saved(kind, shared, tmp_path / f"shared{number}", lr=lr) == own
    assert len(shared.made) == (2 if kind == "avg_probs" else 1)


def test_models_that_read_the_same_share_and_others_do_not() -> None:
    train = Lending()
    for kind, options in (("additive", {}), ("max", {}), ("bilinear", {"lr": 0.9, "dim": 4}), ("text", {}), ("pq", {})):
        entry = MODELS[kind]
        entry(entry.Config(**{**OPTIONS, **options})).fit(train, None, seed=0)
    assert len(train.made) == 3
    for changed in ({"min_count": 2}, {"word_ngrams": 2, "buckets": 50}, {"minn": 2, "maxn": 3, "buckets": 50},
                    {"lowercase": False}):  # fmt: skip
        before = len(train.made)
        MODELS["text"](MODELS["text"].Config(**OPTIONS, **changed)).fit(train, None, seed=0)
        assert len(train.made) == before + 1


def test_two_trainings_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    train = Lending()
    own = saved("additive", Blocks(documents(300), rows=70), tmp_path / "own")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda n: saved("additive", train, tmp_path / f"both{n}"), range(6)))
    assert both == [own] * 6


def test_an_own_corpus_is_closed_and_a_lent_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[corpora.Corpus] = []
    monkeypatch.setattr(corpora.Corpus, "close", lambda corpus: closed.append(corpus))
    entry = MODELS["text"]
    entry(entry.Config(**OPTIONS)).fit(Lending(), None, seed=0)
    assert closed == []
    entry(entry.Config(**OPTIONS)).fit(Blocks(documents(20)), None, seed=0)
    assert len(closed) == 1


def test_the_size_of_a_corpus_counts_what_is_in_memory() -> None:
    block = documents(300)
    config = MODELS["additive"].Config(**OPTIONS)
    with corpora.encoding(Blocks(block), corpora.Reads("clean/text", ("embed/image",)), config) as corpus:
        chunk = corpus.chunks[0]
        assert len(corpus.chunks) == 1
        assert corpus.nbytes == sum(array.nbytes for array in chunk) > chunk.dense.nbytes > 0
